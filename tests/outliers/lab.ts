// What NumPy computed of where outliers of tiny models stand (tests/fixtures/record_lab.py), and how to compare.

import { assert, assertEquals } from "@std/assert";
import { type Definition, loadModel, type Spread, type Transformer } from "../../mod.ts";

/** count, mean, minimum, maximum, standard deviation */
type RecordedSpread = [number, number, number, number, number];

/** Where activation outliers stand. */
export interface RecordedActivations {
	layers: {
		layer: number;
		expert?: number;
		withOutliers: number;
		top: RecordedSpread[];
		median: RecordedSpread;
		mean: RecordedSpread;
		maxOverMean: RecordedSpread;
	}[];
	features: {
		layer: number;
		expert?: number;
		features: Record<
			string,
			{ ranks: [number, number]; outlierSequences: number; maximum: RecordedSpread }
		>;
	}[];
	tokens: { firstLayer: number | null; counted: number[] }[] | null;
}

/** What was recorded of a model by one definition. */
export interface RecordedCase {
	definition: Partial<Definition>;
	hiddenState: RecordedActivations;
	downInput: RecordedActivations;
	attention: {
		layers: {
			layer: number;
			top: RecordedSpread[];
			median: RecordedSpread;
			outlierHeads: RecordedSpread | null;
		}[];
		keys: { sequence: number; firstLayer: number | null; counted: number[] }[];
		headKeys: { sequence: number; firstLayer: number | null; counted: number[] }[];
		indistinct: number[];
		unreachable: number[];
		heads: RecordedSpread[][];
		withoutKeys: number[];
	};
	weights: {
		matrices:
			| {
				layer: number;
				projection: string;
				expert?: number;
				shape: number[];
				ratio: number;
				columns: number[];
				rows: number[];
				rowNorms: number[];
			}[]
			| null;
		reference: number[];
	};
	consistency: {
		overlap: number | null;
		reverse: number | null;
		jaccard: number | null;
		count: number;
		withoutFirst: number;
		withoutSecond: number;
		records: unknown[];
	}[];
}

const fixtures = new URL("../fixtures", import.meta.url).pathname;

/** What a comparison is made of, of one place of a model. */
interface RecordedPlace {
	maxima: number[][];
	features: [layer: number, feature: number][];
	tokens: [sequence: number, token: number][];
	layers: number[];
	largest: number[];
}

/** What a comparison is made of, of one model. */
export interface RecordedModel {
	hiddenState: RecordedPlace;
	downInput: RecordedPlace;
	keys: [sequence: number, token: number][];
	attention: number[];
	matrices: { layer: number; projection: string; ratio: number; columns: number[] }[];
}

interface Recorded {
	models: Record<string, { sequences: number[][]; cases: Record<string, RecordedCase> }>;
	/** Of each sequence of lab/planted and layer, by the case "visible" with a visibleShare of 0.22. */
	keysByLayer: [key: number, visibleShare: number, share: number][][][];
	/** Of lab/planted and lab/tuned, by the case "share". */
	comparison: [RecordedModel, RecordedModel];
	/** Whole tensors of layer 1 of lab/planted for its sequence 1, and the attention of layer 2. */
	maps: Record<"hiddenState" | "downInput" | "attention" | "down" | "query", number[][]>;
}

/** Everything recorded. */
export const recordedLab: Recorded = JSON.parse(Deno.readTextFileSync(`${fixtures}/lab.json`));
/** All recorded models. */
export const lab = recordedLab.models;

/** Opens a recorded model. */
export const openRecorded = (name: string): Promise<Transformer> =>
	loadModel(`${fixtures}/${name}`);

/** float32 against float64, relative to the number. Measured: 4e-5 at most, of small values in a layer of large ones. */
const TOLERANCE = 1e-4;

/** Fails unless a number is the recorded one, but for rounding. */
export function assertNear(actual: number, expected: number, what: string): void {
	assert(
		Math.abs(actual - expected) <= TOLERANCE * Math.max(1e-3, Math.abs(expected)),
		`${what} is ${actual}, not ${expected}`,
	);
}

/** Fails unless a spread is the recorded one, but for rounding. */
export function assertSpread(
	actual: Spread | null,
	expected: RecordedSpread | null,
	what: string,
): void {
	if (!actual || !expected) return assertEquals<unknown>(actual, expected, what);
	const { count, mean, minimum, maximum, deviation } = actual;
	assertEquals(count, expected[0], what);
	[mean, minimum, maximum].forEach((value, i) => assertNear(value, expected[i + 1]!, what));
	// A difference of values that are each off by so much.
	assert(Math.abs(deviation - expected[4]) <= TOLERANCE * Math.abs(maximum), what);
}
