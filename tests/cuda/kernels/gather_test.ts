// gather.cu: rows and elements by index, as bytes, whatever their type.

import { checkRows, checkTaken } from "../../../src/doctor/self_test/gather.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

for (const unit of [1, 2, 4, 8]) {
	kernelTest(
		`rows of units of ${unit} bytes come in the order of the indices`,
		(bench) => {
			for (const extent of [1, 7, 100]) {
				for (const inner of [1, 2, 31, 33, 577]) {
					for (const count of [1, 2, 33]) {
						for (const outer of [1, 3]) {
							checkRows(bench, [outer, extent, count, inner], unit);
						}
					}
				}
			}
			checkRows(bench, [1, 50, bench.device.multiprocessors * 8 * 8 + 1, 6], unit);
			for (const empty of [[0, 5, 3, 2], [2, 5, 0, 2], [2, 0, 3, 2]] as const) {
				checkRows(bench, empty, unit);
			}
		},
	);

	kernelTest(`elements of ${unit} bytes are taken along an axis`, (bench) => {
		for (const extent of [1, 7, 100]) {
			for (const inner of [1, 2, 33]) {
				for (const count of [1, 2, 33]) {
					for (const outer of [1, 3]) {
						checkTaken(bench, [outer, extent, count, inner], unit);
					}
				}
			}
		}
		checkTaken(bench, [3000, 9, 1, 1], unit);
		checkTaken(bench, [3, 9, 20, 7], unit, true);
		for (const empty of [[0, 5, 3, 2], [2, 5, 0, 2], [2, 0, 3, 2], [2, 5, 3, 0]] as const) {
			checkTaken(bench, empty, unit);
		}
	});
}

const rows = (bench: Bench) => checkRows(bench, [2, 9, 15, 66], 2);
const elements = (bench: Bench) => checkTaken(bench, [3, 9, 15, 7], 4);
faultsAreFound([
	{
		name: "the last column is left out",
		file: "gather.cu",
		from: "c < width",
		to: "c < width - 1",
		check: rows,
	},
	{
		name: "every table is the first",
		file: "gather.cu",
		from: "row / count * table_rows + id",
		to: "static_cast<long long>(id)",
		check: rows,
	},
	{
		name: "an index beyond the rows names the first",
		file: "gather.cu",
		from: "target[c] = nothing<T>()",
		to: "target[c] = tables[c]",
		check: rows,
	},
	{
		name: "an index beyond the axis names its first entry",
		file: "gather.cu",
		from: "there ? from[at] : otherwise",
		to: "from[there ? at : 0]",
		check: elements,
	},
	{
		name: "every column is the first",
		file: "gather.cu",
		from: "i % inner",
		to: "0",
		check: elements,
	},
]);
