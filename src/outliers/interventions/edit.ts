// The probe that changes chosen entries of tensors, and the one that looks at them in the clean run before.

import type { Probe, TapContext } from "../../nn/probe.ts";
import {
	clamp,
	copyInto,
	indexSelect,
	mean,
	neg,
	noGrad,
	scatterAdd,
	scope,
	Tensor,
} from "../../tensor/mod.ts";
import { checkFinite, LISTED, magnitudes } from "../magnitudes.ts";
import { Reading } from "../reading.ts";
import {
	choose,
	chooseControl,
	type Chosen,
	type Intervention,
	isWeight,
	type Surveyed,
	type Target,
} from "./selection.ts";

const targetOf = (
	{ shape }: Tensor<"float32">,
	{ name, sequence, positions }: TapContext,
): Target => ({ name, shape, sequence, ...positions && { positions } });

/** Names a tensor of a run. */
const keyOf = (name: string, sequence: number) => `${sequence} ${name}`;

/** The tensor as rows of its last axis. */
function asMatrix(tensor: Tensor<"float32">): Tensor<"float32", 2> {
	const columns = tensor.shape.at(-1)!;
	return tensor.reshape([tensor.size / columns, columns]);
}

const elementsAt = (tensor: Tensor<"float32">, indices: Int32Array<ArrayBuffer>) => {
	const { device, size } = tensor;
	const places = Tensor.from<"int32", 1>(device, "int32", [indices.length], indices);
	return { flat: tensor.reshape([size]), places };
};

/** Means of activations over the sequences of a run, by entry. */
class Means {
	readonly #sums = new Map<number, { sum: number; count: number }>();

	add({ keys }: Chosen, values: Float32Array): void {
		keys.forEach((key, i) => {
			const { sum, count } = this.#sums.get(key) ?? { sum: 0, count: 0 };
			this.#sums.set(key, { sum: sum + values[i]!, count: count + 1 });
		});
	}

	/** The mean of an entry; undefined if it was in no sequence, as where an expert had other tokens. */
	of(key: number): number | undefined {
		const found = this.#sums.get(key);
		return found && found.sum / found.count;
	}
}

/** Looks at the tensors that interventions will change, while they are what they are. */
export class Survey implements Probe {
	readonly taps: readonly string[];
	readonly #interventions: readonly Intervention[];
	readonly #reading = new Reading();
	readonly #surveyed = new Map<string, Surveyed>();
	readonly #means = new Map<string, Means>();

	constructor(interventions: readonly Intervention[]) {
		this.taps = [...new Set(interventions.map(({ tap }) => tap))];
		this.#interventions = interventions;
	}

	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const target = targetOf(tensor, context), { name, sequence } = context;
		using matrix = asMatrix(tensor);
		const found = magnitudes(matrix, 1);
		this.#reading.after(tensor.device, () => {
			const read = found.read();
			checkFinite(read, sequence < 0 ? name : `${name} of sequence ${sequence}`);
			const { mean, largest } = read, tokens = context.positions;
			this.#surveyed.set(keyOf(name, sequence), {
				mean,
				largest: largest.slice(0, LISTED)
					.map((entry) => ({ ...entry, row: tokens?.[entry.row] ?? entry.row })),
			});
		});
		for (const intervention of this.#interventions) {
			if (intervention.replace !== "mean" || !matches(intervention.tap, name)) continue;
			if (isWeight(name)) continue;
			const chosen = choose(intervention, target, undefined);
			if (chosen.indices.length === 0) continue;
			const values = noGrad(() =>
				scope(() => {
					const { flat, places } = elementsAt(tensor, chosen.indices);
					return indexSelect(flat, places);
				})
			);
			this.#reading.after(tensor.device, () => {
				const means = this.#means.get(name) ?? new Means();
				this.#means.set(name, means);
				means.add(chosen, values.readNow());
				values.dispose();
			});
		}
	}

	/** Waits until all is read. */
	async finish(): Promise<void> {
		await this.#reading.finish();
	}

	/** Throws if the model has no tensor that an intervention names. */
	check(): void {
		const names = [...this.#surveyed.keys()].map((key) => key.slice(key.indexOf(" ") + 1));
		const missing = this.taps.find((tap) => !names.some((name) => matches(tap, name)));
		if (missing === undefined) return;
		throw new RangeError(
			`Cannot change ${missing}: the model has no such tap; src/nn/probe.ts lists those there are`,
		);
	}

	/** What was seen of a tensor. */
	of({ name, sequence }: Target): Surveyed {
		return this.#surveyed.get(keyOf(name, sequence)) ?? { mean: 0, largest: [] };
	}

	/** The mean over sequences of an entry of an activation, if it was there. */
	meanOf(name: string, key: number): number | undefined {
		return this.#means.get(name)?.of(key);
	}
}

/** Whether a tap with `*` for numbers is this one. */
export function matches(tap: string, name: string): boolean {
	const parts = tap.split("."), others = name.split(".");
	return parts.length === others.length &&
		parts.every((part, i) => part === others[i] || (part === "*" && /^\d+$/.test(others[i]!)));
}

/** Which entries a run changes instead of those that were chosen. */
export interface ControlDraw {
	/** An entry above so many times mean|x| is an outlier, and not drawn. */
	limit: number;
	/** What the random numbers come from. */
	seed: number;
	/** Number of the draw. */
	draw: number;
}

/** Changes chosen entries, or as many random ones. */
export class Edit implements Probe {
	readonly edits = true;
	readonly taps: readonly string[];
	/** How many entries were changed, of all sequences together; those of weights count once. */
	changed = 0;
	readonly #interventions: readonly Intervention[];
	readonly #survey: Survey;
	readonly #control: ControlDraw | null;

	constructor(
		interventions: readonly Intervention[],
		survey: Survey,
		control: ControlDraw | null = null,
	) {
		this.taps = survey.taps;
		this.#interventions = interventions;
		this.#survey = survey;
		this.#control = control;
	}

	receive(tensor: Tensor<"float32">, context: TapContext): void {
		const target = targetOf(tensor, context), surveyed = this.#survey.of(target);
		for (const intervention of this.#interventions) {
			if (!matches(intervention.tap, context.name)) continue;
			let chosen = choose(intervention, target, surveyed);
			if (chosen.indices.length === 0) continue;
			// A control's entries become what they would by the same rule, but for means, which nobody took.
			let means: Float32Array<ArrayBuffer> | undefined;
			if (intervention.replace === "mean" && !isWeight(context.name) && !this.#control) {
				const all = Array.from(chosen.keys, (key) => this.#survey.meanOf(context.name, key));
				const known = (_: unknown, i: number) => all[i] !== undefined;
				means = Float32Array.from(all.filter((mean) => mean !== undefined));
				chosen = { indices: chosen.indices.filter(known), keys: chosen.keys.filter(known) };
				if (means.length === 0) continue;
			}
			if (this.#control) {
				chosen = chooseControl(intervention, target, surveyed, chosen, this.#control);
			}
			this.changed += chosen.indices.length;
			noGrad(() => scope(() => change(tensor, chosen.indices, intervention, means)));
		}
	}
}

/** Changes entries of a tensor in place, exactly: each becomes 0, and then what it shall be. */
function change(
	tensor: Tensor<"float32">,
	indices: Int32Array<ArrayBuffer>,
	{ replace = "zero" }: Intervention,
	means?: Float32Array<ArrayBuffer>,
): void {
	const { device } = tensor, shape = [indices.length] as const;
	const { flat, places } = elementsAt(tensor, indices);
	const before = indexSelect(flat, places);
	let changed = scatterAdd(flat, places, neg(before), 0);
	const to = (values: Float32Array<ArrayBuffer>) =>
		Tensor.from<"float32", 1>(device, "float32", shape, values);
	let after: Tensor<"float32", 1> | null = null;
	if (means) after = to(means);
	else if (replace === "mean") after = mean(flat).reshape([1]).expand(shape);
	else if (replace !== "zero") {
		after = "clip" in replace
			? clamp(before, { min: -replace.clip, max: replace.clip })
			: to(new Float32Array(indices.length).fill(replace.value));
	}
	if (after) changed = scatterAdd(changed, places, after, 0);
	copyInto(tensor, changed.reshape(tensor.shape));
}
