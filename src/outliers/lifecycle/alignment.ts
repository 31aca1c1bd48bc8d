// Why queries give a key so much attention: the logit of the key beside that of other keys, dimension by dimension.

/** Queries, keys of one head after rotary positions, and what a query sees. */
export interface HeadVectors {
	/** [T, d], row by row. */
	queries: Float32Array;
	/** [T, d]. */
	keys: Float32Array;
	/** T. */
	tokens: number;
	/** d. */
	dimension: number;
	/** How many pairs of dimensions (i, i + pairs) are turned; 0 without rotary positions. */
	pairs: number;
	/** Whether queries see only keys up to themselves. */
	causal: boolean;
	/** How many of the last keys a query sees; all without. */
	window?: number;
	/** What the logit grows by for each position that the key is nearer to the query (ALiBi); 0 without. */
	slope: number;
}

/** What a dimension, or a pair that turns together, adds to the gap between a key's logits and the others'. */
export interface DimensionGap {
	/** One dimension of the head, or two. */
	dimensions: number[];
	/** What it adds to the gap. */
	gap: number;
	/** Means over queries, after rotary positions. */
	query: number[];
	/** The key's values there. */
	key: number[];
	/** The other keys' means. */
	otherKeys: number[];
}

/** How queries lie to one key. */
export interface Alignment {
	/** The key's token. */
	token: number;
	/** How many queries: the tokens that are not traced and see it. */
	queries: number;
	/** Mean logit. */
	logit: number;
	/** Mean over queries of (logit − mean logit of the other keys they see). */
	gap: number;
	/** Of the gap, what distance adds (ALiBi). */
	distance: number;
	/** The dimensions that add most, descending by |gap|. */
	dimensions: DimensionGap[];
	/** Mean cosine of queries and this key. */
	cosine: number;
	/** Mean cosine of queries and the other keys. */
	otherCosine: number;
}

const DIMENSIONS = 6;

/** ‖row‖ of [rows, columns]. */
export function sizeOf(data: Float32Array, row: number, columns: number): number {
	let sum = 0;
	for (let i = row * columns; i < (row + 1) * columns; i++) sum += data[i]! ** 2;
	return Math.sqrt(sum);
}

/**
 * Compares one key with the keys that are not traced, over the queries that are not traced and see it and at least one of
 * the others; null if there are none. With o_i the mean of the other keys that query i sees, the gap is
 * `mean_i q_i · (k − o_i) / √d`, a sum over dimensions, and what distance adds.
 *
 * @param traced the traced tokens, the key's among them
 */
export function alignmentOf(
	head: HeadVectors,
	token: number,
	traced: readonly number[],
): Alignment | null {
	const { queries, keys, tokens: T, dimension: d, causal, window = Infinity, slope } = head;
	const isTraced = new Set(traced), scale = 1 / Math.sqrt(d);
	// Sums over the keys before each position, of those that are not traced: vectors, directions, positions, how many.
	const sums = new Float64Array((T + 1) * d), directions = new Float64Array((T + 1) * d);
	const positions = new Float64Array(T + 1), counts = new Int32Array(T + 1);
	for (let j = 0; j < T; j++) {
		const counted = isTraced.has(j) ? 0 : 1;
		const size = sizeOf(keys, j, d) || 1;
		for (let p = 0; p < d; p++) {
			const value = counted * keys[j * d + p]!;
			sums[(j + 1) * d + p] = sums[j * d + p]! + value;
			directions[(j + 1) * d + p] = directions[j * d + p]! + value / size;
		}
		positions[j + 1] = positions[j]! + counted * j;
		counts[j + 1] = counts[j]! + counted;
	}
	const key = keys.subarray(token * d, (token + 1) * d), keySize = sizeOf(keys, token, d) || 1;
	const gaps = new Float64Array(d),
		meanQuery = new Float64Array(d),
		meanOther = new Float64Array(d);
	let count = 0, logit = 0, distance = 0, cosine = 0, otherCosine = 0;
	for (let i = 0; i < T; i++) {
		const from = Math.max(0, i - window + 1), to = causal ? i + 1 : T;
		const others = counts[to]! - counts[from]!;
		if (isTraced.has(i) || token < from || token >= to || others === 0) continue;
		count++;
		const size = sizeOf(queries, i, d) || 1;
		let product = 0, turned = 0;
		for (let p = 0; p < d; p++) {
			const q = queries[i * d + p]!;
			const other = (sums[to * d + p]! - sums[from * d + p]!) / others;
			gaps[p]! += q * (key[p]! - other) * scale;
			meanQuery[p]! += q;
			meanOther[p]! += other;
			product += q * key[p]!;
			turned += q * (directions[to * d + p]! - directions[from * d + p]!) / others;
		}
		logit += product * scale + slope * (token - i);
		distance += slope * (token - (positions[to]! - positions[from]!) / others);
		cosine += product / (size * keySize);
		otherCosine += turned / size;
	}
	if (count === 0) return null;
	const groups = Array.from({ length: d - head.pairs }, (_, p) => {
		const first = p < head.pairs ? p : p + head.pairs; // pairs, then dimensions that do not turn
		return p < head.pairs ? [first, first + head.pairs] : [first];
	});
	const dimensions = groups.map((of): DimensionGap => ({
		dimensions: of,
		gap: of.reduce((sum, p) => sum + gaps[p]! / count, 0),
		query: of.map((p) => meanQuery[p]! / count),
		key: of.map((p) => key[p]!),
		otherKeys: of.map((p) => meanOther[p]! / count),
	})).sort((a, b) => Math.abs(b.gap) - Math.abs(a.gap));
	return {
		token,
		queries: count,
		logit: logit / count,
		gap: gaps.reduce((sum, gap) => sum + gap / count, 0) + distance / count,
		distance: distance / count,
		dimensions: dimensions.slice(0, DIMENSIONS),
		cosine: cosine / count,
		otherCosine: otherCosine / count,
	};
}
