// norm.cu against x / √(mean(x²) + ε) · g, and the same of x - mean(x), in float64.

import { assert, assertEquals } from "@std/assert";
import { checkNorm, KINDS, normalize, type NormKind } from "../../../src/doctor/self_test/norm.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

kernelTest("norms equal their formulas at odd sizes", (bench) => {
	for (const kind of KINDS) {
		for (const rows of [1, 2, 31]) {
			for (const columns of [1, 2, 31, 33, 65, 577]) checkNorm(bench, rows, columns, kind);
		}
		checkNorm(bench, bench.device.multiprocessors * 8 * 8 + 1, 3, kind);
		checkNorm(bench, 1, 100_003, kind);
	}
});

const RMS: NormKind = { norm: "rms", dtype: "float32" };
const LAYER: NormKind = { norm: "layer", dtype: "float32" };

kernelTest("a row of zeros stays zero, and NaN and infinity stay in their row", (bench) => {
	const x = Float32Array.of(0, -0, 0, 1, NaN, 2, 3, Infinity, 4, 1e-30, 1e-30, 1e-30);
	const gain = Float32Array.of(1, 1, 1);
	const y = normalize(bench, x, gain, 1e-6, RMS).y.read();
	assertEquals([...y.subarray(0, 3)].map(Math.abs), [0, 0, 0]);
	assertEquals([...y.subarray(3, 6)], [NaN, NaN, NaN]);
	assertEquals([...y.subarray(6, 9)], [0, NaN, 0]); // ∞ / ∞ beside finite / ∞
	assertEquals([...y.subarray(9)].every((value) => Math.abs(value) < 1e-26), true);
	const centered = normalize(bench, x, gain, 1e-6, LAYER).y.read();
	assertEquals([...centered.subarray(0, 3)].map(Math.abs), [0, 0, 0]);
	assertEquals([...centered.subarray(3, 9)], Array(6).fill(NaN));
});

kernelTest("a large mean takes little from the variance", (bench) => {
	const deviations = bench.normals(1024), x = deviations.map((d) => 1000 + d);
	const exact = Float64Array.from(x), mean = exact.reduce((a, b) => a + b) / 1024;
	const variance = exact.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 1024;
	const { scales } = normalize(bench, x, new Float32Array(1024).fill(1), 0, LAYER);
	assert(Math.abs(scales.take()[0] * Math.sqrt(variance) - 1) < 1e-5);
});

const check = (kind: NormKind) => (bench: Bench) => {
	checkNorm(bench, 3, 33, kind);
};
faultsAreFound([
	{ name: "ε is forgotten", file: "norm.cu", from: " + epsilon", to: "", check: check(RMS) },
	{
		name: "the sum starts a column late",
		file: "norm.cu",
		from: "float squares = 0;",
		to: "float squares = -from[0] * from[0];",
		check: check(RMS),
	},
	{
		name: "the mean stays in the variance",
		file: "norm.cu",
		from: "centered = CENTERED ? from[c] - mean : from[c]",
		to: "centered = from[c]",
		check: check(LAYER),
	},
	{
		name: "the bias is forgotten",
		file: "norm.cu",
		from: " + bias[c]",
		to: "",
		check: check({ ...LAYER, bias: true }),
	},
	{
		name: "the branch is added but not normed",
		file: "norm.cu",
		from: "from = total;",
		to: "",
		check: check({ ...RMS, branch: true }),
	},
]);
