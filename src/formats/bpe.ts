// Byte-pair encoding of one piece of text: neighbours are joined, the best pair first and of equal
// pairs the leftmost, until no pair is left. A heap keeps a piece of n symbols at n log n, so that a
// text without any space is no trap.

/**
 * Joins neighbouring symbols for as long as `rank` knows a pair.
 *
 * @param symbols The piece as symbols; left unchanged.
 * @param rank The rank of joining two symbols, a whole number below 2^20, the lowest joined first;
 * undefined if they are not to be joined.
 * @returns The symbols after all joins.
 */
export function bytePairEncode(
  symbols: string[],
  rank: (left: string, right: string) => number | undefined,
): string[] {
  const n = symbols.length;
  const text: (string | undefined)[] = symbols.slice(); // undefined: joined to the symbol before it
  const next = Int32Array.from(text, (_, i) => i + 1);
  const previous = Int32Array.from(text, (_, i) => i - 1);
  const pairRank = new Int32Array(n).fill(-1); // of joining symbol i with the one after it
  const heap: number[] = []; // rank and position in one number, so that order is plain `<`

  const consider = (i: number) => {
    pairRank[i] = next[i] < n ? rank(text[i]!, text[next[i]]!) ?? -1 : -1;
    if (pairRank[i] >= 0) push(heap, pairRank[i] * 2 ** 32 + i);
  };
  for (let i = 0; i < n - 1; i++) consider(i);
  while (heap.length > 0) {
    const best = pop(heap);
    const i = best % 2 ** 32;
    if (pairRank[i] !== Math.floor(best / 2 ** 32)) continue; // the pair is gone or another by now
    const joined = next[i];
    text[i] = text[i]! + text[joined]!;
    text[joined] = undefined;
    pairRank[joined] = -1;
    next[i] = next[joined];
    if (next[i] < n) previous[next[i]] = i;
    consider(i);
    if (previous[i] >= 0) consider(previous[i]);
  }
  return text.filter((symbol) => symbol !== undefined);
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
