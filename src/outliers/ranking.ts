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
	// Hoare's selection: a sort takes ten times as long.
	const order = values.slice(), middle = Math.floor((values.length - 1) / 2);
	for (let first = 0, last = order.length - 1; first < last;) {
		const pivot = order[(first + last) >> 1]!;
		let i = first, j = last;
		while (i <= j) {
			while (order[i]! < pivot) i++;
			while (order[j]! > pivot) j--;
			if (i > j) break;
			const value = order[i]!;
			order[i++] = order[j]!;
			order[j--] = value;
		}
		if (j < middle) first = i;
		if (i > middle) last = j;
	}
	return order[middle]!;
}
