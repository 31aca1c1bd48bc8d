// What an intervention changes: entries of a tapped tensor, named or found by their size in the clean run, and the
// random ones that a control changes instead.

import type { Entry } from "../magnitudes.ts";
import { randomNumbers } from "./estimate.ts";

/** What chosen entries become. */
export type Replacement =
	/** 0. */
	| "zero"
	/**
	 * Of an activation, the mean of that entry over the sequences of the clean run (Sun et al., "Massive activations in
	 * large language models", 2024: if that changes nothing, the outlier is a constant); of a weight, the mean of the matrix.
	 */
	| "mean"
	/** The entry, limited to so much above and below 0. */
	| { clip: number }
	/** A number. */
	| { value: number };

/**
 * A change of entries of one tensor, or of one in each layer. The entries are named by `entries`, or by `heads`, `rows`
 * and `columns` together, or found in the clean run by `largest` or `above`.
 *
 * Setting the attention to a key to 0, without giving its share to others, is the same as zeroing its value:
 * Σ_j A[i, j] v_j without j. So a sink is removed by `{ tap: "layers.N.attn.v", rows: [token] }`; with grouped
 * queries that is for all heads that share the value head.
 */
export interface Intervention {
	/**
	 * The tap: a weight such as `layers.11.mlp.down.weight` [out, in], or an activation such as `layers.11.output` [token,
	 * feature], `layers.*.attn.v` [head, token, feature]. `src/nn/probe.ts` lists them. `*` stands for every layer.
	 */
	tap: string;
	/** Entries, with as many indices as the tensor has axes. */
	entries?: readonly (readonly number[])[];
	/** Heads of a tensor of three axes. @default {all} */
	heads?: readonly number[];
	/** Rows: outputs of a weight, tokens of an activation. A sequence that is too short for a token has none. @default {all} */
	rows?: readonly number[];
	/** Columns: inputs of a weight, features of an activation. @default {all} */
	columns?: readonly number[];
	/** So many entries of each tensor, those of the largest |x|; 256 at most. */
	largest?: number;
	/** The entries of each tensor with |x| > this · mean|x|, the mean over all entries; 256 at most. */
	above?: number;
	/** What they become. @default {"zero"} */
	replace?: Replacement;
}

/** What the clean run showed of a tensor. */
export interface Surveyed {
	/** mean|x| */
	mean: number;
	/** The largest entries by |x|, descending; rows count through all axes but the last, or are an expert's tokens. */
	largest: readonly Entry[];
}

/** A tensor that an intervention meets. */
export interface Target {
	/** The tap's name, with its layer. */
	name: string;
	/** Its extents. */
	shape: readonly number[];
	/** Index of the sequence; -1 of weights. */
	sequence: number;
	/** Tokens of its rows, where they are not all in order. */
	positions?: readonly number[];
}

/** How many entries a tensor is listed with. */
const LISTED = 256;

function describe({ tap }: Intervention): string {
	return `Cannot change ${tap}`;
}

/** Throws if an intervention does not say what it changes, or says it twice. */
export function checkIntervention(intervention: Intervention): void {
	const { entries, heads, rows, columns, largest, above, replace } = intervention;
	const ways = [entries, heads ?? rows ?? columns, largest, above];
	const problem = (text: string) => new RangeError(`${describe(intervention)}: ${text}`);
	if (ways.filter((way) => way !== undefined).length !== 1) {
		throw problem(
			"name what to change by one of entries, largest, above, or heads, rows and columns together",
		);
	}
	if (largest !== undefined && !(Number.isInteger(largest) && largest >= 1 && largest <= LISTED)) {
		throw problem(`the ${largest} largest cannot be found, 1 to ${LISTED} can`);
	}
	if (above !== undefined && !(above > 0 && above < Infinity)) {
		throw problem(`${above} times the mean is no limit; it must be a number above 0`);
	}
	if (typeof replace === "object") {
		const value = "clip" in replace ? replace.clip : replace.value;
		if (!Number.isFinite(value) || ("clip" in replace && value < 0)) {
			throw problem(`${value} is no number to replace entries with`);
		}
	}
	if (replace === "mean" && !isWeight(intervention.tap) && (largest ?? above) !== undefined) {
		throw problem("entries of an activation that become their means must be named by indices");
	}
}

/** Whether a tap is a parameter. */
export function isWeight(tap: string): boolean {
	return /\.(weight|bias)$/.test(tap);
}

/** Indices into a tensor, in row-major order. */
export interface Chosen {
	/** Of the tensor as it is. */
	indices: Int32Array<ArrayBuffer>;
	/** The same entries under a number that does not depend on the sequence's length. */
	keys: Float64Array<ArrayBuffer>;
}

/** More tokens than any sequence has. */
const TOKENS = 2 ** 24;

/** The entries of a tensor that an intervention changes. */
export function choose(
	intervention: Intervention,
	target: Target,
	surveyed: Surveyed | undefined,
): Chosen {
	if (intervention.largest !== undefined || intervention.above !== undefined) {
		const { largest, mean } = surveyed!;
		const count = intervention.largest ??
			largest.findIndex(({ value }) => !(Math.abs(value) > intervention.above! * mean));
		if (count < 0 && largest.length === LISTED) {
			throw new RangeError(
				`${describe(intervention)}: more than ${LISTED} entries of ${target.name} exceed ` +
					`${intervention.above} times the mean; name them by rows or columns`,
			);
		}
		const found = count < 0 ? largest : largest.slice(0, count);
		return chosenOf(placesOf(found, target));
	}
	return chosenBy(indexTuples(intervention, target), intervention, target);
}

/** Where entries of the clean run are; an expert may have lost their tokens since. */
function placesOf(entries: readonly Entry[], { shape, positions }: Target): number[] {
	const columns = shape.at(-1)!;
	return entries.map(({ row, column }) => ({ column, row: positions?.indexOf(row) ?? row }))
		.filter(({ row }) => row >= 0).map(({ row, column }) => row * columns + column);
}

function chosenOf(indices: readonly number[]): Chosen {
	return { indices: Int32Array.from(indices), keys: Float64Array.from(indices) };
}

function* indexTuples(intervention: Intervention, { shape, positions }: Target) {
	const rank = shape.length;
	const { entries, heads, rows, columns } = intervention;
	if (entries) return yield* entries;
	if ((heads && rank < 3) || (rows && rank < 2)) {
		throw new RangeError(
			`${describe(intervention)}: a tensor of ${rank} axes has no ${heads ? "heads" : "rows"}`,
		);
	}
	const all = (count: number) => Array.from({ length: count }, (_, i) => i);
	const ranges = [
		...rank === 3 ? [heads ?? all(shape[0]!)] : [],
		...rank >= 2 ? [rows ?? positions ?? all(shape.at(-2)!)] : [],
		columns ?? all(shape.at(-1)!),
	];
	const [first, second, third] = ranges;
	for (const i of first!) {
		if (!second) yield [i];
		else {for (const j of second) {
				if (!third) yield [i, j];
				else for (const k of third) yield [i, j, k];
			}}
	}
}

function chosenBy(
	tuples: Iterable<readonly number[]>,
	intervention: Intervention,
	{ shape, name, positions, sequence }: Target,
): Chosen {
	const rank = shape.length, indices: number[] = [], keys: number[] = [], seen = new Set<number>();
	next: for (const tuple of tuples) {
		if (tuple.length !== rank) {
			throw new RangeError(
				`${describe(intervention)} at [${tuple}]: ${name} has ${rank} axes, [${shape}]`,
			);
		}
		let index = 0, key = 0;
		for (let axis = 0; axis < rank; axis++) {
			const extent = shape[axis]!, isToken = sequence >= 0 && axis === rank - 2;
			const at = isToken && positions ? positions.indexOf(tuple[axis]!) : tuple[axis]!;
			if (isToken && (at >= extent || (positions && at < 0))) continue next; // not in this sequence
			if (!Number.isInteger(at) || at < 0 || at >= extent) {
				throw new RangeError(`${describe(intervention)} at [${tuple}]: ${name} is [${shape}]`);
			}
			index = index * extent + at;
			key = key * (isToken ? TOKENS : extent) + tuple[axis]!;
		}
		if (seen.has(index)) continue;
		seen.add(index);
		indices.push(index);
		keys.push(key);
	}
	return { indices: Int32Array.from(indices), keys: Float64Array.from(keys) };
}

/**
 * As many entries for a control: random ones that are neither chosen nor outliers. Where whole rows or columns are
 * chosen, whole others are.
 *
 * @param limit an entry above so many times mean|x| is an outlier
 */
export function chooseControl(
	intervention: Intervention,
	target: Target,
	surveyed: Surveyed,
	chosen: Chosen,
	{ limit, seed, draw }: { limit: number; seed: number; draw: number },
): Chosen {
	const { shape, name, sequence } = target, size = shape.reduce((a, b) => a * b, 1);
	const columns = shape.at(-1)!, tokens = shape.at(-2) ?? 1;
	const { rows, columns: ofColumns, heads } = intervention;
	const large = surveyed.largest.filter(({ value }) => Math.abs(value) > limit * surveyed.mean);
	const outliers = placesOf(large, target);
	const avoided = [...chosen.indices, ...outliers];
	const random = (...words: (string | number)[]) => randomNumbers(seed, draw, name, ...words);
	const draws = (count: number, among: number, taken: Set<number>, random: () => number) => {
		const found = drawWithout(count, among, taken, random);
		if (found) return found;
		throw new RangeError(
			`Cannot draw a control for ${name} [${shape}]: of ${among} there are not ${count} that are ` +
				`neither chosen nor above ${limit} times the mean; raise controlLimit, or set controls to 0`,
		);
	};
	if (ofColumns && !rows && !heads) {
		const taken = new Set([...ofColumns, ...outliers.map((index) => index % columns)]);
		const count = new Set(ofColumns).size;
		const others = draws(count, columns, taken, random()); // the same of every sequence
		return choose({ ...intervention, columns: others }, target, surveyed);
	}
	if (rows && !ofColumns) {
		const ofRow = (index: number) => Math.floor(index / columns) % tokens;
		const there = new Set([...chosen.indices].map(ofRow));
		const taken = new Set(avoided.map(ofRow));
		const others = draws(there.size, tokens, taken, random(sequence));
		const positions = others.map((row) => target.positions?.[row] ?? row);
		return choose({ ...intervention, rows: positions }, target, surveyed);
	}
	return chosenOf(draws(chosen.indices.length, size, new Set(avoided), random(sequence)));
}

/** So many of 0 ... among - 1 without those taken, all equally likely; null if there are too few. */
function drawWithout(
	count: number,
	among: number,
	taken: ReadonlySet<number>,
	random: () => number,
): number[] | null {
	const moved = new Map<number, number>(), found: number[] = []; // a shuffle of which only the moves are kept
	for (let left = among; found.length < count; left--) {
		if (left === 0) return null;
		const place = Math.floor(random() * left);
		const value = moved.get(place) ?? place;
		moved.set(place, moved.get(left - 1) ?? left - 1);
		if (!taken.has(value)) found.push(value);
	}
	return found;
}
