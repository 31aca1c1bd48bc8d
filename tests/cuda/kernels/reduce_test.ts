// reduce.cu against sums in float64 and against extrema, by rows and by columns, in one stage and in two.

import { assertEquals } from "@std/assert";
import {
	checkReduction,
	inputs,
	OPERATIONS,
	type Reduced,
} from "../../../src/doctor/self_test/reduce.ts";
import { type Bench, faultsAreFound, kernelTest } from "./bench.ts";

const SHAPES: Reduced[] = [
	...[1, 2, 31, 33, 63, 64, 65, 127, 577].map((reduced) => ({
		outer: 3,
		reduced,
		inner: 1,
		parts: 1,
	})),
	{ outer: 5, reduced: 0, inner: 1, parts: 1 },
	{ outer: 0, reduced: 5, inner: 1, parts: 1 },
	{ outer: 1, reduced: 5001, inner: 1, parts: 7 },
	{ outer: 2, reduced: 5, inner: 1, parts: 7 },
];
const COLUMNS: Reduced[] = [
	...[1, 2, 31, 33, 64, 65, 513, 577].map((inner) => ({ outer: 2, reduced: 9, inner, parts: 1 })),
	{ outer: 2, reduced: 0, inner: 5, parts: 1 },
	{ outer: 3, reduced: 5, inner: 0, parts: 1 },
	{ outer: 1, reduced: 301, inner: 7, parts: 6 },
	{ outer: 33, reduced: 3, inner: 35, parts: 5 },
];

for (const [name, { dtypes }] of Object.entries(OPERATIONS)) {
	kernelTest(`${name} equals its definition at odd sizes`, (bench) => {
		for (const dtype of dtypes) {
			for (const shape of [...SHAPES, ...COLUMNS]) {
				const x = inputs(bench, name, dtype, shape.outer * shape.reduced * shape.inner);
				checkReduction(bench, name, dtype, x, shape);
			}
			const rows = {
				outer: bench.device.multiprocessors * 8 * 8 + 3,
				reduced: 3,
				inner: 1,
				parts: 1,
			};
			const x = inputs(bench, name, dtype, rows.outer * 3);
			checkReduction(bench, name, dtype, x, rows);
			checkReduction(bench, name, dtype, x, rows, "columns");
		}
	});
}

kernelTest("extrema of NaN are NaN wherever it stands", (bench) => {
	for (const name of ["max", "min", "max_absolute", "count"]) {
		for (let at = 0; at < 130; at += 1 + bench.random.below(9)) {
			const x = bench.normals(130);
			x[at] = NaN;
			for (const by of ["rows", "columns"] as const) {
				const shape = { outer: 1, reduced: 130, inner: 1, parts: 1 + at % 3 };
				checkReduction(bench, name, "float32", x, shape, by);
			}
		}
	}
});

kernelTest("infinities are the extrema", (bench) => {
	const x = [-Infinity, -Infinity, -Infinity, 1, Infinity, 1, -Infinity, 2, 3];
	const shape = { outer: 3, reduced: 3, inner: 1, parts: 1 };
	for (const name of ["max", "min", "max_absolute", "sum", "count"]) {
		checkReduction(bench, name, "float32", x, shape);
	}
});

kernelTest("a sum of exponentials beside an infinite maximum is 0, more, or NaN", (bench) => {
	const x = [-Infinity, -Infinity, 1, Infinity, NaN, 1];
	const y = bench.wanted("float32", 3);
	bench.device.kernel("sum_exp_rows_float32").overRows(
		3,
		y.pointer,
		bench.given("float32", x).pointer,
		bench.given("float32", [-Infinity, Infinity, NaN]).pointer,
		3,
		2,
		1,
		1,
	);
	const [none, some, nan] = y.take();
	assertEquals([none, some! > 0 && some! < Infinity, nan], [0, true, NaN]);
});

kernelTest("a sum is the same to the last bit from run to run", (bench) => {
	const x = bench.given("float32", bench.normals(100_003));
	const run = () => {
		const y = bench.wanted("float32", 25);
		bench.device.kernel("sum_rows_float32").overRows(
			25,
			y.pointer,
			x.pointer,
			0,
			1,
			100_003,
			25,
			1,
		);
		return y.take();
	};
	const first = run();
	for (let i = 0; i < 10; i++) assertEquals(run(), first);
});

const check = (name: string, by: "rows" | "columns") => (bench: Bench) => {
	const shape = { outer: 2, reduced: 97, inner: by === "rows" ? 1 : 33, parts: 2 };
	const x = inputs(bench, name, "float32", 2 * 97 * shape.inner);
	checkReduction(bench, name, "float32", x, shape, by);
};

faultsAreFound([
	{
		name: "a row's part ends an element early",
		file: "reduce.cu",
		from: "static_cast<int>(end - begin)",
		to: "static_cast<int>(end - begin - 1)",
		check: check("sum", "rows"),
	},
	{
		name: "a column's part begins an element late",
		file: "reduce.cu",
		from: "r = begin;",
		to: "r = begin + 1;",
		check: check("sum", "columns"),
	},
	{
		name: "the scale is forgotten",
		file: "reduce.cu",
		from: "value * scale",
		to: "value",
		check: check("sum", "rows"),
	},
	{
		name: "the center is another row's",
		file: "reduce.cu",
		from: "center[row]",
		to: "center[0]",
		check: check("sum_squares", "rows"),
	},
	{
		name: "the center is another column's",
		file: "reduce.cu",
		from: "center[o * inner + first + c]",
		to: "center[first + c]",
		check: check("sum_squares", "columns"),
	},
	{
		name: "a maximum of NaN is forgotten",
		file: "reduce.cu",
		from: "(b > a) | (b != b)",
		to: "b > a",
		check: (bench) => {
			const shape = { outer: 1, reduced: 3, inner: 1, parts: 1 };
			checkReduction(bench, "max", "float32", [1, NaN, 2], shape, "rows");
		},
	},
	{
		name: "a maximum begins at 0",
		file: "reduce.cu",
		from: "return -infinity();",
		to: "return 0;",
		check: (bench) => {
			const shape = { outer: 1, reduced: 3, inner: 1, parts: 1 };
			checkReduction(bench, "max", "float32", [-1, -3, -2], shape, "rows");
		},
	},
]);
