// Elementwise operations of two and three operands, broadcast together, against formulas in float64: binary.cu,
// compare.cu and select.cu.

import { walkOf } from "../../tensor/broadcast.ts";
import { elements, rowMajor } from "../../tensor/strides.ts";
import { assertClose, type Bench, type DType, FLOATS, selfTest, TOLERANCE } from "./self_test.ts";

/** An operation in float64. */
export interface PlainOperation {
	/** The kernels' name, without the type. */
	kernel: string;
	/** The types that there are kernels for. */
	dtypes: readonly DType[];
	/** The result's type, if it is another. */
	result?: DType;
	/** The first operand's type, if it is another. */
	first?: DType;
	/** The formula. */
	value: (...operands: number[]) => number;
	/** Float32 roundings that the result may be off by. */
	roundings: number;
	/** Of positive numbers only. */
	positive?: boolean;
}

const NUMBERS = [...FLOATS, "int32"] as const;
const binary = (
	name: string,
	dtypes: readonly DType[],
	value: PlainOperation["value"],
	rest: Partial<PlainOperation> = {},
): PlainOperation => ({ kernel: `binary_${name}`, dtypes, value, roundings: 1, ...rest });
const comparison = (
	name: string,
	dtypes: readonly DType[],
	value: (a: number, b: number) => boolean,
) =>
	binary(name, dtypes, (a, b) => Number(value(a, b)), {
		kernel: `compare_${name}`,
		result: "uint8",
	});
const gradient = (
	name: string,
	value: PlainOperation["value"],
	rest: Partial<PlainOperation> = {},
): PlainOperation =>
	binary(name, FLOATS, value, { kernel: `select_${name}`, roundings: 4, ...rest });

/** Every operation. */
export const OPERATIONS: PlainOperation[] = [
	binary("add", NUMBERS, (a, b) => a + b),
	binary("sub", NUMBERS, (a, b) => a - b),
	binary("mul", NUMBERS, (a, b) => a * b),
	binary("maximum", NUMBERS, (a, b) => Math.max(a, b)),
	binary("minimum", NUMBERS, (a, b) => Math.min(a, b)),
	// The host's compiler may multiply by a reciprocal.
	binary("div", FLOATS, (a, b) => a / b, { roundings: 3 }),
	binary("pow", FLOATS, (a, b) => a ** b, { roundings: 8, positive: true }),
	comparison("equal", [...NUMBERS, "uint8"], (a, b) => a === b),
	comparison("not_equal", [...NUMBERS, "uint8"], (a, b) => a !== b),
	comparison("less", NUMBERS, (a, b) => a < b),
	comparison("less_equal", NUMBERS, (a, b) => a <= b),
	comparison("and", ["uint8"], (a, b) => a !== 0 && b !== 0),
	comparison("or", ["uint8"], (a, b) => a !== 0 || b !== 0),
	binary("where", [...NUMBERS, "uint8"], (condition, a, b) => condition ? a : b, {
		kernel: "select_where",
		first: "uint8",
	}),
	gradient("div_denominator", (g, a, b) => -g * a / (b * b)),
	gradient("maximum", (g, a, b) => a < b ? 0 : a === b ? g / 2 : g),
	gradient("minimum", (g, a, b) => b < a ? 0 : a === b ? g / 2 : g),
	gradient("pow_base", (g, a, b) => b === 0 ? 0 : g * b * a ** (b - 1), {
		positive: true,
		roundings: 16,
	}),
	gradient("pow_exponent", (g, a, b) => a === 0 && b >= 0 ? 0 : g * a ** b * Math.log(a), {
		positive: true,
		roundings: 16,
	}),
];

/** How an operand lies: its extents and strides, or null for a number. */
export type Lay = { shape: readonly number[]; strides: readonly number[] } | null;

/** Row-major. */
export function dense(...shape: number[]): Lay {
	return { shape, strides: rowMajor(shape) };
}

/** Compares an operation over `shape` of operands that lie so. */
export function checkOperation(
	bench: Bench,
	operation: PlainOperation,
	dtype: DType,
	shape: readonly number[],
	lays: readonly Lay[],
): number {
	const { kernel, value, positive, first, result = dtype, roundings } = operation;
	const whole = (type: DType) => type === "int32" || type === "uint8";
	const draw = (count: number, type: DType) =>
		whole(type)
			? Float64Array.from(
				{ length: count },
				() => bench.random.below(7) - (type === "int32" ? 3 : 0),
			)
			: bench.normals(count).map((x) => positive ? Math.abs(x) + 0.1 : Math.round(x * 64) / 64);
	const operands = lays.map((lay, k) => {
		const type = k === 0 ? first ?? dtype : dtype;
		const { shape = [], strides = [] } = lay ?? {};
		const last = shape.reduce((sum, extent, i) => sum + (extent - 1) * strides[i], 0);
		const numbers = draw(last + 1, type);
		return lay ? bench.given(type, numbers) : { pointer: 0, numbers };
	});
	const size = elements(shape), y = bench.wanted(result, size);
	const numbers = operands.map(({ pointer, numbers }) => pointer === 0 ? numbers[0] : 0);
	const rest = [...numbers.slice(-2), ...walkOf("compute", shape, lays)];
	bench.overElements(`${kernel}_${dtype}`, size, y, ...operands, ...rest);
	const expected = Float64Array.from({ length: size }, (_, at) => {
		const offsets = lays.map(() => 0);
		let rest = at;
		for (let axis = shape.length - 1; axis >= 0; axis--) {
			const index = rest % shape[axis];
			rest = Math.floor(rest / shape[axis]);
			lays.forEach((lay, k) => {
				const own = lay ? axis + lay.shape.length - shape.length : -1;
				if (own >= 0 && lay!.shape[own] > 1) offsets[k] += index * lay!.strides[own];
			});
		}
		return value(...operands.map(({ numbers }, k) => numbers[offsets[k]]));
	});
	const what = `${kernel} of ${dtype} over [${shape}]`;
	return assertClose(y, expected, TOLERANCE.elementwise(roundings), what);
}

/** Operands that take each way through a kernel: shapes, and how the operands lie. */
export function waysThrough(operands: number): [number[], Lay[]][] {
	const turned: Lay = { shape: [5, 33], strides: [1, 5] };
	const pairs: [number[], Lay[]][] = [
		[[5, 33], [dense(5, 33), dense(5, 33)]],
		[[5, 33], [dense(5, 33), dense(33)]],
		[[5, 33], [dense(5, 33), dense(5, 1)]],
		[[5, 33], [dense(5, 33), null]],
		[[5, 33], [turned, dense(5, 33)]],
		[[5, 33], [turned, null]],
		[[3, 2, 3, 2, 2], [dense(3, 1, 3, 1, 2), dense(2, 1, 2, 1)]],
		[[], [dense(), dense()]],
	];
	if (operands === 2) {
		return pairs.flatMap(([shape, [a, b]]) => [[shape, [a, b]], [shape, [b, a]]]);
	}
	return pairs.flatMap(([shape, [a, b]]) => [
		[shape, [dense(...shape), a, b]],
		[shape, [dense(...shape), b, a]],
		...a ? [[shape, [a, b, a]] as [number[], Lay[]]] : [],
	]);
}

/** The number of an operation's operands. */
export function operandsOf({ kernel }: PlainOperation): number {
	return kernel.startsWith("select") ? 3 : 2;
}

/** Each kernel of binary.cu, compare.cu and select.cu. */
export const selfTests = OPERATIONS.flatMap((operation) =>
	operation.dtypes.map((dtype) =>
		selfTest(
			[`${operation.kernel}_${dtype}`],
			(bench) =>
				waysThrough(operandsOf(operation)).map(([shape, lays]) =>
					checkOperation(bench, operation, dtype, shape, lays)
				),
		)
	)
);
