// scatter.cu against sums in float64, and the same bits from run to run.

import { assertEquals } from "@std/assert";
import { checkAddAlong, checkAddRows } from "../../../src/doctor/self_test/scatter.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

for (const dtype of ["float32", "bfloat16"] as const) {
	kernelTest(`rows of ${dtype} are added to those that the ids name`, (bench) => {
		for (const extent of [1, 7, 100]) {
			for (const inner of [1, 31, 65]) {
				for (const count of [1, 31, 33, 200]) {
					for (const outer of [1, 3]) {
						for (const fresh of [true, false]) {
							checkAddRows(bench, [outer, extent, count, inner], dtype, fresh);
						}
					}
				}
			}
		}
		checkAddRows(bench, [1, bench.device.multiprocessors * 64 * 3 + 1, 99, 5], dtype, true);
		for (const empty of [[0, 5, 3, 2], [2, 5, 0, 2], [2, 0, 3, 2], [2, 5, 3, 0]] as const) {
			checkAddRows(bench, empty, dtype, true);
		}
	});

	kernelTest(`elements of ${dtype} are added along an axis`, (bench) => {
		for (const extent of [1, 7, 100]) {
			for (const inner of [1, 2, 33]) {
				for (const count of [1, 2, 33]) {
					for (const outer of [1, 3, 70]) {
						checkAddAlong(bench, [outer, extent, count, inner], dtype);
					}
				}
			}
		}
		for (const empty of [[0, 5, 3, 2], [2, 5, 0, 2], [2, 0, 3, 2], [2, 5, 3, 0]] as const) {
			checkAddAlong(bench, empty, dtype);
		}
	});
}

kernelTest("sums of many rows are the same from run to run", (bench) => {
	const count = 999, rows = bench.given("float32", bench.normals(count * 5));
	const ids = bench.given("int32", Int32Array.from({ length: count }, () => bench.random.below(4)));
	const [first, second] = [0, 1].map(() => {
		const to = bench.wanted("float32", 4 * 5);
		bench.device.kernel("add_rows_float32")
			.overRows(4, to.pointer, rows.pointer, ids.pointer, 1, count, 4, 5, 1);
		return to.take();
	});
	assertEquals(first, second);
});

const rows = (bench: Bench) => checkAddRows(bench, [2, 9, 70, 33], "float32", true);
const elements = (bench: Bench) => checkAddAlong(bench, [3, 9, 15, 7], "float32");
faultsAreFound([
	{
		name: "a row is written over",
		file: "scatter.cu",
		from: "to[c] += to_float(from[c])",
		to: "to[c] = to_float(from[c])",
		check: rows,
	},
	{
		name: "rows begin with what was there",
		file: "scatter.cu",
		from: "if (fresh) {",
		to: "if (false) {",
		check: rows,
	},
	{
		name: "a warp takes no other rows than the first's",
		file: "scatter.cu",
		from: "% warp_count() == warp_id()",
		to: "% warp_count() == 0 && warp_id() == 0",
		check: rows,
	},
	{
		name: "an element is written over",
		file: "scatter.cu",
		from: "column] += to_float",
		to: "column] = to_float",
		check: elements,
	},
	{
		name: "the last entry is left out",
		file: "scatter.cu",
		from: "k < count",
		to: "k < count - 1",
		check: elements,
	},
]);
