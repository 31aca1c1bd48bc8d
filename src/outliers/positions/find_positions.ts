// Where the systematic outliers of a model stand: which layers, tokens, features, heads and weights.

import type { Transformer } from "../../nn/transformer.ts";
import type { AnalyzedSequence } from "../analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "../definitions.ts";
import { type PassOptions, runAnalyses } from "../pass.ts";
import { type GivenSequence, sequencesOf } from "../sequences.ts";
import {
	type ActivationPositions,
	ActivationPositionsProbe,
	type FigureSequences,
} from "./activations.ts";
import { type AttentionPositions, AttentionPositionsProbe } from "./attention.ts";
import { type HeadShares, HeadSharesProbe } from "./heads.ts";
import { type ExtremalRatios, ExtremalRatiosProbe } from "./weights.ts";

/** Options of {@linkcode findPositions}. */
export interface FindPositionsOptions extends PassOptions {
	/** What is counted. @default {"default"} */
	definition?: DefinitionChoice;
	/** How many columns and rows of each matrix are listed; `Infinity` for all. @default {10} */
	columns?: number;
}

/** Where the systematic outliers of a model stand. Layers, tokens, features and heads are 0-based. */
export interface OutlierPositions {
	/** What was counted. */
	definition: Definition;
	/** The sequences that were run; `sequence` in what follows is an index into this list. */
	sequences: {
		/** Where it came from. */
		source: string;
		/** How many tokens it has. */
		tokens: number;
		/** Index of the given sequence that it is, or of which it is the beginning. */
		given: number;
	}[];
	/** Of h: the paper's Fig. 3. */
	hiddenState: ActivationPositions;
	/** Of x_down: the paper's Fig. 4. */
	downInput: ActivationPositions;
	/** Of weights: the paper's Fig. 5. */
	weights: ExtremalRatios;
	/** Of attention: the paper's Fig. 6a and 6b. */
	attention: AttentionPositions;
	/** Of heads: the paper's Fig. 6c. */
	heads: HeadShares;
}

const FIGURES = ["tokens", "layers", "features", "attention"] as const;

/** The sequences to run, each once, and of which of them each figure is made. */
function plan(
	given: readonly AnalyzedSequence[],
	{ figures }: Definition,
): { runs: (AnalyzedSequence & { given: number })[]; members: Required<FigureSequences> } {
	const runs: (AnalyzedSequence & { given: number })[] = [], indices = new Map<string, number>();
	const members = Object.fromEntries(FIGURES.map((figure) => {
		const { sequences, length } = figures[figure];
		const all = given.slice(0, sequences ?? undefined).map((sequence, index) => {
			const tokens = Math.min(sequence.tokenIds.length, length ?? Infinity);
			const key = `${index} ${tokens}`;
			if (!indices.has(key)) {
				indices.set(key, runs.length);
				runs.push({
					source: sequence.source,
					tokenIds: sequence.tokenIds.slice(0, tokens),
					tokenTexts: sequence.tokenTexts.slice(0, tokens),
					given: index,
				});
			}
			return indices.get(key)!;
		});
		return [figure, new Set(all)];
	})) as unknown as Required<FigureSequences>;
	return { runs, members };
}

/**
 * Finds where the outliers of a model stand: in which layers, on which tokens, in which features, in which
 * heads, and in which matrices and columns (§3 and appendix B.1 of the paper).
 *
 * One pass over the sequences. Memory grows with their number by the list of each one's outlier tokens and, where the
 * share of outlier keys is measured, by 4 bytes for each head, layer and token, as a late layer may make a key one.
 *
 * @param given sequences of tokens, or texts, each taken as one sequence
 * @throws {RangeError} if there is no sequence, or the definition is none
 *
 * @example Which tokens carry outliers in the hidden states
 * ```ts ignore
 * import { findPositions, loadModel, sampleSequences } from "@outlierscope/outlierscope";
 * using model = await loadModel("smollm2");
 * const { sequences } = await sampleSequences(model, "texts/", { sequences: 10 });
 * const { hiddenState } = await findPositions(model, sequences);
 * console.log(hiddenState.tokens?.ranked);
 * ```
 */
export async function findPositions(
	model: Transformer,
	given: readonly GivenSequence[],
	{ definition: choice, columns = 10, ...pass }: FindPositionsOptions = {},
): Promise<OutlierPositions> {
	const definition = definitionOf(choice);
	const { runs, members } = plan(sequencesOf(model, given, definition.specialTokens), definition);
	const sight = model.config.attention;
	const ids = runs.map(({ tokenIds }) => tokenIds);
	const attention = new AttentionPositionsProbe(runs, definition, sight, members);
	const found = await runAnalyses(model, ids, {
		hiddenState: new ActivationPositionsProbe("hiddenState", runs, definition, members),
		downInput: new ActivationPositionsProbe("downInput", runs, definition, members),
		weights: new ExtremalRatiosProbe(definition, columns),
		attention,
		heads: headShares(definition, attention, members.attention),
	}, pass);
	return {
		definition,
		sequences: runs.map(({ source, tokenIds, given }) => ({
			source,
			tokens: tokenIds.length,
			given,
		})),
		...found,
	};
}

/** The probe of the share that a definition's keys have in each head. */
export function headShares(
	{ headKeys }: Definition,
	attention: AttentionPositionsProbe,
	members?: ReadonlySet<number>,
): HeadSharesProbe {
	const choose = headKeys === "outliers"
		? attention
		: () => "positions" in headKeys ? headKeys.positions : headKeys;
	return new HeadSharesProbe(headKeys, choose, members);
}
