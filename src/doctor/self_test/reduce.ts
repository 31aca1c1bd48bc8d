// Reductions over the middle axis of [outer, reduced, inner] against float64, in one stage and in two.

import type { Guarded } from "./guarded.ts";
import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** The types that reductions take. */
type ReducedType = FloatType | "uint8";

/** What an operation computes: terms that are added, or one value of all. */
interface Operation {
	dtypes: readonly ReducedType[];
	/** A term of a sum, and its tolerance for so many terms, relative to the sum of their sizes. */
	term?: (x: number, center: number) => number;
	tolerance?: (terms: number) => number;
	/** Of all elements at once: exact unless there is a tolerance. */
	all?: (x: number[]) => number;
	/** Whether elements are compared with a value of their row, and which. */
	center?: "maximum" | "normal";
	/** The operation that puts the results of parts together. */
	merge: string;
}

const same = (a: number, b: number) => a === b || (a !== a && b !== b);
const maximum = (x: number[]) =>
	x.some(Number.isNaN) ? NaN : x.reduce((a, b) => Math.max(a, b), -Infinity);
const { sum } = TOLERANCE, exact = () => TOLERANCE.exact;
const SINGLE = ["float32"] as const;

/** Each operation of reduce.cu. */
export const OPERATIONS: Record<string, Operation> = {
	sum: { dtypes: FLOATS, term: (x) => x, tolerance: sum, merge: "sum" },
	sum_absolute: { dtypes: SINGLE, term: Math.abs, tolerance: sum, merge: "sum" },
	sum_squares: {
		dtypes: SINGLE,
		term: (x, center) => Math.fround(x - center) ** 2,
		tolerance: sum,
		center: "normal",
		merge: "sum",
	},
	sum_exp: {
		dtypes: SINGLE,
		term: (x, center) => Math.exp(x - center),
		tolerance: (terms) => TOLERANCE.softmax(terms, 20),
		center: "maximum",
		merge: "sum",
	},
	count: {
		dtypes: FLOATS,
		term: (x, center) => same(x, center) ? 1 : 0,
		tolerance: exact,
		center: "maximum",
		merge: "sum",
	},
	count_absolute: {
		dtypes: SINGLE,
		term: (x, center) => same(Math.abs(x), center) ? 1 : 0,
		tolerance: exact,
		center: "maximum",
		merge: "sum",
	},
	prod: {
		dtypes: SINGLE,
		all: (x) => x.reduce((a, b) => a * b, 1),
		tolerance: TOLERANCE.elementwise,
		merge: "prod",
	},
	prod_nonzero: {
		dtypes: SINGLE,
		all: (x) => x.reduce((a, b) => a * (b || 1), 1),
		tolerance: TOLERANCE.elementwise,
		merge: "prod",
	},
	max: { dtypes: FLOATS, all: maximum, merge: "max" },
	max_absolute: { dtypes: SINGLE, all: (x) => maximum([0, ...x.map(Math.abs)]), merge: "max" },
	min: { dtypes: FLOATS, all: (x) => -maximum(x.map((v) => -v)), merge: "min" },
	any: { dtypes: ["uint8"], all: (x) => x.some(Boolean) ? 1 : 0, merge: "any" },
	all: { dtypes: ["uint8"], all: (x) => x.every(Boolean) ? 1 : 0, merge: "all" },
};

/** A shape [outer, reduced, inner] and the number of parts of the first stage. */
export interface Reduced {
	outer: number;
	reduced: number;
	inner: number;
	parts: number;
}

/** The elements along the middle axis, for each place of the result. */
export function lines(x: ArrayLike<number>, { outer, reduced, inner }: Reduced): number[][] {
	return Array.from({ length: outer * inner }, (_, place) => {
		const first = Math.floor(place / inner) * reduced * inner + place % inner;
		return Array.from({ length: reduced }, (_, r) => x[first + r * inner]);
	});
}

/** Compares a reduction of `x`, of rows or of columns and then of its parts, with its definition. */
export function checkReduction(
	bench: Bench,
	name: string,
	dtype: ReducedType,
	x: ArrayLike<number>,
	shape: Reduced,
	by: "rows" | "columns" = shape.inner === 1 ? "rows" : "columns",
): number {
	const { term, all, center, tolerance, merge } = OPERATIONS[name];
	const from = bench.given(dtype, x), each = lines(from.numbers, shape), scale = all ? 1 : 0.75;
	const absolute = name.endsWith("absolute") ? Math.abs : (v: number) => v;
	const centers = center &&
		Float32Array.from(
			each,
			(line) => center === "normal" ? bench.normals(1)[0] : maximum(line.map(absolute)),
		);
	const expected: number[] = [], sizes: number[] = [];
	each.forEach((line, i) => {
		const terms = term ? line.map((v) => term(v, centers?.[i] ?? 0)) : [];
		expected.push(all ? all(line) : scale * terms.reduce((a, b) => a + b, 0));
		sizes.push(Math.abs(all ? expected[i] : scale * terms.reduce((a, b) => a + Math.abs(b), 0)));
	});

	const { outer, reduced, inner, parts } = shape, result = dtype === "uint8" ? dtype : "float32";
	const run = (
		name: string,
		x: Guarded,
		centers: Float32Array | undefined,
		count: number,
		parts: number,
		scale: number,
	) => {
		const rows = outer * parts * inner, y = bench.wanted(result, rows);
		const extents = by === "rows" ? [outer, count, parts] : [outer, count, inner, parts];
		bench.overRows(`${name}_${by}_${x.dtype}`, rows, y, x, centers, ...extents, scale);
		y.take(); // for its guard zones
		return y;
	};
	const first = run(name, from, centers, reduced, parts, parts === 1 ? scale : 1);
	const y = parts === 1 ? first : run(merge, first, undefined, parts, 1, scale);
	const what = `${name} of ${dtype} [${outer}, ${reduced}, ${inner}] by ${by} in ${parts} parts`;
	return assertClose(y, expected, tolerance?.(reduced) ?? 0, what, sizes);
}

/** Inputs for an operation: normal numbers, near 1 for products, and rarely zero for `all`. */
export function inputs(
	{ random }: Bench,
	name: string,
	dtype: ReducedType,
	count: number,
): ArrayLike<number> {
	if (dtype === "uint8") {
		const rare = name === "any" ? 0.02 : 0.98;
		return Array.from({ length: count }, () => random.uniform() < rare ? 1 + random.below(255) : 0);
	}
	const x = random.normals(count);
	if (name === "prod_nonzero") return x.map((v) => random.uniform() < 0.1 ? 0 : 1 + v / 8);
	return name === "prod" ? x.map((v) => 1 + v / 8) : x;
}

/** Compares what is done to sums in place with its definition. */
function checkInPlace(bench: Bench, name: "root" | "log_plus"): number {
	const count = 1031, isRoot = name === "root", x = bench.normals(count);
	const y = bench.given("float32", bench.normals(count).map((v) => v * v));
	bench.overElements(`${name}_in_place`, count, y, ...isRoot ? [] : [x], count);
	const expected = y.numbers.map((v, i) => isRoot ? Math.sqrt(v) : Math.log(v) + x[i]);
	const sizes = y.numbers.map((v, i) =>
		isRoot ? Math.sqrt(v) : Math.abs(Math.log(v)) + Math.abs(x[i])
	);
	return assertClose(y, expected, TOLERANCE.elementwise(4), name, sizes);
}

/** Each kernel of reduce.cu. */
export const selfTests = [
	...(["root", "log_plus"] as const).map((name) =>
		selfTest([`${name}_in_place`], (bench) => checkInPlace(bench, name))
	),
	...Object.entries(OPERATIONS).flatMap(([name, { dtypes, merge }]) =>
		dtypes.flatMap((dtype) =>
			(["rows", "columns"] as const).map((by) => {
				const result = dtype === "uint8" ? dtype : "float32";
				const kernels = new Set([`${name}_${by}_${dtype}`, `${merge}_${by}_${result}`]);
				return selfTest([...kernels], (bench) => {
					const [outer, inner] = by === "rows" ? [33, 1] : [2, 67];
					const x = inputs(bench, name, dtype, outer * 301 * inner);
					const shape = { outer, reduced: 301, inner, parts: 3 };
					return checkReduction(bench, name, dtype, x, shape, by);
				});
			})
		)
	),
];
