// Whether the length of a text moves, makes or removes attention outliers: the study of the paper's appendix D.3.

import type { TapContext, Transformer } from "../nn/mod.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { TokenClass } from "./analysis.ts";
import { type Definition, type DefinitionChoice, definitionOf } from "./definitions.ts";
import {
	cumulativeAttention,
	outlierKeys,
	queriesOf,
	type Sight,
	uniformVisibleShare,
} from "./outlier_sets.ts";
import { type AnalysisProbe, type PassOptions, runAnalyses } from "./pass.ts";
import { ActivationPositionsProbe } from "./positions/activations.ts";
import type { Appearance } from "./positions/tokens.ts";
import { Reading } from "./reading.ts";
import {
	type GivenSequence,
	sequencesOf,
	type SourceText,
	type SourceTokens,
} from "./sequences.ts";
import { tokenClass } from "./token_class.ts";
import { average } from "./average.ts";

/** A sentence of appendix D.3. */
export interface LengthSentence extends SourceText {
	/** The tokens on which the paper reports attention outliers, of LLaMA2-7B. */
	reported: readonly string[];
}

/** The four sentences of appendix D.3, and where the paper reports attention outliers of LLaMA2-7B. */
export const LENGTH_SENTENCES: readonly LengthSentence[] = [
	{ source: "short", text: "Summer is warm!", reported: ["Summer"] },
	{
		source: "moderately extended",
		text: "Summer is warm! Winter is cold.",
		reported: ["Summer", "."],
	},
	{
		source: "further extended",
		text: "Summer is warm! Winter is cold. Spring is good.",
		reported: ["Summer", "the first ."],
	},
	{
		source: "modified",
		text: "Summer is warm! Winter is cold! Spring is good.",
		reported: ["Summer", "the last ."],
	},
];

/** A key that is an outlier in some of the layers that count. */
export interface LengthKey {
	/** Position. */
	token: number;
	/** The token's text. */
	text: string;
	/** Its class. */
	class: TokenClass;
	/** In how many of the layers that count it is an outlier. */
	layers: number;
	/** Whether these are at least half of them. */
	persistent: boolean;
	/** Mean over these layers of what the queries that see it give it: Â_j over their number. */
	visibleShare: number;
	/** Mean over these layers of its share of all attention: Â_j / Σ Â. */
	share: number;
}

/** The outliers of one text. */
export interface LengthFinding {
	/** Where it came from. */
	source: string;
	/** Its tokens' texts. */
	tokens: string[];
	/** Keys with outliers in layers that count, those of most layers first. */
	keys: LengthKey[];
	/** The same layer by layer, of all layers: 0-based layer, and positions. */
	byLayer: Appearance[];
	/** Where outliers of h appear, layer by layer. */
	hiddenState: Appearance[];
	/** The `visibleShare` that the first key would have if every query attended evenly to what it sees. */
	uniform: number;
}

/** The study of appendix D.3. */
export interface SequenceLengthStudy {
	/** What was counted. */
	definition: Definition;
	/**
	 * From which layer on attention counts, 0-based: the one behind the first outlier of h in any of the texts; 0 if there
	 * is none.
	 */
	fromLayer: number;
	/** How many layers count. */
	countedLayers: number;
	/** Each text. */
	texts: LengthFinding[];
	/** From each text to the next: persistent keys by position that stay, come and go. */
	changes: { kept: number[]; gained: number[]; lost: number[] }[];
}

/** An outlier key of a layer. */
interface Key {
	token: number;
	visibleShare: number;
	share: number;
}

/** Collects the outlier keys of each layer, by the mean over heads. */
class KeysByLayer implements AnalysisProbe<Map<number, Map<number, Key[]>>> {
	readonly taps: readonly string[] = ["layers.*.attn.cumulative"];
	readonly #reading = new Reading();
	/** By sequence and layer. */
	readonly #found = new Map<number, Map<number, Key[]>>();

	constructor(readonly definition: Definition, readonly sight: Sight) {}

	receive(cumulative: Tensor<"float32">, context: TapContext): void {
		const kept = cumulative.reshape([cumulative.size]), tokens = cumulative.shape[1]!;
		this.#reading.after(cumulative.device, () => {
			const values = kept.readNow();
			kept.dispose();
			const { mean } = cumulativeAttention(values, tokens, context);
			const total = mean.reduce((sum, value) => sum + value, 0);
			const keys = outlierKeys(mean, this.definition, this.sight).map((token) => ({
				token,
				visibleShare: mean[token]! / queriesOf(token, tokens, this.sight),
				share: mean[token]! / total,
			}));
			const layers = this.#found.get(context.sequence) ?? new Map<number, Key[]>();
			this.#found.set(context.sequence, layers.set(context.layer, keys));
		});
	}

	async result(): Promise<Map<number, Map<number, Key[]>>> {
		await this.#reading.finish();
		return this.#found;
	}
}

/** Options of {@linkcode studySequenceLength}. */
export interface SequenceLengthOptions extends PassOptions {
	/**
	 * What is counted. By default keys that get 0.3 or more of the attention of the queries that see them, as a share of
	 * all attention favours the early keys of short texts.
	 *
	 * @default {{ attentionRule: "visible share" }}
	 */
	definition?: DefinitionChoice;
	/** From which layer on attention counts, 0-based. @default {the one behind the first outlier of h} */
	fromLayer?: number;
}

/**
 * Compares where attention outliers stand in texts of different length, by the mean over heads.
 *
 * @param given texts or sequences of tokens, each taken as one sequence; by default the four sentences of the paper
 * @throws {RangeError} if there is no text, or the layer is none of the model's
 *
 * @example The paper's four sentences
 * ```ts ignore
 * const { texts } = await studySequenceLength(model);
 * for (const { source, keys } of texts) console.log(source, keys.map(({ text }) => text));
 * ```
 */
export async function studySequenceLength(
	model: Transformer,
	given: readonly GivenSequence[] = LENGTH_SENTENCES,
	{ definition: choice = { attentionRule: "visible share" }, fromLayer, ...pass }:
		SequenceLengthOptions = {},
): Promise<SequenceLengthStudy> {
	const { layers, attention: sight } = model.config;
	if (
		fromLayer !== undefined &&
		!(Number.isInteger(fromLayer) && fromLayer >= 0 && fromLayer < layers)
	) {
		throw new RangeError(`Cannot begin at layer ${fromLayer}: the model has 0 to ${layers - 1}`);
	}
	const definition: Definition = { ...definitionOf(choice), appearance: "any layer" };
	const sequences = sequencesOf(model, given, definition.specialTokens);
	const { keys, hidden } = await runAnalyses(
		model,
		sequences.map(({ tokenIds }) => tokenIds),
		{
			keys: new KeysByLayer(definition, sight),
			hidden: new ActivationPositionsProbe("hiddenState", sequences, {
				...definition,
				tokenPlaces: ["hiddenState"],
			}),
		},
		pass,
	);
	const ofHidden = hidden.tokens!.bySequence;
	const firsts = ofHidden.flatMap(({ firstLayer }) => firstLayer === null ? [] : [firstLayer]);
	// The last layer's outliers have no attention behind them.
	const from = fromLayer ??
		(firsts.length > 0 ? Math.min(layers - 1, firsts.reduce((a, b) => Math.min(a, b)) + 1) : 0);
	const countedLayers = layers - from;

	const texts = sequences.map(({ source, tokenTexts }, sequence): LengthFinding => {
		const byLayer = [...keys.get(sequence)!].sort(([a], [b]) => a - b);
		const counted = Map.groupBy(
			byLayer.filter(([layer]) => layer >= from).flatMap(([, found]) => found),
			({ token }) => token,
		);
		return {
			source,
			tokens: tokenTexts,
			keys: [...counted].map(([token, found]) => ({
				token,
				text: tokenTexts[token]!,
				class: tokenClass(token, tokenTexts[token]!),
				layers: found.length,
				persistent: 2 * found.length >= countedLayers,
				visibleShare: average(found.map(({ visibleShare }) => visibleShare)),
				share: average(found.map(({ share }) => share)),
			})).sort((a, b) => b.layers - a.layers || a.token - b.token),
			byLayer: byLayer.map(([layer, found]) => ({
				layer,
				tokens: found.map(({ token }) => token),
			})),
			hiddenState: ofHidden[sequence]?.appearances ?? [],
			uniform: uniformVisibleShare(tokenTexts.length, sight),
		};
	});
	const persistent = texts.map(({ keys }) =>
		keys.filter((key) => key.persistent).map(({ token }) => token).sort((a, b) => a - b)
	);
	const changes = persistent.slice(1).map((after, i) => {
		const before = persistent[i]!;
		return {
			kept: after.filter((token) => before.includes(token)),
			gained: after.filter((token) => !before.includes(token)),
			lost: before.filter((token) => !after.includes(token)),
		};
	});
	return { definition, fromLayer: from, countedLayers, texts, changes };
}

/**
 * The beginnings of a sequence, to study one text at several lengths.
 *
 * @param lengths numbers of tokens; longer ones than the sequence has are left out
 */
export function beginnings(
	model: Transformer,
	given: GivenSequence,
	lengths: readonly number[],
): SourceTokens[] {
	const { source, tokenIds } = sequencesOf(model, [given])[0]!;
	return lengths.filter((length) => length <= tokenIds.length).map((length) => ({
		source: `${source}, ${length} tokens`,
		tokenIds: tokenIds.slice(0, length),
	}));
}
