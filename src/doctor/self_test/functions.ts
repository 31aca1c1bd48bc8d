// Functions that JavaScript's Math lacks, in float64.

/** erf x by its series, and beyond 3 by the continued fraction of 1 - erf x (Abramowitz and Stegun 7.1.6, 7.1.14). */
export function erf(x: number): number {
	const size = Math.abs(x);
	if (size > 3) {
		let fraction = 0;
		for (let k = 60; k > 0; k--) fraction = k / 2 / (size + fraction);
		const rest = Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction);
		return Math.sign(x) * (1 - rest);
	}
	let term = x, sum = x; // NaN stays
	for (let n = 1; Math.abs(term) > 1e-20 * Math.abs(sum); n++) {
		term *= 2 * x * x / (2 * n + 1);
		sum += term;
	}
	return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}
