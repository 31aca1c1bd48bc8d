// Products of every rank, broadcast and transposed, with their gradients, against sums in float64.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type FloatType, Tensor } from "../../mod.ts";
import { matmul } from "../../src/tensor/matmul.ts";
import { checkOp, type Plain } from "./gradients.ts";
import { assertClose, device, deviceTest, normal } from "./on_device.ts";

/** The product as NumPy defines it, in plain loops. */
function product(a: Plain, b: Plain): Float64Array {
	const [as, bs] = [[...a.shape], [...b.shape]];
	if (as.length === 1) as.unshift(1);
	if (bs.length === 1) bs.push(1);
	const [m, k] = as.slice(-2), n = bs.at(-1)!;
	const batchOf = (shape: number[]) => shape.slice(0, -2);
	const rank = Math.max(as.length, bs.length) - 2;
	const padded = (shape: number[]) => [
		...Array(rank - shape.length + 2).fill(1),
		...batchOf(shape),
	];
	const [ab, bb] = [padded(as), padded(bs)];
	const batch = ab.map((extent, i) => extent === 1 ? bb[i] : extent);
	const count = batch.reduce((x, y) => x * y, 1);
	const y = new Float64Array(count * m * n);
	for (let at = 0; at < count; at++) {
		let rest = at, i = 0, j = 0, stepI = 1, stepJ = 1;
		for (let axis = rank - 1; axis >= 0; axis--) {
			const index = rest % batch[axis];
			rest = Math.floor(rest / batch[axis]);
			i += (ab[axis] === 1 ? 0 : index) * stepI;
			j += (bb[axis] === 1 ? 0 : index) * stepJ;
			stepI *= ab[axis];
			stepJ *= bb[axis];
		}
		for (let r = 0; r < m; r++) {
			for (let c = 0; c < n; c++) {
				for (let t = 0; t < k; t++) {
					y[(at * m + r) * n + c] += a.data[(i * m + r) * k + t] * b.data[(j * k + t) * n + c];
				}
			}
		}
	}
	return y;
}

const SHAPES: [number[], number[]][] = [
	[[1, 1], [1, 1]],
	[[3, 5], [5, 7]],
	[[33, 17], [17, 9]],
	[[5, 1], [1, 4]],
	[[1, 6], [6, 3]],
	[[6], [6]],
	[[6], [6, 3]],
	[[4, 6], [6]],
	[[2, 4, 6], [6]],
	[[6], [2, 6, 3]],
	[[2, 3, 4], [4, 5]],
	[[2, 3, 4], [2, 4, 5]],
	[[3, 4], [2, 4, 5]],
	[[2, 1, 3, 4], [1, 3, 4, 5]],
	[[2, 3, 2, 3, 4], [3, 1, 4, 2]],
	[[2, 3, 2, 2], [2, 1, 2, 3]],
	[[0, 4], [4, 3]],
	[[2, 0], [0, 3]],
	[[2, 3, 4], [4, 0]],
	[[0, 3, 4], [4, 2]],
];

for (const [a, b] of SHAPES) {
	deviceTest(`matmul of [${a}] and [${b}] and its gradients`, () => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			checkOp({
				name: `matmul as ${dtype}`,
				inputs: [{ shape: a, dtype }, { shape: b, dtype }],
				op: (x, y) => matmul(x, y),
				reference: product,
			});
		}
		checkOp({
			name: "matmul from bfloat16 to bfloat16",
			inputs: [{ shape: a, dtype: "bfloat16" }, { shape: b, dtype: "bfloat16" }],
			op: (x, y) => matmul(x as Tensor<"bfloat16">, y, { dtype: "bfloat16" }),
			reference: product,
		});
	});
}

deviceTest("transposed views are multiplied as they lie", () => {
	for (const [a, b] of [[[3, 5], [5, 7]], [[2, 3, 4], [2, 4, 5]], [[2, 3, 4], [4, 5]]]) {
		for (const transposed of [[true, false], [false, true], [true, true]]) {
			checkOp({
				name: "matmul of transposed views",
				inputs: [a, b].map((shape, i) => ({ shape, transposed: transposed[i] })),
				op: (x, y) => matmul(x, y),
				reference: product,
			});
		}
	}
	using x = Tensor.zeros<"float32", 2>(device, "float32", [30, 50]);
	using turned = x.transpose();
	const launches = device.launches;
	using y = matmul(turned, x);
	assertEquals(device.launches, launches, "a copy was made");
	assertEquals([...y.shape], [50, 50]);
});

deviceTest("views of any strides are multiplied", () => {
	// heads [B, T, H, d] → [B, H, T, d], against themselves transposed
	const [B, T, H, d] = [2, 5, 3, 4];
	const data = normal(B * T * H * d);
	using x = Tensor.from<"float32", 4>(device, "float32", [B, T, H, d], data);
	using q = x.permute([0, 2, 1, 3]);
	using k = q.transpose();
	using scores = matmul(q, k);
	const at = (b: number, t: number, h: number, i: number) => data[((b * T + t) * H + h) * d + i];
	const expected = Float64Array.from({ length: B * H * T * T }, (_, place) => {
		const j = place % T, i = Math.floor(place / T) % T, h = Math.floor(place / T / T) % H;
		const b = Math.floor(place / T / T / H);
		let sum = 0;
		for (let c = 0; c < d; c++) sum += at(b, i, h, c) * at(b, j, h, c);
		return sum;
	});
	assertClose(scores.dataSync(), expected, 1e-6, "scores");
	using wide = Tensor.from<"float32", 1>(device, "float32", [4], [1, 2, 3, 4]);
	using row = wide.slice(1, 2), same = row.expand([3, 5]), other = wide.slice(0, 3);
	using tall = other.reshape([3, 1]), across = tall.expand([3, 4]), down = across.transpose();
	using product = matmul(down, same);
	assertEquals([...product.dataSync()], Array(20).fill(12));
});

deviceTest("two products of the same factors are identical to the bit", () => {
	using a = Tensor.from<"float32", 3>(device, "float32", [3, 70, 130], normal(3 * 70 * 130));
	using b = Tensor.from<"float32", 2>(device, "float32", [130, 45], normal(130 * 45));
	using first = matmul(a, b);
	using second = matmul(a, b);
	assertEquals(first.dataSync(), second.dataSync());
});

deviceTest("factors that do not fit are refused with both shapes", () => {
	const zeros = (...shape: number[]) => Tensor.zeros<FloatType, number>(device, "float32", shape);
	using matrix = zeros(2, 3);
	using other = zeros(2, 4);
	using number = zeros();
	using vector = zeros(4);
	using batch = zeros(2, 3, 4), batches = zeros(3, 4, 5);
	using half = Tensor.zeros<FloatType, number>(device, "bfloat16", [3, 2]);
	const before = device.liveBytes;
	const refused = (a: Tensor<FloatType>, b: Tensor<FloatType>, message: string) => {
		assertThrows(() => matmul(a, b), Error, message);
	};
	refused(
		matrix,
		other,
		"Cannot multiply [2,3] and [2,4]: the last axis of the first, 3, and the second last of the second, 2, must be equal",
	);
	refused(
		matrix,
		vector,
		"Cannot multiply [2,3] and [4]: the last axis of the first, 3, and that of the second, 4, must be equal",
	);
	refused(
		batch,
		batches,
		"Cannot multiply [2,3,4] and [3,4,5]: counted from the last, extents before the last two must be equal, or one of them 1",
	);
	refused(matrix, number, "Cannot multiply [2,3] and []: a number has no axis; use mul()");
	refused(
		matrix,
		half,
		"Cannot multiply [2,3] and [3,2]: they are float32 and bfloat16; cast one",
	);
	assertThrows(
		() => matmul<FloatType, number, number, FloatType>(matrix, batch, { dtype: "bfloat16" }),
		TypeError,
		"float32 factors give float32, not bfloat16",
	);
	assert(device.liveBytes === before);
});
