// The largest of a list, and its median.

/** Indices of the `count` largest values, descending; of equal values the first comes first. */
export function largestIndices(values: ArrayLike<number>, count: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (found.length === count && !(values[i]! > values[found[count - 1]!]!)) continue;
    let at = found.length;
    while (at > 0 && values[i]! > values[found[at - 1]!]!) at--;
    found.splice(at, 0, i);
    if (found.length > count) found.pop();
  }
  return found;
}

/** The lower of the two middle values, or the middle one. */
export function lowerMedian(values: Float32Array | Float64Array): number {
  return values.slice().sort()[Math.floor((values.length - 1) / 2)]!;
}
