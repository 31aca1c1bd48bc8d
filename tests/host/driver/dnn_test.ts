// Softmax of the host driver, as cuDNN describes it, against float64: both modes, odd shapes, the order of
// the stream, and what is refused.

import { assert, assertEquals } from "@std/assert";
import { assertClose } from "../../cuda/kernels/bench.ts";
import { Random, seed } from "../../random.ts";
import { TOLERANCE } from "../../tolerance.ts";
import { HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, cudnn } = host;
const stream = host.stream();
const handle = host.made((out) => cudnn.cudnnCreate(out));
assertEquals(cudnn.cudnnSetStream(handle, stream), 0);
const STATUS = {
	NOT_INITIALIZED: 1001,
	BAD_PARAM: 2000,
	NOT_SUPPORTED: 3000,
	EXECUTION_FAILED: 5000,
};
const MODE = { instance: 0, channel: 1 };
const ACCURATE = 1;
const random = new Random(78);
const factor = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
const one = factor(1), zero = factor(0);

function tensor(n: number, c: number, h: number, w: number): number {
	const descriptor = host.made((out) => cudnn.cudnnCreateTensorDescriptor(out));
	assertEquals(cudnn.cudnnSetTensor4dDescriptor(descriptor, 0, 0, n, c, h, w), 0);
	return descriptor;
}

/** The places of the elements that one softmax goes over, for each of them. */
function groups([n, c, h, w]: number[], mode: "instance" | "channel"): number[][] {
	const area = h * w, size = c * area;
	const range = (length: number) => Array.from({ length }, (_, i) => i);
	return range(n).flatMap((i) =>
		mode === "instance"
			? [range(size).map((at) => i * size + at)]
			: range(area).map((place) => range(c).map((channel) => i * size + channel * area + place))
	);
}

function check(shape: [number, number, number, number], mode: "instance" | "channel") {
	const length = shape.reduce((a, b) => a * b);
	const x = random.normals(length, 3), dy = random.normals(length);
	const descriptor = tensor(...shape);
	const poison = () => new Float32Array(length).fill(NaN);
	const [atX, atDy, atY, atDx] = [x, dy, poison(), poison()].map((data) =>
		host.upload(data, stream)
	);
	// The second call reads what the first writes: in the order of the stream, without waiting between.
	assertEquals(
		cudnn.cudnnSoftmaxForward(
			handle,
			ACCURATE,
			MODE[mode],
			one,
			descriptor,
			atX,
			zero,
			descriptor,
			atY,
		),
		0,
	);
	assertEquals(
		cudnn.cudnnSoftmaxBackward(
			handle,
			ACCURATE,
			MODE[mode],
			one,
			descriptor,
			atY,
			descriptor,
			atDy,
			zero,
			descriptor,
			atDx,
		),
		0,
	);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	const y = new Float64Array(length), dx = new Float64Array(length);
	const sizes = new Float64Array(length);
	let terms = 0, largest = 0;
	for (const group of groups(shape, mode)) {
		const top = Math.max(...group.map((at) => x[at]));
		const parts = group.map((at) => Math.exp(x[at] - top));
		const sum = parts.reduce((a, b) => a + b);
		group.forEach((at, i) => y[at] = parts[i] / sum);
		const dot = group.reduce((total, at) => total + y[at] * dy[at], 0);
		const size = group.reduce((total, at) => total + y[at] * Math.abs(dy[at]), 0);
		for (const at of group) {
			dx[at] = y[at] * (dy[at] - dot);
			sizes[at] = y[at] * (Math.abs(dy[at]) + size);
		}
		terms = Math.max(terms, group.length);
		largest = Math.max(largest, ...group.map((at) => top - x[at]));
	}
	const tolerance = TOLERANCE.softmax(terms, largest);
	const what = `${shape.join("×")} by ${mode} (OUTLIERSCOPE_SEED=${seed})`;
	assertClose(host.read(new Float32Array(length), atY), y, tolerance, `softmax ${what}`);
	assertClose(
		host.read(new Float32Array(length), atDx),
		dx,
		2 * tolerance + TOLERANCE.sum(terms),
		`gradient ${what}`,
		sizes,
	);
	for (const pointer of [atX, atDy, atY, atDx]) driver.cuMemFreeAsync(pointer, stream);
	assertEquals(cudnn.cudnnDestroyTensorDescriptor(descriptor), 0);
}

for (const mode of ["instance", "channel"] as const) {
	Deno.test(`softmax by ${mode} and its gradient equal their formulas`, () => {
		check([1, 1, 1, 1], mode);
		check([3, 577, 1, 1], mode);
		check([65, 2, 1, 1], mode);
		check([2, 31, 3, 5], mode);
		check([2, 1, 7, 9], mode);
	});
}

Deno.test("softmax may overwrite its input", () => {
	const x = random.normals(33), descriptor = tensor(3, 11, 1, 1);
	const run = (from: number, to: number) => {
		assertEquals(
			cudnn.cudnnSoftmaxForward(handle, ACCURATE, 0, one, descriptor, from, zero, descriptor, to),
			0,
		);
		assertEquals(driver.cuStreamSynchronize(stream), 0);
		return host.read(new Float32Array(33), to);
	};
	const from = host.upload(x, stream), to = host.upload(new Float32Array(33), stream);
	const expected = run(from, to);
	assertEquals(run(from, from), expected);
	for (const pointer of [from, to]) driver.cuMemFreeAsync(pointer, stream);
});

Deno.test("what cuDNN refuses is refused with its status", () => {
	const x = host.upload(new Float32Array(24), stream);
	const descriptor = tensor(2, 3, 4, 1), other = tensor(2, 3, 2, 2);
	const unset = host.made((out) => cudnn.cudnnCreateTensorDescriptor(out));
	const status = (
		good: unknown[],
		call: (...args: never[]) => number,
		changes: Record<number, unknown>,
	) => {
		const args = [...good];
		for (const [place, value] of Object.entries(changes)) args[Number(place)] = value;
		return call(...args as never[]);
	};
	const forward = (changes: Record<number, unknown>) =>
		status(
			[handle, ACCURATE, MODE.channel, one, descriptor, x, zero, descriptor, x],
			cudnn.cudnnSoftmaxForward,
			changes,
		);
	const backward = (changes: Record<number, unknown>) =>
		status(
			[handle, ACCURATE, MODE.channel, one, descriptor, x, descriptor, x, zero, descriptor, x],
			cudnn.cudnnSoftmaxBackward,
			changes,
		);
	for (
		const [call, one, beta, descriptors, pointers] of [
			[forward, 3, 6, [4, 7], [5, 8]],
			[backward, 3, 8, [4, 6, 9], [5, 7, 10]],
		] as const
	) {
		assertEquals(call({}), 0);
		assertEquals(call({ 0: handle + 8 }), STATUS.NOT_INITIALIZED);
		assertEquals(call({ 1: 2 }), STATUS.NOT_SUPPORTED, "the logarithm of softmax");
		assertEquals(call({ 2: 2 }), STATUS.BAD_PARAM, "an unknown mode");
		for (const place of [one, beta]) {
			assertEquals(call({ [place]: null }), STATUS.BAD_PARAM);
			assertEquals(call({ [place]: factor(0.5) }), STATUS.NOT_SUPPORTED);
		}
		for (const place of descriptors) {
			assertEquals(call({ [place]: descriptor + 8 }), STATUS.BAD_PARAM, "no descriptor");
			assertEquals(call({ [place]: unset }), STATUS.BAD_PARAM, "a descriptor of nothing");
			assertEquals(call({ [place]: other }), STATUS.BAD_PARAM, "shapes that differ");
		}
		for (const place of pointers) {
			assertEquals(call({ [place]: x + 4 }), STATUS.EXECUTION_FAILED, "memory too short");
			assertEquals(call({ [place]: 0 }), STATUS.EXECUTION_FAILED);
		}
	}
	const set = (...[format, type, ...extents]: number[]) =>
		cudnn.cudnnSetTensor4dDescriptor(
			unset,
			format,
			type,
			extents[0],
			extents[1],
			extents[2],
			extents[3],
		);
	assertEquals(set(1, 0, 1, 1, 1, 1), STATUS.NOT_SUPPORTED, "channels last");
	assertEquals(set(0, 9, 1, 1, 1, 1), STATUS.NOT_SUPPORTED, "bfloat16");
	assertEquals(set(0, 0, 1, 0, 1, 1), STATUS.BAD_PARAM);
	assertEquals(set(0, 0, 65536, 65536, 65536, 65536), STATUS.NOT_SUPPORTED, "over 2^31 elements");
	assertEquals(cudnn.cudnnCreate(null), STATUS.BAD_PARAM);
	assertEquals(cudnn.cudnnCreateTensorDescriptor(null), STATUS.BAD_PARAM);
	assertEquals(cudnn.cudnnSetStream(handle + 8, stream), STATUS.NOT_INITIALIZED);
	assertEquals(cudnn.cudnnDestroy(handle + 8), STATUS.NOT_INITIALIZED);
	for (const descriptor of [other, unset]) {
		assertEquals(cudnn.cudnnDestroyTensorDescriptor(descriptor), 0);
		assertEquals(cudnn.cudnnDestroyTensorDescriptor(descriptor), STATUS.BAD_PARAM, "twice");
	}
	const another = host.made((out) => cudnn.cudnnCreate(out));
	assertEquals(cudnn.cudnnDestroy(another), 0);
	assertEquals(cudnn.cudnnDestroy(another), STATUS.NOT_INITIALIZED, "twice");
	assert(cudnn.cudnnGetVersion() > 0n);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	driver.cuMemFreeAsync(x, stream);
});
