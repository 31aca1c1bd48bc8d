// How outliers of the residual stream are born in one layer's MLP, and taken away in another's.

import type { Transformer } from "../../nn/transformer.ts";
import { KeptTaps } from "./kept_taps.ts";
import { progressAfter } from "../pass.ts";
import { type Ledger, LEDGER_PASSES, traceLedger, type TraceOptions } from "./ledger.ts";
import { mlpTaps, type MlpTrace, traceMlp } from "./mlp_parts.ts";
import { sampleTokens } from "./surface.ts";

/** Options of {@linkcode traceEmergence} and {@linkcode traceDisappearance}. */
export interface MlpTraceOptions extends TraceOptions {
	/** The layer, 0-based. @default {the one that the ledger finds} */
	layer?: number;
	/** The ledger of the same sequence, if there is one already. */
	ledger?: Ledger;
}

/** How outliers come about. */
export interface Emergence {
	/** All layers; Fig. 3a of the paper, entry by entry. */
	ledger: Ledger;
	/** The layer where they come about, taken apart: Fig. 7. */
	mlp: MlpTrace;
}

/** How outliers go. */
export interface Disappearance {
	/** All layers; with `opposition`, the progress of the cancellation. */
	ledger: Ledger;
	/** The layer that takes most away, taken apart: Fig. 9. */
	mlp: MlpTrace;
	/** What each traced entry is at the end over its largest |value|; 0 if it is gone. */
	left: { token: number; feature: number; share: number }[];
}

/** Throws if there is no such layer. */
export function checkLayer(model: Transformer, layer: number): void {
	const { layers } = model.config;
	if (Number.isInteger(layer) && layer >= 0 && layer < layers) return;
	throw new RangeError(`Cannot trace layer ${layer}: the model has ${layers}, the first is 0`);
}

async function trace(
	model: Transformer,
	tokenIds: readonly number[],
	options: MlpTraceOptions,
	layerOf: (ledger: Ledger) => number,
): Promise<{ ledger: Ledger; mlp: MlpTrace }> {
	if (options.layer !== undefined) checkLayer(model, options.layer);
	const { layers } = model.config, before = options.ledger ? 0 : LEDGER_PASSES * layers;
	const told = (from: number) => progressAfter(options.onProgress, from, before + layers);
	const ledger = options.ledger ?? await traceLedger(model, tokenIds, { ...options, ...told(0) });
	const layer = options.layer ?? layerOf(ledger), { dtype = "float32", signal } = options;
	using kept = new KeptTaps(mlpTaps(model, layer), sampleTokens(tokenIds.length, ledger.tokens));
	const hidden = await model.forward([tokenIds], {
		dtype,
		probes: [kept],
		...signal && { signal },
		...told(before),
	});
	for (const h of hidden) h.dispose();
	return { ledger, mlp: await traceMlp(model, kept, layer, ledger.entries) };
}

/**
 * Traces how outliers of the hidden state come about (paper §4.1, Fig. 7): large rows of gate and up, their product
 * through the activation function, single entries of W_down, the residual stream. Works for gated and plain MLPs and for
 * experts; layer, tokens and features are found if they are not named.
 *
 * @param tokenIds one sequence
 * @throws {RangeError} if a layer, token or feature is not there
 *
 * @example Which weights make the outlier
 * ```ts ignore
 * import { loadModel, PAPER_SENTENCE, traceEmergence } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { mlp } = await traceEmergence(model, model.tokenizer.encode(PAPER_SENTENCE.text));
 * console.log(mlp.layer, mlp.features[0].contributions);
 * ```
 */
export async function traceEmergence(
	model: Transformer,
	tokenIds: readonly number[],
	options: MlpTraceOptions = {},
): Promise<Emergence> {
	return await trace(model, tokenIds, options, ({ emergence }) => emergence);
}

/**
 * Traces how outliers of the hidden state go (paper §4.3, Fig. 9): layer by layer what the MLP adds beside what is there,
 * with opposite signs, and the neurons that do so in the layer where most goes.
 *
 * @param tokenIds one sequence
 * @throws {RangeError} if a layer, token or feature is not there
 *
 * @example Which layer takes it away
 * ```ts ignore
 * import { loadModel, PAPER_SENTENCE, traceDisappearance } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { mlp, left } = await traceDisappearance(model, model.tokenizer.encode(PAPER_SENTENCE.text));
 * console.log(mlp.layer, left);
 * ```
 */
export async function traceDisappearance(
	model: Transformer,
	tokenIds: readonly number[],
	options: MlpTraceOptions = {},
): Promise<Disappearance> {
	const { ledger, mlp } = await trace(model, tokenIds, options, (of) => of.disappearance);
	const left = ledger.entries.map(({ token, feature, layers }) => {
		const sizes = layers.map(({ after }) => Math.abs(after)), largest = Math.max(...sizes);
		return { token, feature, share: largest > 0 ? sizes.at(-1)! / largest : 0 };
	});
	return { ledger, mlp, left };
}
