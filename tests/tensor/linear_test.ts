// The linear map against sums in float64, in both weight types. Tolerances are of max|y|: a float32 sum of
// n terms of random sign errs by about √n · 2⁻²⁴ of its size; bfloat16 inputs are rounded in the reference
// too, so that only the order of the same float32 sum differs.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { cast } from "../../src/tensor/cast.ts";
import { addLinear, linear } from "../../src/tensor/linear.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { assertClose, device, deviceTest, normalMatrix, roundToBfloat16 } from "./on_device.ts";

const TOLERANCE = 3e-6;

function reference(
	x: ArrayLike<number>,
	w: ArrayLike<number>,
	[rows, inner, columns]: readonly [number, number, number],
): Float64Array {
	const y = new Float64Array(rows * columns);
	for (let t = 0; t < rows; t++) {
		for (let o = 0; o < columns; o++) {
			for (let i = 0; i < inner; i++) y[t * columns + o] += x[t * inner + i] * w[o * inner + i];
		}
	}
	return y;
}

// rows (tokens), inner, columns: one of each, odd ones, ones beside a power of two
const SIZES = [[1, 1, 1], [1, 576, 3], [5, 7, 11], [33, 65, 17], [127, 129, 31], [
	3,
	1,
	130,
]] as const;

for (const size of SIZES) {
	const [rows, inner, columns] = size;
	deviceTest(
		`linear and addLinear of ${rows}×${inner} by ${columns}×${inner} are x·Wᵀ`,
		async () => {
			const x = normalMatrix(rows, inner);
			const w = normalMatrix(columns, inner);
			const start = normalMatrix(rows, columns);
			using xt = x.tensor;
			using wt = w.tensor;
			using sum = start.tensor;
			const expected = reference(x.data, w.data, size);
			using y = linear(xt, wt);
			assertEquals([...y.shape], [rows, columns]);
			assertClose(await y.data(), expected, TOLERANCE, "float32");
			addLinear(sum, xt, wt);
			const added = expected.map((value, i) => value + start.data[i]);
			assertClose(await sum.data(), added, TOLERANCE, "float32, added", 1);

			using half = cast(wt, "bfloat16");
			const rounded = reference(x.data.map(roundToBfloat16), w.data.map(roundToBfloat16), size);
			using z = linear(xt, half);
			assertEquals(z.dtype, "float32");
			assertClose(await z.data(), rounded, TOLERANCE, "bfloat16");
			addLinear(z, xt, half);
			assertClose(await z.data(), rounded.map((value) => 2 * value), TOLERANCE, "bfloat16, added");
			assertClose(await xt.data(), x.data, 0, "x is left as it was");
		},
	);
}

deviceTest("two products of the same operands are identical to the bit", async () => {
	using x = normalMatrix(70, 130).tensor;
	using w = normalMatrix(45, 130).tensor;
	using first = linear(x, w);
	using second = linear(x, w);
	assertEquals(await first.data(), await second.data());
});

deviceTest("shapes that do not fit are refused with both, and nothing is left behind", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using w = Tensor.zeros<"float32", 2>(device, "float32", [5, 4]);
	using fitting = Tensor.zeros<"float32", 2>(device, "float32", [5, 3]);
	const before = device.liveBytes;
	assertThrows(
		() => linear(x, w),
		RangeError,
		"Cannot compute linear: the weight must have shape [5,3], got [5,4]",
	);
	assertThrows(
		() => addLinear(w, x, fitting),
		RangeError,
		"Cannot compute addLinear: the sum must have shape [2,5], got [5,4]",
	);
	assertThrows(
		() => addLinear(w, x, w),
		RangeError,
		"Cannot compute addLinear: the weight must have shape [5,3], got [5,4]",
	);
	assertEquals(device.liveBytes, before);
});

/** y = x · Wᵀ + b in plain loops. */
function plain(x: Plain, w: Plain, b?: Plain): Float64Array {
	const [columns, inner] = w.shape as [number, number];
	const rows = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
	const y = reference(x.data, w.data, [rows, inner, columns]);
	return y.map((value, i) => value + (b?.data[i % columns] ?? 0));
}

const SHAPES: [x: number[], weight: [number, number]][] = [
	[[5], [3, 5]],
	[[4, 5], [3, 5]],
	[[33, 65], [17, 65]],
	[[2, 3, 4], [5, 4]],
	[[2, 3, 2, 1], [4, 1]],
	[[0, 4], [3, 4]],
	[[2, 0, 4], [3, 4]],
];

for (const [x, weight] of SHAPES) {
	const bias = [weight[0]];
	deviceTest(`gradients of linear of [${x}] by [${weight}]`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			for (const w of dtype === "float32" ? ["float32", "bfloat16"] as const : [dtype]) {
				checkOp({
					name: `linear of ${dtype} by ${w}`,
					inputs: [{ shape: x, dtype }, { shape: weight, dtype: w }],
					op: (x, w) => linear(x, w),
					reference: plain,
				});
				for (const b of ["float32", "bfloat16"] as const) {
					checkOp({
						name: `linear of ${dtype} by ${w} plus ${b}`,
						inputs: [{ shape: x, dtype }, { shape: weight, dtype: w }, { shape: bias, dtype: b }],
						op: (x: Tensor<"float32">, w: Tensor<"bfloat16", 2>, bias) =>
							w.dtype === "bfloat16"
								? linear(x, w, { bias, dtype: "bfloat16" })
								: linear(x, w, { bias }),
						reference: plain,
					});
				}
			}
			for (const result of ["float32", "bfloat16"] as const) {
				checkOp({
					name: `mixed linear of ${dtype} to ${result}`,
					inputs: [{ shape: x, dtype }, { shape: weight }, { shape: bias }],
					op: (x, w, bias) => linear(x, w, { bias, compute: "bfloat16", dtype: result }),
					reference: plain,
					tolerance: 2 ** -6,
					leastSize: 4, // as the reference does not round the terms, of which few may cancel
				});
			}
		}
	});
}

deviceTest("linear takes views that are not contiguous", () => {
	checkOp({
		name: "linear of transposed views",
		inputs: [{ shape: [2, 3, 4], transposed: true }, { shape: [5, 4], transposed: true }],
		op: (x, w) => linear(x, w),
		reference: plain,
	});
});

deviceTest("in mixed precision the weight's gradient is not rounded to bfloat16", () => {
	const rows = 64;
	using x = Tensor.from<"float32", 2>(device, "float32", [rows, 1], Array(rows).fill(1));
	using w = Tensor.from<"float32", 2>(device, "float32", [1, 1], [0.1]).requireGrad();
	using y = linear(x, w, { compute: "bfloat16" });
	using g = Tensor.from<"float32", 2>(device, "float32", [rows, 1], [
		1 + 2 ** -7,
		...Array(rows - 1).fill(1),
	]);
	y.backward({ gradient: g });
	assertEquals([...w.grad!.dataSync()], [rows + 2 ** -7]);
	w.zeroGrad();
});

deviceTest("what is in place takes no part in a recorded computation", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]);
	using w = Tensor.zeros<"float32", 2>(device, "float32", [2, 3]).requireGrad();
	using y = Tensor.zeros<"float32", 2>(device, "float32", [2, 2]);
	assertThrows(() => addLinear(y, x, w), RangeError, "Cannot compute addLinear in place");
});
