// Shows each link of the outliers' life to be cause and effect: take one thing away, and see what goes with it.

import type { Transformer } from "../../nn/transformer.ts";
import {
	ablate,
	type AblateOptions,
	type Ablation,
	type Condition,
} from "../interventions/ablate.ts";
import type { Intervention } from "../interventions/selection.ts";
import { type Emergence, traceEmergence } from "./trace_mlp_layers.ts";
import { progressAfter } from "../pass.ts";
import { LEDGER_PASSES, type TraceOptions } from "./ledger.ts";
import { average } from "../average.ts";

/** Options of {@linkcode traceCauses}. */
export interface CausesOptions
	extends TraceOptions, Pick<AblateOptions, "controls" | "controlLimit" | "seed"> {
	/** The emergence of the outliers of the first sequence, if it was traced already. */
	emergence?: Emergence;
	/** A neuron makes an outlier if it adds at least this share of what the MLP adds. @default {0.1} */
	share?: number;
}

/** A condition in a few numbers, means over sequences. */
export interface CauseNumbers {
	/** max|h| behind the layer where outliers come about. */
	hiddenState: number;
	/** Share of attention to the traced tokens, mean over the heads of the layers after it. */
	share: number;
	/** ‖v‖ of the traced tokens over that of others, mean over heads of these layers; null where there are no others. */
	valueRatio: number | null;
	/** Relative change of the last hidden state of the other tokens; 0 of the clean run. */
	change: number;
	/** Mean loss; null if the model has none. */
	loss: number | null;
}

/** One link. */
export interface CauseLink {
	/** What is taken away. */
	removed: "weight" | "activation" | "attention";
	/** Nothing removed. */
	clean: CauseNumbers;
	/** It removed. */
	without: CauseNumbers;
	/** As many random entries removed instead: mean of the draws; null without controls. */
	control: CauseNumbers | null;
	/** All numbers. */
	ablation: Ablation;
}

/** The links from weight to activation to attention to the other tokens. */
export interface Causes {
	/** What the numbers mean. */
	definition: string;
	/** The layer where outliers come about, 0-based. */
	layer: number;
	/** The traced tokens. */
	tokens: number[];
	/** The traced features. */
	features: number[];
	/** The links, in order. */
	links: CauseLink[];
}

const DEFINITION =
	"weight: the entries of W_down that write the outliers become 0. activation: the outliers become 0 " +
	"behind the layer that makes them. attention: the values of the outlier tokens become 0 in all layers after it, " +
	"which is the same as giving these keys no attention, without giving it to others. Controls change as many random " +
	"entries of the same tensors. Tokens are those found in the first sequence.";

function numbersOf({ layers, change, loss }: Condition, emergence: number): CauseNumbers {
	const later = layers.filter(({ layer }) => layer > emergence);
	const some = later.length > 0 ? later : layers.slice(-1);
	const ratios = some.map(({ valueRatio }) => valueRatio?.mean).filter((ratio) =>
		ratio !== undefined
	);
	return {
		hiddenState: layers[emergence]!.hiddenState.max.mean,
		share: average(some.map(({ share }) => share.mean)),
		valueRatio: ratios.length > 0 ? average(ratios) : null,
		change: change?.mean ?? 0,
		loss: loss?.mean ?? null,
	};
}

function averageOf(all: readonly CauseNumbers[]): CauseNumbers | null {
	if (all.length === 0) return null;
	const mean = (of: (numbers: CauseNumbers) => number | null) => {
		const values = all.map(of);
		return values.includes(null)
			? null
			: values.reduce((sum: number, x) => sum + x!, 0) / all.length;
	};
	return {
		hiddenState: mean(({ hiddenState }) => hiddenState)!,
		share: mean(({ share }) => share)!,
		valueRatio: mean(({ valueRatio }) => valueRatio),
		change: mean(({ change }) => change)!,
		loss: mean(({ loss }) => loss),
	};
}

/**
 * Tests each link from weight to activation to attention to the other tokens by taking it away, beside a matched control.
 * The outliers are found in the first sequence.
 *
 * @param sequences token ids of each sequence; several give the spread
 *
 * @example Is it the weight?
 * ```ts ignore
 * import { cutSequences, DEFAULT_TEXT, loadModel, traceCauses } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const ids = model.tokenizer.encode(DEFAULT_TEXT.text, { limit: 1024 });
 * const { links } = await traceCauses(model, [ids.slice(0, 512), ids.slice(512)]);
 * for (const { removed, clean, without, control } of links) console.log(removed, clean, without, control);
 * ```
 */
export async function traceCauses(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	options: CausesOptions = {},
): Promise<Causes> {
	const { share = 0.1 } = options;
	if (!(share > 0 && share <= 1)) {
		throw new RangeError(`Cannot use ${share} as share: it must be above 0 and at most 1`);
	}
	const [first] = sequences;
	if (!first) throw new RangeError("Cannot trace causes: there is no sequence");
	const { layers } = model.config, { controls = 3 } = options;
	const before = options.emergence ? 0 : (LEDGER_PASSES + 1) * layers;
	const ofLink = (2 + controls) * layers * sequences.length, whole = before + 3 * ofLink;
	const told = (from: number) => progressAfter(options.onProgress, from, whole);
	const { ledger, mlp } = options.emergence ??
		await traceEmergence(model, first, { ...options, ...told(0) });
	const { layer } = mlp, { tokens, features } = ledger;

	const entries = new Map<string, [number, number][]>();
	for (const { feature, mlp: value, bias, contributions } of mlp.features) {
		const strong = contributions.filter((each, i) =>
			i === 0 || Math.abs(each.value) >= share * Math.abs(value - bias)
		);
		for (const { neuron, expert } of strong) {
			const place = expert === undefined ? "mlp" : `mlp.experts.${expert}`;
			const tap = `layers.${layer}.${place}.down.weight`, known = entries.get(tap) ?? [];
			entries.set(tap, [...known, [feature, neuron]]);
		}
	}
	const last = model.config.layers - 1;
	const removals: [CauseLink["removed"], Intervention[]][] = [
		["weight", [...entries].map(([tap, entries]) => ({ tap, entries }))],
		["activation", [{
			tap: `layers.${layer}.output`,
			entries: tokens.flatMap((token) => features.map((feature) => [token, feature])),
		}]],
		[
			"attention",
			Array.from({ length: last - layer }, (_, i) => ({
				tap: `layers.${layer + 1 + i}.attn.v`,
				rows: tokens,
			})),
		],
	];
	const links: CauseLink[] = [];
	for (const [i, [removed, interventions]] of removals.entries()) {
		if (interventions.length === 0) continue; // no layer follows
		const ablation = await ablate(model, sequences, {
			interventions,
			tokens,
			controls,
			...options.controlLimit !== undefined && { controlLimit: options.controlLimit },
			...options.seed !== undefined && { seed: options.seed },
			...options.dtype && { dtype: options.dtype },
			...options.signal && { signal: options.signal },
			...told(before + i * ofLink),
		});
		links.push({
			removed,
			clean: numbersOf(ablation.clean, layer),
			without: numbersOf(ablation.ablated, layer),
			control: averageOf(ablation.controls.map((condition) => numbersOf(condition, layer))),
			ablation,
		});
	}
	options.onProgress?.(whole, whole);
	return { definition: DEFINITION, layer, tokens: [...tokens], features: [...features], links };
}
