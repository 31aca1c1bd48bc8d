// Tensors: how they are made, viewed, read and freed, and what their errors say.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type DType, scope, Tensor } from "../../mod.ts";
import { BYTES_PER_ELEMENT } from "../../src/tensor/dtype.ts";
import { checkShape } from "../../src/tensor/tensor.ts";
import { configPath, root } from "../../tools/project.ts";
import { device, deviceTest } from "./on_device.ts";

const six = () => Tensor.from<"float32", 2>(device, "float32", [3, 2], [1, 2, 3, 4, 5, 6]);

deviceTest("the elements of every dtype come back as they were given", async () => {
	const values: Record<DType, number[]> = {
		float64: [1 / 3, -0, Number.MIN_VALUE, 1e300, -Infinity],
		float32: [Math.fround(1 / 3), -0, 2 ** -149, 2 ** 127, -Infinity],
		bfloat16: [0, 0x3f80, 0xffff, 1, 0x8000],
		int32: [-(2 ** 31), -1, 0, 1, 2 ** 31 - 1],
		uint32: [0, 1, 2 ** 31, 2 ** 32 - 1, 7],
		uint8: [0, 1, 127, 128, 255],
	};
	for (const [dtype, data] of Object.entries(values) as [DType, number[]][]) {
		using tensor = Tensor.from<DType, 1>(device, dtype, [5], data);
		assertEquals(tensor.byteLength, 5 * BYTES_PER_ELEMENT[dtype]);
		assertEquals(Array.from(await tensor.data()), data, dtype);
		assertEquals(Array.from(tensor.dataSync()), data, dtype);
		await device.synchronize();
		assertEquals(Array.from(tensor.readNow()), data, dtype);
	}
});

deviceTest("zeros() is zero also where memory was used before", async () => {
	for (let i = 0; i < 3; i++) {
		using used = Tensor.from<"float32", 1>(device, "float32", [1000], Array(1000).fill(7));
		used.dispose();
		using zeros = Tensor.zeros<"float32", 2>(device, "float32", [10, 100]);
		assertEquals((await zeros.data()).every((x) => Object.is(x, 0)), true);
	}
});

deviceTest("a tensor knows its device, dtype, shape and sizes", () => {
	using tensor = Tensor.empty<"int32", 3>(device, "int32", [2, 3, 5]);
	assertEquals(tensor.device, device);
	assertEquals([tensor.dtype, [...tensor.shape]], ["int32", [2, 3, 5]]);
	assertEquals([tensor.size, tensor.byteLength], [30, 120]);
});

deviceTest("a scalar has one element and rank 0, an empty tensor none", async () => {
	using scalar = Tensor.from<"float32", 0>(device, "float32", [], [42]);
	assertEquals([scalar.size, [...await scalar.data()]], [1, [42]]);
	using empty = Tensor.zeros<"float32", 2>(device, "float32", [0, 4]);
	assertEquals([empty.size, [...await empty.data()]], [0, []]);
	using view = empty.reshape([0]);
	assertEquals(view.size, 0);
});

deviceTest("the shape does not change with the array it was given as", () => {
	const shape: [number, number] = [3, 2];
	using tensor = Tensor.zeros<"float32", 2>(device, "float32", shape);
	shape[0] = 99;
	assertEquals([...tensor.shape], [3, 2]);
});

deviceTest("wrong extents and data are refused, with both sizes, and leave nothing behind", () => {
	for (const extent of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
		assertThrows(
			() => Tensor.empty<"float32", 2>(device, "float32", [2, extent]),
			RangeError,
			`Cannot make a tensor of shape [2,${extent}]: extents must be whole and not negative`,
		);
	}
	assertThrows(
		() => Tensor.from<"float32", 2>(device, "float32", [2, 3], [1, 2, 3, 4]),
		RangeError,
		"Cannot make a tensor of shape [2,3] from 4 elements: it has 6",
	);
});

deviceTest("reshape() and slice() share the elements", async () => {
	using tensor = six();
	using flat = tensor.reshape([6]);
	using rows = tensor.slice(1, 3);
	using row = rows.slice(1, 2);
	using none = tensor.slice(2, 2);
	assertEquals([...await flat.data()], [1, 2, 3, 4, 5, 6]);
	assertEquals([[...rows.shape], ...await rows.data()], [[2, 2], 3, 4, 5, 6]);
	assertEquals([[...row.shape], ...await row.data()], [[1, 2], 5, 6]);
	assertEquals([[...none.shape], ...await none.data()], [[0, 2]]);
	assertEquals(row.pointer, tensor.pointer + 4 * 4);
	device.fill(row.pointer, 0, row.byteLength);
	assertEquals([...await tensor.data()], [1, 2, 3, 4, 0, 0]);
});

deviceTest("freeing a view leaves the storage, freeing the tensor leaves its views", async () => {
	const before = device.liveBytes;
	const tensor = six();
	const view = tensor.slice(1, 2);
	view.dispose();
	assertEquals([...await tensor.data()], [1, 2, 3, 4, 5, 6]);
	using row = tensor.slice(2, 3);
	const last = row.reshape([2]);
	row.dispose();
	tensor.dispose();
	assertEquals([...await last.data()], [5, 6]);
	assertEquals(device.liveBytes, before + 24);
	last.dispose();
	assertEquals(device.liveBytes, before);
});

deviceTest("impossible views are refused with both shapes", () => {
	using tensor = six();
	assertThrows(
		() => tensor.reshape([2, 2]),
		RangeError,
		"Cannot reshape [3,2] to [2,2]: 6 elements are not 4",
	);
	for (const shape of [[-2, -3], [1.5, 4], [NaN]]) {
		assertThrows(() => tensor.reshape(shape), RangeError, `Cannot reshape [3,2] to [${shape}]`);
	}
	for (const [begin, end] of [[-4, 2], [2, 1], [0, 4], [0.5, 2], [0, 1.5], [NaN, 1]]) {
		assertThrows(
			() => tensor.slice(begin, end),
			RangeError,
			`Cannot slice ${begin} to ${end} from axis 0 of a tensor of shape [3,2]`,
		);
	}
	using scalar = Tensor.zeros<"float32", 0>(device, "float32", []);
	assertThrows(
		() => scalar.slice(0, 1),
		RangeError,
		"Cannot compute slice of []: there is no axis 0",
	);
});

deviceTest("a freed tensor cannot be used, and freeing it again is harmless", async () => {
	const tensor = six();
	const view = tensor.reshape([6]);
	tensor.dispose();
	assertEquals([tensor.disposed, view.disposed], [true, false]);
	tensor.dispose();
	tensor[Symbol.dispose]();
	const message =
		"Cannot use a float32 tensor of shape [3,2]: it was freed by `using` or dispose()";
	assertThrows(() => tensor.pointer, ReferenceError, message);
	assertThrows(() => tensor.reshape([6]), ReferenceError, message);
	assertThrows(() => tensor.slice(0, 1), ReferenceError, message);
	assertThrows(() => tensor.dataSync(), ReferenceError, message);
	assertThrows(() => tensor.readNow(), ReferenceError, message);
	await assertRejects(() => tensor.data(), ReferenceError, message);
	assertEquals([...await view.data()], [1, 2, 3, 4, 5, 6]); // freeing twice took one reference
	view.dispose();
	let lost: Tensor | undefined;
	scope("step 3", () => {
		lost = six();
	});
	assertThrows(() => lost!.pointer, ReferenceError, 'it was freed by the scope "step 3"');
	scope(() => {
		lost = six();
	});
	assertThrows(() => lost!.pointer, ReferenceError, "it was freed by its scope");
});

deviceTest("`using` frees at the end of the block, also when it throws", () => {
	const before = device.liveBytes;
	{
		using tensor = six();
		assertEquals(device.liveBytes, before + tensor.byteLength);
	}
	assertEquals(device.liveBytes, before);
	assertThrows(() => {
		using tensor = six();
		throw new Error(`with ${tensor.size}`);
	});
	assertEquals(device.liveBytes, before);
});

deviceTest("a shape that an operation does not expect is named with the operand", () => {
	assertThrows(
		() => checkShape("linear", "the weight", [2, 3], [2, 4]),
		RangeError,
		"Cannot compute linear: the weight must have shape [2,4], got [2,3]",
	);
	assertThrows(() => checkShape("x", "y", [2], [2, 1]), RangeError, "[2,1], got [2]");
	checkShape("x", "y", [2, 0], [2, 0]);
});

Deno.test("a tensor that is lost gives its memory back when it is collected", async () => {
	const program = `
    import { Device, Tensor } from "${new URL("../../mod.ts", import.meta.url)}";
    const device = await Device.open();
    const kept = Tensor.zeros(device, "float32", [100]);
    (() => {
      for (let i = 0; i < 10; i++) Tensor.zeros(device, "float32", [1000]).slice(0, 10);
      for (let i = 0; i < 10; i++) kept.slice(0, 10).dispose(); // not to be released once more
    })();
    const before = device.liveBytes;
    for (let i = 0; i < 20 && device.liveBytes > 400; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      gc();
    }
    void kept.pointer;
    console.log(before, device.liveBytes);
  `;
	const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["eval", "--quiet", "--v8-flags=--expose-gc", "--config", configPath(), program],
		cwd: root,
	}).output();
	const text = new TextDecoder();
	assert(text.decode(stdout).trim() === "40400 400", text.decode(stdout) + text.decode(stderr));
});

deviceTest("methods are the functions of their names", () => {
	scope(() => {
		const x = six().requireGrad(), row = x.detach().slice(0, 1);
		const y = x.add(row).sub(1).mul(row).div(2); // ((x + r) - 1) · r / 2
		assertEquals([...y.dataSync()], [0.5, 3, 1.5, 5, 2.5, 7]);
		assertEquals([...x.matmul(x.transpose()).dataSync()], [5, 11, 17, 11, 25, 39, 17, 39, 61]);
		assertEquals([...x.mean(0).dataSync()], [3, 4]);
		y.sum().backward();
		assertEquals([...x.grad!.dataSync()], [0.5, 1, 0.5, 1, 0.5, 1]);
		x.zeroGrad();
	});
});
