// What the analyses mean by an outlier and by each figure: one value for each point in which the paper and its
// published code differ. The marks d1, d2, … number these differences; docs/analyses/definitions.md lists them.

/** The tensors of a layer in which activation outliers stand: h and x_down. */
export type ActivationPlace = "hiddenState" | "downInput";

/** Which of the given sequences a figure is made of; `null`: all of them, whole. */
export interface FigureSample {
	/** The first so many. */
	sequences: number | null;
	/** The first so many tokens of each. */
	length: number | null;
}

/** What is counted, and from when on. All fields are plain data, so that a result can name its definition. */
export interface Definition {
	/** τ of activations, and of attention by the rule `"tau"` (d1): strictly more than τ times the mean. */
	tau: number;
	/**
	 * What makes an activation an outlier (d1): `"mean"`, |x| > τ · mean|x| of its tensor; or `"massive"`, |x| > 100
	 * and |x| ≥ τ · median|x|, the rule of the work on massive activations that the code grew from.
	 */
	activationRule: "mean" | "massive";
	/** In which tensors outlier tokens are sought (d1, d6). */
	tokenPlaces: readonly ActivationPlace[];
	/** In which layers, 0-based, outlier tokens are sought (d1); `null`: in all. */
	tokenLayers: readonly number[] | null;
	/**
	 * Which outlier tokens of a sequence are counted: those of the first layer that has any (appendix B.1 of the paper:
	 * "positions where outliers first appear"), or those of all layers that are looked at.
	 */
	appearance: "first layer" | "any layer";
	/** Whether of equal tokens of a sequence only the first is counted. */
	firstOccurrence: boolean;

	/** τ of weights (d2). */
	weightTau: number;
	/** Whose mean a weight is compared with (d2): its row's, its column's, or the smaller of both. */
	weightAxis: "row" | "column" | "either";
	/** How many columns of the largest max/mean are the outliers instead of what exceeds τ (d2); `null`: τ decides. */
	weightTop: number | null;
	/** The extremal ratio of a whole matrix (d2): the largest of a column, or of a row or column. */
	moduleRatio: "column" | "row or column";
	/** The reference line over all matrices of a layer (d10). */
	moduleReference: "median" | "mean";

	/**
	 * What makes a key an attention outlier (d3), of its cumulative attention Â_j = Σ_i A[i, j]: `"share"`,
	 * Â_j ≥ ρ · Σ Â; `"tau"`, Â_j > τ · mean Â; or `"visible share"`, Â_j ≥ ρ' · the number of queries that see j, which
	 * is fair to the late keys of short texts.
	 */
	attentionRule: "share" | "tau" | "visible share";
	/** ρ of the rule `"share"`. */
	attentionShare: number;
	/** ρ' of the rule `"visible share"`. */
	visibleShare: number;
	/** In which layers, 0-based, outlier keys are sought; `null`: in all. */
	attentionLayers: readonly number[] | null;
	/** Whether a head has outlier keys by its own Â, or all share those of the mean over heads (d3). */
	attentionHeads: "each" | "mean";
	/**
	 * Whose share of a head's attention tells heads apart (d9): the outlier keys of the sequence (by the mean over
	 * heads, in any layer), fixed positions, or the `top` largest of each layer.
	 */
	headKeys: "outliers" | { readonly positions: readonly number[] } | { readonly top: number };

	/** Which attention the outliers of h of layer ℓ are compared with (d24): that of layer ℓ + 1, or of ℓ itself. */
	attentionPairing: "next" | "same";
	/** Whether layers in which the second kind has no outlier count, as overlaps of 0, or are left out. */
	consistencyLayers: "joint" | "first";

	/**
	 * Of which layer and head, 0-based, the spread of outliers is drawn in Fig. 8, as options of `traceSpread` (d11): the
	 * paper says LLaMA2-7B's third layer, its code draws the chat model's layer 27 and head 1. By default the layer behind
	 * the one where outliers come about, and the head that gives them most attention.
	 */
	spread: { readonly layer?: number; readonly head?: number };

	/** How many sequences a sample of texts has (d4). */
	sequences: number;
	/** How many tokens each has (d4); models with a shorter context take that. */
	length: number;
	/** Whether the tokens that a model's makers put around a text are put there (d25). */
	specialTokens: boolean;
	/** Of which of the sequences each figure is made (d4, d5, d6). */
	figures: {
		/** Which layers: Fig. 3a and 4a. */
		readonly layers: FigureSample;
		/** Which tokens: Fig. 3b and 6b. */
		readonly tokens: FigureSample;
		/** Which features: Fig. 3c. */
		readonly features: FigureSample;
		/** Attention by layer and head: Fig. 6a and 6c. */
		readonly attention: FigureSample;
	};
}

/** The definitions that have a name. */
export type DefinitionName = "default" | "paper" | "code";

/** A definition by its name, or the default with changes. */
export type DefinitionChoice = DefinitionName | Partial<Definition>;

const ALL: FigureSample = { sequences: null, length: null };

const DEFAULT: Definition = {
	tau: 1000,
	activationRule: "mean",
	tokenPlaces: ["hiddenState", "downInput"],
	tokenLayers: null,
	appearance: "first layer",
	firstOccurrence: false,
	weightTau: 1000,
	weightAxis: "row",
	weightTop: null,
	moduleRatio: "row or column",
	moduleReference: "median",
	attentionRule: "share",
	attentionShare: 0.1,
	visibleShare: 0.3,
	attentionLayers: null,
	attentionHeads: "each",
	headKeys: "outliers",
	attentionPairing: "next",
	consistencyLayers: "joint",
	spread: {},
	sequences: 100,
	length: 2048,
	specialTokens: false,
	figures: { layers: ALL, tokens: ALL, features: ALL, attention: ALL },
};

/**
 * The definitions that have a name: what the paper says; what its code does; and the default, which takes of both
 * what can be measured. The literal τ of the paper cannot be reached by attention in 1,000 tokens or fewer, nor by
 * rows of 1,000 weights or fewer; results say so.
 */
export const DEFINITIONS: Readonly<Record<DefinitionName, Definition>> = {
	default: DEFAULT,
	paper: {
		...DEFAULT,
		moduleRatio: "column",
		attentionRule: "tau",
		attentionPairing: "same",
		spread: { layer: 2 },
	},
	code: {
		...DEFAULT,
		tokenPlaces: ["hiddenState"],
		tokenLayers: [1],
		appearance: "any layer",
		weightAxis: "column",
		weightTop: 3,
		moduleReference: "mean",
		attentionLayers: [3],
		attentionHeads: "mean",
		headKeys: { positions: [0, 19] },
		spread: { layer: 27, head: 1 },
		length: 4096,
		figures: {
			layers: { sequences: 10, length: null },
			tokens: { sequences: 100, length: null },
			features: { sequences: 1, length: null },
			attention: { sequences: 1, length: 1024 },
		},
	},
};

/** The values that fields of a few may have. */
const CHOICES = {
	activationRule: ["mean", "massive"],
	appearance: ["first layer", "any layer"],
	weightAxis: ["row", "column", "either"],
	moduleRatio: ["column", "row or column"],
	moduleReference: ["median", "mean"],
	attentionRule: ["share", "tau", "visible share"],
	attentionHeads: ["each", "mean"],
	attentionPairing: ["next", "same"],
	consistencyLayers: ["joint", "first"],
} as const;

/**
 * A definition with all its fields.
 *
 * @throws {RangeError} if there is none of that name, or a threshold is out of its range
 */
export function definitionOf(choice: DefinitionChoice = "default"): Definition {
	const found: Definition = typeof choice === "string"
		? DEFINITIONS[choice]
		: { ...DEFAULT, ...choice };
	if (!found) {
		throw new RangeError(
			`There is no definition "${choice}": take one of ${Object.keys(DEFINITIONS).join(", ")}`,
		);
	}
	const unknown = Object.keys(found).find((name) => !(name in DEFAULT));
	if (unknown !== undefined) {
		throw new RangeError(
			`A definition has no "${unknown}": it has ${Object.keys(DEFAULT).join(", ")}`,
		);
	}
	for (const name of ["tau", "weightTau"] as const) {
		if (!(found[name] > 0) || found[name] === Infinity) {
			throw new RangeError(`Cannot use ${found[name]} as ${name}: it must be a number above 0`);
		}
	}
	for (const name of ["attentionShare", "visibleShare"] as const) {
		if (!(found[name] > 0 && found[name] <= 1)) {
			throw new RangeError(
				`Cannot use ${found[name]} as ${name}: it must be above 0 and at most 1`,
			);
		}
	}
	const { weightTop, headKeys } = found;
	const tops = {
		weightTop,
		"headKeys.top": typeof headKeys === "object" && "top" in headKeys ? headKeys.top : null,
	};
	for (const [name, value] of Object.entries(tops)) {
		if (value !== null && !(Number.isSafeInteger(value) && value > 0)) {
			throw new RangeError(`Cannot use ${value} as ${name}: it must be a whole number, 1 or more`);
		}
	}
	for (const [name, values] of Object.entries(CHOICES)) {
		const value = found[name as keyof typeof CHOICES];
		if (!(values as readonly string[]).includes(value)) {
			throw new RangeError(`Cannot use "${value}" as ${name}: take one of ${values.join(", ")}`);
		}
	}
	return found;
}
