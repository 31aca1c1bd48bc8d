// Random inputs come from the generator of the self-test, with one seed a process: a failure names it, and
// OUTLIERSCOPE_SEED repeats it.

import { chooseSeed, Random as SeededRandom } from "../src/doctor/self_test/random.ts";

/** The seed of this process. */
export const seed: number = chooseSeed();

/** The generator, with the seed of this process. */
export class Random extends SeededRandom {
	/** @param stream keeps tests apart that share the process's seed */
	constructor(stream = 0) {
		super(seed, stream);
	}
}
