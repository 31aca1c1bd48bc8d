// New tensors: their shape, dtype, elements, and what is refused.

import { assertEquals, assertThrows } from "@std/assert";
import {
	arange,
	Device,
	eye,
	full,
	fullLike,
	linspace,
	type NestedNumbers,
	ones,
	onesLike,
	tensor,
	zeros,
	zerosLike,
} from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { configPath, root } from "../../tools/project.ts";
import { numbers } from "./gradients.ts";
import { device, deviceTest } from "./on_device.ts";

/** Dtype, shape and elements; frees the tensor. */
function facts(x: Tensor): [string, number[], number[]] {
	using freed = x;
	return [freed.dtype, [...freed.shape], numbers(freed)];
}

deviceTest("tensor() takes numbers, lists, and lists of lists", () => {
	assertEquals(facts(tensor(7)), ["float32", [], [7]]);
	assertEquals(facts(tensor([1, 2, 3])), ["float32", [3], [1, 2, 3]]);
	assertEquals(facts(tensor([[1, 2], [3, 4], [5, 6]])), ["float32", [3, 2], [1, 2, 3, 4, 5, 6]]);
	assertEquals(facts(tensor([[[1], [2]]])), ["float32", [1, 2, 1], [1, 2]]);
	assertEquals(facts(tensor([])), ["float32", [0], []]);
	assertEquals(facts(tensor([[], []])), ["float32", [2, 0], []]);
	assertEquals(facts(tensor(new Float64Array([1, 0.1]))), ["float32", [2], [1, Math.fround(0.1)]]);
	assertEquals(facts(tensor([new Float32Array([1, 2]), [3, 4]])), ["float32", [2, 2], [
		1,
		2,
		3,
		4,
	]]);
});

deviceTest("numbers are rounded to the dtype, whole numbers checked", () => {
	assertEquals(facts(tensor([1.01, -3], { dtype: "bfloat16" })), ["bfloat16", [2], [
		1.0078125,
		-3,
	]]);
	assertEquals(facts(tensor([-7, 2 ** 31 - 1], { dtype: "int32" }))[2], [-7, 2 ** 31 - 1]);
	assertEquals(facts(tensor([2 ** 32 - 1], { dtype: "uint32" }))[2], [2 ** 32 - 1]);
	assertEquals(facts(tensor([0.1], { dtype: "float64" }))[2], [0.1]);
	for (
		const [value, dtype] of [[1.5, "int32"], [256, "uint8"], [-1, "uint32"], [
			NaN,
			"int32",
		]] as const
	) {
		assertThrows(() => tensor([value], { dtype }), RangeError, `Cannot store ${value} as ${dtype}`);
	}
});

deviceTest("lists that differ are refused, with the place", () => {
	const refused = (values: NestedNumbers, message: string) =>
		assertThrows(() => tensor(values), RangeError, message);
	refused([[1, 2], [3]], "values[1] is a list of 1, not a list of 2 as the first");
	refused([[1], 2], "values[1] is a number, not a list of 1 as the first");
	refused([1, [2]], "values[1] is a list of 1, not a number as the first");
	refused([[[1], [2]], [[3], [4, 5]]], "values[1][1] is a list of 2, not a list of 1");
});

deviceTest("zeros, ones and full have each element alike", () => {
	assertEquals(facts(zeros([2, 2])), ["float32", [2, 2], [0, 0, 0, 0]]);
	assertEquals(facts(ones([3], { dtype: "bfloat16" })), ["bfloat16", [3], [1, 1, 1]]);
	assertEquals(facts(full([], 2.5)), ["float32", [], [2.5]]);
	assertEquals(facts(full([0, 3], 2.5)), ["float32", [0, 3], []]);
	for (const dtype of ["float32", "bfloat16", "int32", "uint32", "uint8", "float64"] as const) {
		assertEquals(facts(full([3, 67], 5, { dtype })), [dtype, [3, 67], Array(201).fill(5)]);
	}
});

deviceTest("zerosLike, onesLike and fullLike take shape and dtype from a tensor", () => {
	using x = tensor([[1, 2, 3]], { dtype: "bfloat16", requiresGrad: true });
	assertEquals(facts(zerosLike(x)), ["bfloat16", [1, 3], [0, 0, 0]]);
	assertEquals(facts(onesLike(x)), ["bfloat16", [1, 3], [1, 1, 1]]);
	using like = fullLike(x, -1);
	assertEquals(like.requiresGrad, false);
	assertEquals(facts(like), ["bfloat16", [1, 3], [-1, -1, -1]]);
});

deviceTest("arange counts from start to end, not included", () => {
	assertEquals(facts(arange(4)), ["float32", [4], [0, 1, 2, 3]]);
	assertEquals(facts(arange(2, 5, { dtype: "int32" })), ["int32", [3], [2, 3, 4]]);
	assertEquals(facts(arange(5, 0, { step: -2 })), ["float32", [3], [5, 3, 1]]);
	assertEquals(facts(arange(1, { step: 0.25 }))[2], [0, 0.25, 0.5, 0.75]);
	assertEquals(facts(arange(3, 1)), ["float32", [0], []]);
	assertThrows(
		() => arange(0, 5, { step: 0 }),
		RangeError,
		"Cannot count from 0 to 5 in steps of 0",
	);
	assertThrows(() => arange(NaN), RangeError, "Cannot count from 0 to NaN");
	assertThrows(() => arange(Infinity), RangeError, "Cannot count from 0 to Infinity");
});

deviceTest("linspace has both ends", () => {
	assertEquals(facts(linspace(0, 1, 5)), ["float32", [5], [0, 0.25, 0.5, 0.75, 1]]);
	assertEquals(facts(linspace(3, -1, 3))[2], [3, 1, -1]);
	assertEquals(facts(linspace(2, 9, 1))[2], [2]);
	assertEquals(facts(linspace(2, 9, 0))[2], []);
	assertEquals(facts(linspace(0, 0.7, 8, { dtype: "float64" }))[2].at(-1), 0.7);
	assertThrows(() => linspace(0, 1, -1), RangeError, "Cannot make -1 numbers from 0 to 1");
});

deviceTest("eye has ones on the diagonal", () => {
	assertEquals(facts(eye(2)), ["float32", [2, 2], [1, 0, 0, 1]]);
	assertEquals(facts(eye(2, { columns: 3, dtype: "int32" })), ["int32", [2, 3], [
		1,
		0,
		0,
		0,
		1,
		0,
	]]);
	assertEquals(facts(eye(3, { columns: 1 }))[2], [1, 0, 0]);
	assertEquals(facts(eye(0)), ["float32", [0, 0], []]);
});

deviceTest("requiresGrad makes leaves", () => {
	const options = { requiresGrad: true };
	for (
		const x of [
			tensor([1], options),
			zeros([1], options),
			ones([1], options),
			eye(1, options),
			arange(1, options),
		]
	) {
		using leaf = x;
		assertEquals(leaf.requiresGrad, true);
	}
	using plain = ones([1]);
	assertEquals(plain.requiresGrad, false);
	assertThrows(
		() => ones([1], { dtype: "int32", ...options }),
		TypeError,
		"Cannot compute gradients of int32",
	);
});

deviceTest("the device is the open one, or the one named", () => {
	assertEquals(Device.current, device);
	using x = ones([1]), y = ones([1], { device });
	assertEquals([x.device, y.device], [device, device]);
});

Deno.test("before a device is open, the error says how to open it", async () => {
	const program = `
    import { Device, ones } from "${new URL("../../mod.ts", import.meta.url)}";
    try { ones([1]); } catch (error) { console.log(String(error)); }
    await Device.open();
    using x = ones([1]);
    console.log(x.size);
  `;
	const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["eval", "--quiet", "--config", configPath(), program],
		cwd: root,
	}).output();
	const text = new TextDecoder();
	assertEquals(
		text.decode(stdout),
		"ReferenceError: Cannot find a device: open it first, with await Device.open()\n1\n",
		text.decode(stderr),
	);
});
