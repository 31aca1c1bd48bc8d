// The table of tolerances is the one of the self-test, which compares with the same references.

export * from "../src/doctor/self_test/tolerance.ts";
