// What a self-test is: a check of one or some kernels against a reference; and what most are made of.

import type { Bench } from "./bench.ts";

export type { DType, FloatType } from "../../tensor/dtype.ts";
export { assertAllSame, assertClose, assertSame } from "./compare.ts";
export { TOLERANCE } from "./tolerance.ts";
export type { Bench };

/** A check of kernels, or of a library's function. */
export interface SelfTest {
	/** The kernels that it launches. */
	kernels: string[];
	/** What is checked, if it is no kernel. */
	name?: string;
	/**
	 * Throws if a result is wrong.
	 *
	 * @returns the errors, relative to the sizes that the tolerance is relative to; nothing where there may be none
	 */
	run(bench: Bench): number | number[] | void;
}

/** A check of these kernels. */
export function selfTest(kernels: string[], run: SelfTest["run"]): SelfTest {
	return { kernels, run };
}

/** The types that gradients flow through, which most kernels are made for. */
export const FLOATS = ["float32", "bfloat16"] as const;
