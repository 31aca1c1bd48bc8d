// Norms against float64, over odd widths and rows of very different size, with their gradients. The tolerance
// is a few float32 roundings: each element is a product of three numbers.

import { assertEquals, assertThrows } from "@std/assert";
import { scope, Tensor } from "../../mod.ts";
import { addLayerNorm, addRmsNorm, layerNorm, rmsNorm } from "../../src/tensor/norm.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { assertClose, device, deviceTest, normal, normalMatrix } from "./on_device.ts";

const TOLERANCE = 1e-6;

for (const [rows, columns] of [[1, 1], [3, 31], [17, 65], [5, 576], [130, 33]] as const) {
	deviceTest(`rmsNorm of [${rows},${columns}] scales each row to mean square 1`, async () => {
		const { data, tensor } = normalMatrix(rows, columns);
		tensor.dispose();
		for (let i = 0; i < data.length; i++) data[i] *= 10 ** (Math.floor(i / columns) % 7 - 3);
		const gain = normal(columns);
		using x = Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);
		using g = Tensor.from<"float32", 1>(device, "float32", [columns], gain);
		using y = rmsNorm(x, g, { epsilon: 1e-5 });
		assertEquals([...y.shape], [rows, columns]);
		const actual = await y.data();
		for (let t = 0; t < rows; t++) {
			const row = Float64Array.from(data.subarray(t * columns, (t + 1) * columns));
			const square = row.reduce((sum, value) => sum + value ** 2, 0) / columns;
			const expected = row.map((value, i) => value / Math.sqrt(square + 1e-5) * gain[i]);
			const found = actual.subarray(t * columns, (t + 1) * columns);
			assertClose(found, expected, TOLERANCE, `row ${t}`);
		}
	});
}

deviceTest("rmsNorm of zeros is zero, by its ε", async () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
	using g = Tensor.from<"float32", 1>(device, "float32", [5], [1, 2, 3, 4, 5]);
	using y = rmsNorm(x, g, { epsilon: 1e-6 });
	assertEquals((await y.data()).every((value) => value === 0), true);
});

deviceTest("a gain of another width is refused with both shapes", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
	using g = Tensor.zeros<"float32", 1>(device, "float32", [4]);
	assertThrows(
		() => rmsNorm(x, g, { epsilon: 1e-6 }),
		RangeError,
		"Cannot compute rmsNorm: the gain must have shape [5], got [4]",
	);
});

/** The norm of each row, or of each row less its mean. */
function plain(centered: boolean, epsilon: number) {
	return (x: Plain, gain: Plain, bias?: Plain): Float64Array => {
		const columns = gain.shape[0]!, y = new Float64Array(x.data.length);
		for (let first = 0; first < y.length; first += columns) {
			const row = x.data.subarray(first, first + columns);
			const mean = centered ? row.reduce((a, b) => a + b, 0) / columns : 0;
			const square = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / columns;
			row.forEach((value, c) => {
				const unit = (value - mean) / Math.sqrt(square + epsilon);
				y[first + c] = unit * gain.data[c]! + (bias?.data[c] ?? 0);
			});
		}
		return y;
	};
}

const plus = (x: Plain, branch: Plain): Plain => ({
	shape: x.shape,
	data: x.data.map((value, i) => value + branch.data[i]!),
});

const SHAPES = [[5], [1, 2], [3, 31], [2, 3, 33], [35, 33], [2, 2, 2, 7], [0, 5], [2, 0, 5]];

for (const shape of SHAPES) {
	const gain = shape.slice(-1), epsilon = 0.25; // large enough to see that it is there
	deviceTest(`norms of [${shape}] and their gradients`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			const options = { epsilon, dtype };
			const one = [{ shape }, { shape: gain }], two = [{ shape }, { shape }, { shape: gain }];
			checkOp({
				name: `rmsNorm to ${dtype}`,
				inputs: one,
				op: (x, gain) => rmsNorm(x, gain, options),
				reference: plain(false, epsilon),
			});
			checkOp({
				name: `layerNorm to ${dtype}`,
				inputs: one,
				op: (x, gain) => layerNorm(x, gain, options),
				reference: plain(true, epsilon),
			});
			checkOp({
				name: `layerNorm with bias to ${dtype}`,
				inputs: [...one, { shape: gain }],
				op: (x, gain, bias) => layerNorm(x, gain, { ...options, bias }),
				reference: plain(true, epsilon),
			});
			checkOp({
				name: `the norm of addRmsNorm to ${dtype}`,
				inputs: two,
				op: (x, branch, gain) => {
					const [sum, y] = addRmsNorm(x, branch, gain, options);
					sum.dispose();
					return y;
				},
				reference: (x, branch, gain) => plain(false, epsilon)(plus(x, branch), gain),
			});
			checkOp({
				name: `the sum of addRmsNorm to ${dtype}`,
				inputs: [...two.slice(0, 2), { shape: gain, gradient: false }],
				op: (x, branch, gain) => {
					const [sum, y] = addRmsNorm(x, branch, gain, options);
					y.dispose();
					return sum;
				},
				reference: (x, branch) => plus(x, branch).data,
			});
			checkOp({
				name: `the norm of addLayerNorm to ${dtype}`,
				inputs: [...two, { shape: gain }],
				op: (x, branch, gain, bias) => {
					const [sum, y] = addLayerNorm(x, branch, gain, { ...options, bias });
					sum.dispose();
					return y;
				},
				reference: (x, branch, gain, bias) => plain(true, epsilon)(plus(x, branch), gain, bias),
			});
		}
	});
}

deviceTest("gradients of both results of addLayerNorm come together", () => {
	const shape = [7, 33];
	checkOp({
		name: "x, normed with itself as its branch, and normed again",
		inputs: [{ shape }, { shape: [33] }, { shape: [33] }],
		op: (x, gain, bias) =>
			scope(() => {
				const [sum, y] = addLayerNorm(x, x, gain, { bias, epsilon: 0.25 });
				return addLayerNorm(sum, y, gain, { epsilon: 0.25 })[1];
			}),
		reference: (x, gain, bias) => {
			const norm = plain(true, 0.25), sum = plus(x, x);
			return norm(plus(sum, { shape, data: norm(sum, gain, bias) }), gain);
		},
	});
});

deviceTest("norms take views, and a gain that needs no gradient", () => {
	checkOp({
		name: "layerNorm of a transposed view",
		inputs: [{ shape: [5, 7], transposed: true }, { shape: [7], gradient: false }, { shape: [7] }],
		op: (x, gain, bias) => layerNorm(x, gain, { bias, epsilon: 0.25 }),
		reference: plain(true, 0.25),
	});
});

deviceTest("a gradient is the same to the bit each time", () => {
	const data = normal(200 * 33), weights = normal(33);
	const run = () => {
		using x = Tensor.from<"float32", 2>(device, "float32", [200, 33], data).requireGrad();
		using gain = Tensor.from<"float32", 1>(device, "float32", [33], weights).requireGrad();
		using y = layerNorm(x, gain);
		y.backward({ gradient: x.detach() });
		return [x.grad!.dataSync(), gain.grad!.dataSync()];
	};
	assertEquals(scope(run), scope(run));
});
