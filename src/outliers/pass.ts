// One pass of a model over its sequences that serves any number of analyses.

import type { Probe, Transformer } from "../nn/mod.ts";

/** A probe that makes plain data of what it took. */
export interface AnalysisProbe<T> extends Probe {
	/** What was found, once the pass is over; frees what the probe holds on the device. */
	result(): Promise<T>;
}

/**
 * The progress of one of several passes, as that of all of them.
 *
 * @param before steps of the passes before it
 * @param whole steps of all
 * @returns an option to spread; empty if nobody is told
 */
export function progressAfter(
	onProgress: PassOptions["onProgress"],
	before: number,
	whole: number,
): Pick<PassOptions, "onProgress"> {
	return onProgress ? { onProgress: (done) => onProgress(before + done, whole) } : {};
}

/** Options of {@linkcode runAnalyses}. */
export interface PassOptions {
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Told after each layer of each sequence: how many are done, of how many. */
	onProgress?: (done: number, total: number) => void;
	/** Stops the pass; the promise then rejects with the signal's reason. */
	signal?: AbortSignal;
}

/** What probes give, by their names. */
export type ResultsOf<P> = { [K in keyof P]: P[K] extends AnalysisProbe<infer T> ? T : never };

/**
 * Runs a model over sequences once and gives the results of all analyses.
 *
 * @param sequences token ids of each sequence
 * @param probes the analyses, by the names that their results shall have
 * @throws {RangeError} if the model has register tokens
 */
export async function runAnalyses<P extends Record<string, AnalysisProbe<unknown>>>(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	probes: P,
	{ dtype = "float32", onProgress, signal }: PassOptions = {},
): Promise<ResultsOf<P>> {
	if (model.config.registers) {
		throw new RangeError(
			"Cannot analyze a model with register tokens: analyses name the token of each position; probes see " +
				"registers as the first positions, and so does EmergenceWatch",
		);
	}
	const hidden = await model.forward(sequences, {
		dtype,
		probes: Object.values(probes),
		...onProgress && { onProgress },
		...signal && { signal },
	});
	for (const h of hidden) h.dispose();
	const results: Record<string, unknown> = {};
	for (const [name, probe] of Object.entries(probes)) results[name] = await probe.result();
	return results as ResultsOf<P>;
}
