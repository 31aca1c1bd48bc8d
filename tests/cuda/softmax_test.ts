// Softmax by cuDNN against float64, forward and backward, and the softmax kernel of attention.cu against
// cuDNN: two programs that have nothing in common.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { Device } from "../../src/cuda/device.ts";
import { CudaError } from "../../src/cuda/errors.ts";
import { softmax, softmaxBackward } from "../../src/cuda/softmax.ts";
import { TOLERANCE } from "../tolerance.ts";
import { assertClose, given, kernelTest, wanted } from "./kernels/bench.ts";

/** Softmax of the rows of x by attention.cu: one query of as many heads, which sees every key. */
function softmaxOfKernel(device: Device, rows: number, columns: number, x: Float32Array) {
	const from = given(device, "float32", x), to = wanted(device, "float32", x.length);
	device.kernel("attention_softmax_float32").overRows(
		rows,
		to.pointer,
		from.pointer,
		0,
		0,
		rows,
		rows,
		1,
		columns - 1,
		columns,
		columns,
		1,
		0,
		1,
	);
	return to.take();
}

const SHAPES = [[1, 1], [3, 2], [2, 31], [65, 33], [7, 577], [300, 64]];

kernelTest("softmax by cuDNN and its gradient equal their formulas", ({ device, random }) => {
	for (const [rows, columns] of SHAPES) {
		const x = random.normals(rows * columns, 4), dy = random.normals(rows * columns);
		const from = given(device, "float32", x), upstream = given(device, "float32", dy);
		const to = wanted(device, "float32", x.length), gradient = wanted(device, "float32", x.length);
		softmax(device, rows, columns, from.pointer, to.pointer);
		softmaxBackward(device, rows, columns, to.pointer, upstream.pointer, gradient.pointer);
		const y = new Float64Array(x.length), dx = new Float64Array(x.length);
		const sizes = new Float64Array(x.length);
		let largest = 0;
		for (let first = 0; first < x.length; first += columns) {
			const row = [...x.subarray(first, first + columns)];
			const top = Math.max(...row);
			largest = Math.max(largest, ...row.map((value) => top - value));
			const sum = row.reduce((total, value) => total + Math.exp(value - top), 0);
			let dot = 0, size = 0;
			for (let i = first; i < first + columns; i++) {
				y[i] = Math.exp(x[i] - top) / sum;
				dot += y[i] * dy[i];
				size += Math.abs(y[i] * dy[i]);
			}
			for (let i = first; i < first + columns; i++) {
				dx[i] = y[i] * (dy[i] - dot);
				sizes[i] = y[i] * (Math.abs(dy[i]) + size);
			}
		}
		const tolerance = TOLERANCE.softmax(columns, largest);
		assertClose(to.take(), y, tolerance, `softmax of ${rows}×${columns}`);
		const allowed = 2 * tolerance + TOLERANCE.sum(columns);
		assertClose(gradient.take(), dx, allowed, `gradient of ${rows}×${columns}`, sizes);
	}
});

kernelTest("the softmax of attention.cu agrees with cuDNN's", ({ device, random }) => {
	for (const [rows, columns] of SHAPES) {
		const x = random.normals(rows * columns, 4);
		const to = wanted(device, "float32", x.length);
		softmax(device, rows, columns, given(device, "float32", x).pointer, to.pointer);
		let largest = 0; // over rows; a bound will do
		for (const value of x) largest = Math.max(largest, 2 * Math.abs(value));
		const allowed = 2 * TOLERANCE.softmax(columns, largest);
		const kernel = softmaxOfKernel(device, rows, columns, x);
		assertClose(kernel, to.take(), allowed, `${rows}×${columns}`);
	}
});

kernelTest("what cuDNN refuses is an error that names the shape", ({ device }) => {
	const x = given(device, "float32", new Float32Array(4));
	for (const [rows, columns] of [[0, 4], [4, -1]]) {
		const error = assertThrows(
			() => softmax(device, rows, columns, x.pointer, x.pointer),
			CudaError,
		);
		assertEquals(error.function, "cudnnSetTensor4dDescriptor");
		assertMatch(error.message, new RegExp(`BAD_PARAM; a matrix of ${rows}×${columns}$`));
	}
});
