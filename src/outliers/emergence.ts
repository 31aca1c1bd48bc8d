// Outliers being born: a few numbers of each layer, cheap enough to be taken again and again while a model trains.

import type { TapContext, Watch } from "../nn/mod.ts";
import { div, keep, mean, noGrad, norm, scope, square, sub, type Tensor } from "../tensor/mod.ts";
import { type Magnitudes, magnitudes, type Pending } from "./magnitudes.ts";
import { average } from "./average.ts";
import { FIRST, shareOfSinks, valueRatios } from "./measures.ts";

/** How far the largest activations of a place stand out; means over sequences. */
export interface Peak {
	/** max|x| */
	max: number;
	/** mean|x| */
	mean: number;
	/** Median of |x|. */
	median: number;
	/** max|x| / mean|x| */
	maxOverMean: number;
	/** max|x| / median of |x|; of little meaning for x_down, whose median may be next to 0. */
	maxOverMedian: number;
	/** Excess kurtosis of all values: 0 if they are normally distributed. */
	kurtosis: number;
	/** Share of the sequences whose largest |x| is at position 0. */
	atFirst: number;
	/** The channel that most often has the largest |x|. */
	channel: number;
}

/** How much a layer's heads attend to position 0; means over sequences. */
export interface Sink {
	/** Share of the heads whose queries give position 0 more than 0.3 on average (Gu et al. 2024). */
	rate: number;
	/** What queries give position 0 on average, over all heads. Evenly spread attention gives about ln(T) / T. */
	share: number;
	/** The same of the head that gives it most. */
	strongest: number;
	/** ‖v_0‖ over the mean ‖v_t‖ of the others, where it is smallest: a drained value is near 0. */
	valueRatio: number;
}

/** A layer at one time of training. */
export interface LayerEmergence {
	/** 0-based. */
	layer: number;
	/** The hidden state behind the layer. */
	hiddenState: Peak;
	/** x_down, the input of the MLP's last projection. */
	downInput: Peak;
	/** Its attention. */
	attention: Sink;
}

const TAU = 1000;

/** A tensor of one sequence: what was queued of it. */
interface Seen {
	magnitudes: Pending<Magnitudes>;
	kurtosis: Tensor<"float32", 0>;
}

/** What was seen of a layer, a value a sequence. */
interface Layer {
	hiddenState: Seen[];
	downInput: Seen[];
	cumulative: Tensor<"float32", 2>[];
	valueNorms: Tensor<"float32", 2>[];
}

/** x's fourth central moment over the square of its second, less 3. */
function excessKurtosis(x: Tensor<"float32", 2>): Tensor<"float32", 0> {
	return noGrad(() =>
		scope(() => {
			const squares = square(sub(x, mean(x))), second = mean(squares);
			return keep(sub(div(mean(square(squares)), square(second)), 3));
		})
	);
}

/**
 * Measures peaks, sinks and drained values of each layer while a model trains.
 *
 * @example See outliers being born
 * ```ts ignore
 * const metrics = { watch: new EmergenceWatch(), interval: 250, sequences: 16 };
 * await train(model, { ...options, metrics, log: "log.jsonl" });
 * ```
 */
export class EmergenceWatch implements Watch {
	readonly taps: readonly string[] = [
		"layers.*.output",
		"layers.*.mlp.down.input",
		"layers.*.attn.cumulative",
		"layers.*.attn.v",
	];
	readonly #layers = new Map<number, Layer>();

	receive(tensor: Tensor<"float32">, { name, layer }: TapContext): void {
		const seen = this.#layers.get(layer) ??
			{ hiddenState: [], downInput: [], cumulative: [], valueNorms: [] };
		this.#layers.set(layer, seen);
		if (name.endsWith("cumulative")) {
			seen.cumulative.push(keep(noGrad(() => tensor.mul(1))) as Tensor<"float32", 2>);
		} else if (name.endsWith("attn.v")) {
			seen.valueNorms.push(keep(noGrad(() => norm(tensor as Tensor<"float32", 3>, 2))));
		} else {
			const x = tensor as Tensor<"float32", 2>;
			seen[name.endsWith("mlp.down.input") ? "downInput" : "hiddenState"].push({
				magnitudes: magnitudes(x, TAU),
				kurtosis: excessKurtosis(x),
			});
		}
	}

	async take(
		// deno-lint-ignore require-await -- as the exchange between processes is
		exchange: <T>(value: T) => Promise<T[]> = async (value) => [value],
	): Promise<{ layers: LayerEmergence[] }> {
		const own: MeasuredLayer[] = [];
		for (const [layer, seen] of [...this.#layers].sort(([a], [b]) => a - b)) {
			own.push({
				layer,
				hiddenState: await peaksOf(seen.hiddenState),
				downInput: await peaksOf(seen.downInput),
				attention: await sinksOf(seen),
			});
		}
		this.#layers.clear();
		const all = await exchange(own);
		const longest = all.find((layers) => layers.length > 0) ?? [];
		return {
			layers: longest.map(({ layer }, i) => ({
				layer,
				hiddenState: meanPeak(dealt(all.map((layers) => layers[i]?.hiddenState ?? []))),
				downInput: meanPeak(dealt(all.map((layers) => layers[i]?.downInput ?? []))),
				attention: meanOf(dealt(all.map((layers) => layers[i]?.attention ?? []))),
			})),
		};
	}
}

/** What a process measured of a layer, an entry a sequence. */
interface MeasuredLayer {
	layer: number;
	hiddenState: Peak[];
	downInput: Peak[];
	attention: Sink[];
}

/** Back in order what was dealt out by turns. */
function dealt<T>(hands: readonly T[][]): T[] {
	const most = Math.max(...hands.map(({ length }) => length));
	return Array.from({ length: most }, (_, i) => hands.flatMap((hand) => hand.slice(i, i + 1)))
		.flat();
}

/** The mean of each number. */
function meanOf<T extends object>(all: readonly T[]): T {
	const names = Object.keys(all[0] ?? {}) as (keyof T)[];
	return Object.fromEntries(
		names.map((name) => [name, average(all.map((one) => one[name] as number))]),
	) as T;
}

function meanPeak(peaks: readonly Peak[]): Peak {
	const channels = new Map<number, number>();
	for (const { channel } of peaks) channels.set(channel, (channels.get(channel) ?? 0) + 1);
	const [channel = -1] = [...channels].sort(([, a], [, b]) => b - a)[0] ?? [];
	return { ...meanOf(peaks), channel };
}

async function peaksOf(seen: readonly Seen[]): Promise<Peak[]> {
	const peaks: Peak[] = [];
	for (const { magnitudes, kurtosis } of seen) {
		const [excess] = await kurtosis.data(); // and so the device is done with the magnitudes
		kurtosis.dispose();
		const { mean, median, largest: [first] } = magnitudes.read();
		const max = Math.abs(first!.value);
		peaks.push({
			max,
			mean,
			median,
			maxOverMean: max / mean,
			maxOverMedian: max / median,
			kurtosis: excess!,
			atFirst: Number(first!.row === 0),
			channel: first!.column,
		});
	}
	return peaks;
}

async function sinksOf({ cumulative, valueNorms }: Layer): Promise<Sink[]> {
	const sinks: Sink[] = [];
	for (const [i, sums] of cumulative.entries()) {
		const [heads, tokens] = sums.shape, all = await sums.data(), norms = valueNorms[i]!;
		const shares = Array.from({ length: heads }, (_, head) => all[head * tokens]! / tokens);
		sinks.push({
			rate: shareOfSinks(shares),
			share: average(shares),
			strongest: Math.max(...shares),
			valueRatio: Math.min(...valueRatios(await norms.data(), norms.shape[1], FIRST)),
		});
		sums.dispose();
		norms.dispose();
	}
	return sinks;
}
