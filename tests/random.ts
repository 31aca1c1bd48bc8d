// Random inputs come from the generator of the self-test: a failure names the seed that repeats it.

export * from "../src/doctor/self_test/random.ts";
