// The mean of a list of numbers.

/** Their mean; NaN of none. */
export function average(values: ArrayLike<number>): number {
	let sum = 0;
	for (let i = 0; i < values.length; i++) sum += values[i]!;
	return sum / values.length;
}
