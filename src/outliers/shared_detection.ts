// An analysis that several processes share: each runs some of the sequences, and all get what one would have found.

import type { Transformer } from "../nn/transformer.ts";
import type { ProcessGroup } from "../parallel/process_group.ts";
import type { ActivationAnalysis, AttentionAnalysis } from "./analysis.ts";
import type { Detecting, DetectOutliersOptions } from "./detect.ts";
import { runAnalyses } from "./pass.ts";

/** What the processes find of sequences, each with its number. */
interface Found {
	hiddenState: ActivationAnalysis;
	downInput: ActivationAnalysis;
	attention: AttentionAnalysis[];
}

const bySequence = (a: { sequence: number }, b: { sequence: number }) => a.sequence - b.sequence;

function mergeLayers(parts: readonly ActivationAnalysis[]): ActivationAnalysis {
	return {
		layers: parts[0]!.layers.map(({ layer }, i) => ({
			layer,
			sequences: parts.flatMap(({ layers }) => layers[i]!.sequences).sort(bySequence),
		})),
	};
}

/**
 * Runs this process's share of an analysis and gives the results of all.
 *
 * @throws {RangeError} if other criteria are asked in the same pass, which look at all sequences together
 */
export async function runSharedDetection(
	model: Transformer,
	{ sequences, probes }: Detecting,
	{ dtype = "float32", detectors = [], onProgress, signal }: DetectOutliersOptions,
	group: ProcessGroup,
): Promise<Record<string, unknown>> {
	if (detectors.length > 0) {
		throw new RangeError(
			"Cannot share out detectors to several processes: run them in one, or leave them out",
		);
	}
	const { rank, size } = group;
	const ids = sequences.map(({ tokenIds }) => tokenIds);
	await group.agree({ "sequences to analyze": JSON.stringify(ids) });
	const own = [...ids.keys()].filter((i) => i % size === rank);
	const { weights: _weights, ...others } = probes;
	const results = own.length > 0 || rank === 0
		? await runAnalyses(model, own.map((i) => ids[i]!), rank === 0 ? probes : others, {
			dtype,
			...onProgress && { onProgress },
			...signal && { signal },
		}) as unknown as Found & { weights?: unknown }
		: null;
	const found = results && {
		hiddenState: numbered(results.hiddenState, own),
		downInput: numbered(results.downInput, own),
		attention: results.attention.map((one) => ({ ...one, sequence: own[one.sequence]! })),
		weights: results.weights ?? null,
	};
	const parts = (await group.exchange(found)).filter((part) => part !== null);
	return {
		hiddenState: mergeLayers(parts.map(({ hiddenState }) => hiddenState)),
		downInput: mergeLayers(parts.map(({ downInput }) => downInput)),
		attention: parts.flatMap(({ attention }) => attention)
			.sort((a, b) => a.layer - b.layer || bySequence(a, b)),
		weights: parts[0]!.weights,
	};
}

/** The same statistics, with the numbers that the sequences have among all. */
function numbered({ layers }: ActivationAnalysis, own: readonly number[]): ActivationAnalysis {
	return {
		layers: layers.map(({ layer, sequences }) => ({
			layer,
			sequences: sequences.map((one) => ({ ...one, sequence: own[one.sequence]! })),
		})),
	};
}
