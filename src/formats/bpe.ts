// Byte-pair encoding of one piece of text: neighbours are joined, the best pair first and of equal
// pairs the leftmost, until no pair is left. A heap keeps a piece of n symbols at n log n, so that a
// text without any space is no trap. Symbols are numbers throughout: a table of 50,000 merges by
// their texts takes three times as long to build.

/** The most ids, and the most ranks: what `joining` can pack. */
export const MAX_RANKS = 2 ** 21;

/** Packs the rank of joining two symbols (the lowest is joined first) with the id they become. */
export function joining(rank: number, id: number): number {
	return rank * MAX_RANKS + id;
}

/**
 * Joins neighbouring symbols for as long as a pair can be joined.
 *
 * @param symbols The piece as ids; left unchanged.
 * @param join What joining two symbols gives, as `joining` packs it; -1 if they stay apart.
 * @returns The ids after all joins.
 */
export function bytePairEncode(
	symbols: number[],
	join: (left: number, right: number) => number,
): number[] {
	const n = symbols.length;
	const ids = symbols.slice(); // -1: joined to the symbol before it
	const next = new Int32Array(n), previous = new Int32Array(n);
	const joins = new Float64Array(n); // of symbol i and the one after it
	const heap: number[] = []; // rank and position in one number, so that order is plain `<`

	const consider = (i: number) => {
		joins[i] = next[i] < n ? join(ids[i], ids[next[i]]) : -1;
		if (joins[i] >= 0) push(heap, Math.floor(joins[i] / MAX_RANKS) * 2 ** 32 + i);
	};
	for (let i = 0; i < n; i++) {
		next[i] = i + 1;
		previous[i] = i - 1;
		consider(i);
	}
	while (heap.length > 0) {
		const best = pop(heap);
		const i = best % 2 ** 32;
		const rank = Math.floor(best / 2 ** 32);
		if (Math.floor(joins[i] / MAX_RANKS) !== rank) continue; // the pair is gone or another by now
		const joined = next[i];
		ids[i] = joins[i] % MAX_RANKS;
		ids[joined] = joins[joined] = -1;
		next[i] = next[joined];
		if (next[i] < n) previous[next[i]] = i;
		consider(i);
		if (previous[i] >= 0) consider(previous[i]);
	}
	return ids.filter((id) => id >= 0);
}

function push(heap: number[], value: number): void {
	let i = heap.length;
	for (; i > 0; i = (i - 1) >> 1) {
		const parent = heap[(i - 1) >> 1];
		if (parent <= value) break;
		heap[i] = parent;
	}
	heap[i] = value;
}

function pop(heap: number[]): number {
	const least = heap[0], value = heap.pop()!, n = heap.length;
	if (n === 0) return least;
	let i = 0;
	for (let child = 1; child < n; child = 2 * i + 1) {
		if (child + 1 < n && heap[child + 1] < heap[child]) child++;
		if (value <= heap[child]) break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = value;
	return least;
}

/** Which pairs of ids can be joined, for a list of merges: an open-addressing hash table. */
export class MergeTable {
	#slots: Int32Array; // left, right, rank, id; rank -1: free
	#mask: number;

	/** Makes an empty table for up to `count` merges. */
	constructor(count: number) {
		this.#mask = 2 ** Math.ceil(Math.log2(2 * count + 2)) - 1;
		this.#slots = new Int32Array(4 * (this.#mask + 1)).fill(-1);
	}

	/** Adds a merge: `left` and `right` become `id`. Of two for one pair the later counts. */
	add(left: number, right: number, rank: number, id: number): void {
		const slots = this.#slots, slot = this.#slot(left, right);
		slots[slot] = left;
		slots[slot + 1] = right;
		slots[slot + 2] = rank;
		slots[slot + 3] = id;
	}

	/** What joining two ids gives, as `joining` packs it; -1 if they stay apart. */
	join(left: number, right: number): number {
		const slot = this.#slot(left, right), rank = this.#slots[slot + 2];
		return rank < 0 ? -1 : joining(rank, this.#slots[slot + 3]);
	}

	// Where the pair is, or the free slot where it would go.
	#slot(left: number, right: number): number {
		const slots = this.#slots;
		let i = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 10 & this.#mask;
		while (slots[4 * i + 2] >= 0 && (slots[4 * i] !== left || slots[4 * i + 1] !== right)) {
			i = i + 1 & this.#mask;
		}
		return 4 * i;
	}
}
