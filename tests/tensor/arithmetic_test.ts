// Arithmetic of tensors and numbers, broadcast together, with gradients, against plain loops in float64.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type FloatType, noGrad, Tensor } from "../../mod.ts";
import * as arithmetic from "../../src/tensor/arithmetic.ts";
import { checkOp, numbers } from "./gradients.ts";
import { device, deviceTest, normal, random } from "./on_device.ts";
import { elementwise } from "./plain_broadcast.ts";

type Operation = (a: Tensor | number, b: Tensor | number) => Tensor;
const { add, addInPlace, maximum, minimum, mul, mulInPlace, pow, sub } = arithmetic;

const operations: Record<string, (a: number, b: number) => number> = {
	add: (a, b) => a + b,
	sub: (a, b) => a - b,
	mul: (a, b) => a * b,
	div: (a, b) => a / b,
	pow: (a, b) => a ** b,
	maximum: Math.max,
	minimum: Math.min,
};

const SHAPES: [number[], number[]][] = [
	[[], []],
	[[5], [5]],
	[[], [3]],
	[[4, 33], [4, 33]],
	[[4, 33], [33]],
	[[4, 33], [4, 1]],
	[[1, 33], [4, 1]],
	[[3, 1, 5], [2, 1]],
	[[2, 1, 3, 1, 2, 3], [2, 1, 5, 1, 3]],
	[[0, 4], [4]],
	[[1], [0]],
];

for (const [name, exact] of Object.entries(operations)) {
	const op = arithmetic[name as "add"] as Operation;
	// Denominators and what is raised lie away from 0.
	const values = (size: number) =>
		["div", "pow"].includes(name) ? normal(size).map((x) => Math.abs(x) + 0.5) : normal(size);
	const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
	const given = (shape: number[], dtype: FloatType, transposed = false) => ({
		shape,
		dtype,
		data: values(size(shape)),
		transposed,
	});
	deviceTest(`${name} of tensors that are broadcast together, and its gradients`, () => {
		for (const [left, right] of SHAPES) {
			for (const [a, b] of [[left, right], [right, left]]) {
				for (const dtype of ["float32", "bfloat16"] as const) {
					checkOp({
						name: `${name} of ${dtype} [${a}] and [${b}]`,
						inputs: [given(a, dtype), given(b, dtype)],
						op,
						reference: (a, b) => elementwise([a, b], exact),
					});
				}
			}
		}
	});
	deviceTest(`${name} of views with other strides`, () => {
		for (const [ta, tb] of [[true, false], [false, true], [true, true]]) {
			for (const [a, b] of [[[3, 5, 7], [5, 7]], [[2, 33], [2, 33]]]) {
				checkOp({
					name: `${name} of transposed [${a}] and [${b}]`,
					inputs: [given(a, "float32", ta), given(b, "float32", tb)],
					op,
					reference: (a, b) => elementwise([a, b], exact),
				});
			}
		}
	});
	deviceTest(`${name} of a tensor and a number, either way`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const number of [2, 0.3, -1.7, 3]) {
				if (name === "pow" && number < 0) continue;
				for (const transposed of [false, true]) {
					checkOp({
						name: `${name}(x, ${number})`,
						inputs: [given([3, 65], dtype, transposed)],
						op: (x) => op(x, number),
						reference: (x) => x.data.map((x) => exact(x, number)),
					});
					checkOp({
						name: `${name}(${number}, x)`,
						inputs: [given([3, 65], dtype, transposed)],
						op: (x) => op(number, x),
						reference: (x) => x.data.map((x) => exact(number, x)),
					});
				}
			}
		}
	});
}

deviceTest("an operand that is used twice gets both gradients", () => {
	for (const [op, exact] of [[mul, (x: number) => x * x], [add, (x: number) => 2 * x]] as const) {
		checkOp({
			name: "both operands at once",
			inputs: [{ shape: [3, 5] }],
			op: (x: Tensor<"float32">) => op(x, x),
			reference: (x) => x.data.map(exact),
		});
	}
});

deviceTest("many elements, so that all cores have pieces of rows", () => {
	const [rows, columns] = [37, 9001];
	const [a, b] = [normal(rows * columns), normal(columns)];
	using x = Tensor.from<"float32", 2>(device, "float32", [rows, columns], a);
	using y = Tensor.from<"float32", 1>(device, "float32", [columns], b);
	using sum = add(x, y);
	using flat = mul(x, x);
	const [sums, squares] = [sum.dataSync(), flat.dataSync()];
	for (let i = 0; i < a.length; i++) {
		assertEquals(sums[i], Math.fround(a[i] + b[i % columns]));
		assertEquals(squares[i], Math.fround(a[i] * a[i]));
	}
});

deviceTest("whole numbers wrap around, and are compared", () => {
	const a = [1, -7, 2 ** 31 - 1, 123456789, 0], b = [2, 3, 1, 987654321, -5];
	using x = Tensor.from<"int32", 1>(device, "int32", [5], a);
	using y = Tensor.from<"int32", 1>(device, "int32", [5], b);
	const cases = [
		[add, (a: number, b: number) => (a + b) | 0],
		[sub, (a: number, b: number) => (a - b) | 0],
		[mul, Math.imul],
		[maximum, Math.max],
		[minimum, Math.min],
	] as const;
	for (const [op, exact] of cases) {
		using both = op(x, y);
		assertEquals([...both.dataSync()], a.map((a, i) => exact(a, b[i]) + 0));
		using one = op(x, 16777217); // not a float32
		assertEquals([...one.dataSync()], a.map((a) => exact(a, 16777217) + 0));
	}
	assertThrows(() => add(x, 0.5), TypeError, "Cannot add int32 and 0.5: it must be a whole number");
});

deviceTest(
	"NaN and equal numbers in maximum and minimum, and their gradients, are PyTorch's",
	() => {
		const a = [NaN, 1, NaN, 2, 1], b = [1, NaN, NaN, 2, 3];
		for (
			const [op, values, left, right] of [
				[maximum, [NaN, NaN, NaN, 2, 3], [1, 1, 1, 0.5, 0], [1, 1, 1, 0.5, 1]],
				[minimum, [NaN, NaN, NaN, 2, 1], [1, 1, 1, 0.5, 1], [1, 1, 1, 0.5, 0]],
			] as const
		) {
			using x = Tensor.from<"float32", 1>(device, "float32", [5], a).requireGrad();
			using y = Tensor.from<"float32", 1>(device, "float32", [5], b).requireGrad();
			using ones = Tensor.from<"float32", 1>(device, "float32", [5], [1, 1, 1, 1, 1]);
			using result = op(x, y);
			result.backward({ gradient: ones });
			assertEquals(numbers(result), [...values]);
			assertEquals([numbers(x.grad!), numbers(y.grad!)], [[...left], [...right]]);
		}
	},
);

deviceTest(
	"powers at 0, of negative numbers and NaN are PyTorch's, and so are their gradients",
	() => {
		const a = [0, 0, 2, -2, NaN, -8, 0, -Infinity, -Infinity, 2];
		const b = [0, 2, 3, 3, 0, 1 / 3, -1, 3, 2.5, Infinity];
		using x = Tensor.from<"float32", 1>(device, "float32", [10], a).requireGrad();
		using y = Tensor.from<"float32", 1>(device, "float32", [10], b).requireGrad();
		using ones = Tensor.from<"float32", 1>(device, "float32", [10], a.map(() => 1));
		using result = pow(x, y);
		result.backward({ gradient: ones });
		const inf = Infinity;
		assertEquals(numbers(result), [1, 0, 8, -8, 1, NaN, inf, -inf, inf, inf]);
		assertEquals(numbers(x.grad!).slice(0, 5), [0, 0, 12, 12, 0]);
		const slopes = numbers(y.grad!).slice(0, 5);
		assertEquals([slopes[0], slopes[1], slopes[3], slopes[4]], [0, 0, NaN, NaN]);
		assert(Math.abs(slopes[2] - 8 * Math.log(2)) < 1e-5);
	},
);

deviceTest("shapes and dtypes that do not fit are refused with both", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using y = Tensor.zeros<"float32", 2>(device, "float32", [4, 3]);
	using half = Tensor.zeros<"bfloat16", 2>(device, "bfloat16", [2, 3]);
	assertThrows(
		() => add(x, y),
		RangeError,
		"Cannot add [2,3] and [4,3]: axis 0 has extents 2 and 4; they must be equal, or one of them 1",
	);
	assertThrows(
		() => mul(x, half as unknown as Tensor<"float32", 2>),
		TypeError,
		"Cannot multiply float32 and bfloat16: cast one of them to the other's type",
	);
});

deviceTest("addInPlace and mulInPlace change a tensor, and refuse one that is recorded", () => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		const bits = (values: number[]) => dtype === "float32" ? values : values.map((x) => top(x));
		const top = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0] >>> 16;
		using y = Tensor.from<FloatType, 2>(device, dtype, [2, 3], bits([1, 2, 3, 4, 5, 6]));
		using x = Tensor.from<FloatType, 1>(device, dtype, [3], bits([0.5, -1, 2]));
		addInPlace(y, x);
		assertEquals(numbers(y), [1.5, 1, 5, 4.5, 4, 8]);
		mulInPlace(y, -2);
		assertEquals(numbers(y), [-3, -2, -10, -9, -8, -16]);
	}
	using leaf = Tensor.from<"float32", 1>(device, "float32", [1], [1]).requireGrad();
	using one = Tensor.from<"float32", 1>(device, "float32", [1], [1]);
	assertThrows(() => addInPlace(leaf, one), RangeError, "Cannot compute addInPlace in place");
	assertThrows(() => mulInPlace(leaf, 2), RangeError, "Cannot compute mulInPlace in place");
	noGrad(() => addInPlace(leaf, one));
	assertEquals(numbers(leaf), [2]);
	using matrix = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using turned = matrix.transpose();
	assertThrows(
		() => mulInPlace(turned, 2),
		RangeError,
		"Cannot compute mulInPlace: the target [3,2]",
	);
});

deviceTest("shapes of any kind are broadcast as by plain loops", () => {
	for (let trial = 0; trial < 60; trial++) {
		const rank = Math.floor(random() * 6);
		const extents = Array.from({ length: rank }, () => 1 + Math.floor(random() * 4));
		const operand = () =>
			extents.slice(Math.floor(random() * (rank + 1)))
				.map((extent) => random() < 0.3 ? 1 : extent);
		const [a, b] = [operand(), operand()];
		checkOp({
			name: `sub of [${a}] and [${b}]`,
			inputs: [a, b].map((shape) => ({ shape, transposed: shape.length > 1 && random() < 0.5 })),
			op: sub,
			reference: (a, b) => elementwise([a, b], (a, b) => a - b),
		});
	}
});
