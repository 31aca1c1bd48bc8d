// spread.cu against its formulas at odd sizes, and what becomes of NaN.

import { assertEquals } from "@std/assert";
import { checkSpread, SHARES, typesOf } from "../../../src/doctor/self_test/spread.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

for (const name of Object.keys(SHARES)) {
	kernelTest(`the gradient spread_${name} equals its formula at odd sizes`, (bench) => {
		for (const dtype of typesOf(name)) {
			for (const reduced of [1, 2, 31, 33, 65, 577]) {
				checkSpread(bench, name, dtype, [3, reduced, 1]);
				checkSpread(bench, name, dtype, [2, 3, reduced + 1]);
			}
			checkSpread(bench, name, dtype, [bench.device.multiprocessors * 8 * 8 + 3, 2, 1]);
			checkSpread(bench, name, dtype, [bench.device.multiprocessors * 8 * 8 + 3, 2, 3]);
			if (name === "centered") checkSpread(bench, name, dtype, [5, 7, 3], true);
		}
	});
}

kernelTest(
	"the gradient of a maximum of NaN goes to NaN, and |NaN| has the gradient NaN",
	(bench) => {
		const run = (name: string) => {
			const dx = bench.wanted("float32", 3);
			const [x, g, a, b] = [[1, NaN, 2], [8], [1], [NaN]].map((v) =>
				bench.given("float32", v).pointer
			);
			bench.device.kernel(`spread_${name}_float32`).overRows(
				1,
				dx.pointer,
				x!,
				g!,
				a!,
				b!,
				1,
				3,
				1,
				1,
			);
			return Array.from(dx.take());
		};
		assertEquals(run("equal"), [0, 8, 0]);
		assertEquals(run("sign"), [8, NaN, 8]);
	},
);

const check = (name: string, inner: number) => (bench: Bench) =>
	checkSpread(bench, name, "float32", [3, 33, inner], false);
faultsAreFound([
	{
		name: "rows have the first one's gradient",
		file: "spread.cu",
		from: "scale * g[row]",
		to: "scale * g[0]",
		check: check("sign", 1),
	},
	{
		name: "columns have the first one's gradient",
		file: "spread.cu",
		from: "scale * g[place + c]",
		to: "scale * g[place]",
		check: check("sign", 5),
	},
	{
		name: "the center is left out",
		file: "spread.cu",
		from: "(x - b);",
		to: "x;",
		check: check("centered", 1),
	},
	{
		name: "a zero among factors takes no gradient",
		file: "spread.cu",
		from: "b == 1 && x == 0",
		to: "false",
		check: check("factor", 60), // so many columns that some have one zero
	},
]);
