// scan.cu against sums in float64.

import { checkScan } from "../../../src/doctor/self_test/scan.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

kernelTest(
	"cumulative sums equal their definition at odd sizes, from either end",
	(bench) => {
		for (const reverse of [false, true]) {
			for (const size of [1, 2, 31, 32, 33, 63, 64, 65, 577]) {
				checkScan(bench, [3, size, 1], reverse);
				checkScan(bench, [2, 7, size], reverse, "columns");
			}
			checkScan(bench, [3, 0, 1], reverse);
			checkScan(bench, [1, 30_011, 1], reverse);
			checkScan(bench, [bench.device.multiprocessors * 8 * 8 + 3, 2, 1], reverse);
			checkScan(bench, [bench.device.multiprocessors * 8 * 8 + 3, 2, 3], reverse);
		}
	},
);

const check = (inner: number) => (bench: Bench) => {
	checkScan(bench, [3, 65, inner], true, undefined);
};
faultsAreFound([
	{
		name: "rows are summed from the wrong end",
		file: "scan.cu",
		from: "reverse ? count - 1 - j : j",
		to: "j",
		check: check(1),
	},
	{
		name: "columns forget the first row",
		file: "scan.cu",
		from: "int r = 0; r < count",
		to: "int r = 1; r < count",
		check: check(5),
	},
]);
