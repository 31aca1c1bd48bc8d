// How far a kernel's result may be from the float64 reference, by what it computes: the one table that
// tests take tolerances from. Each row says why; a test that needs more has found a defect, or an error
// in the reasoning, which is then mended here.

/** Unit roundoff of float32: half of the distance from 1 to the next number. */
const FLOAT32 = 2 ** -24;
/** Unit roundoff of bfloat16, which has 8 significant bits. */
const BFLOAT16 = 2 ** -8;

/** Errors allowed, relative to the size that each row names. */
export const TOLERANCE = {
	/** Copies, conversions that are exact, order statistics, counts. */
	exact: 0,

	/** One rounding to bfloat16 and nothing else before it. */
	roundedToBfloat16: BFLOAT16,

	/** `operations` float32 roundings in a row, each with a relative error up to u, whatever their order. */
	elementwise: (operations: number): number => operations * FLOAT32,

	/** `fast_exp`, in units in the last place of the float32 result: what prelude.cuh claims. */
	expUlps: 2,

	/**
	 * A float32 sum of `terms`, relative to the sum of their absolute values. Rounding errors grow as √n
	 * where they are independent, as in any order that a compiler or a warp may choose; 8 roundings cover
	 * what is done to each term before and to the sum after.
	 */
	sum: (terms: number): number => (8 + 2 * Math.sqrt(terms)) * FLOAT32,

	/**
	 * Softmax over `terms`: the exponential (2 ulp is 4 u), its argument's rounding (times the size of the
	 * argument, here at most `largest`), the sum, and the division.
	 */
	softmax: (terms: number, largest: number): number =>
		(8 + 2 * Math.sqrt(terms) + 3 * largest) * FLOAT32,

	/** A matrix product of float32 or bfloat16 inputs with float32 sums, relative to Σ|a·b|. */
	product: (inner: number): number => (8 + 2 * Math.sqrt(inner)) * FLOAT32,

	/** The same of float32 inputs that are cut to TF32, 10 bits behind the leading one. */
	tf32Product: (inner: number): number => 2 * 2 ** -10 + TOLERANCE.product(inner),

	/** A mean of `terms` that are summed in float32 by chunks of 1024 and then in float64. */
	chunkedMean: (terms: number): number => (8 + 2 * Math.sqrt(Math.min(terms, 1024))) * FLOAT32,
};

/** The same with the result rounded to bfloat16 at the end. */
export function thenBfloat16(tolerance: number): number {
	return tolerance + TOLERANCE.roundedToBfloat16;
}
