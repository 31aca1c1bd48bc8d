// Scopes: what they free, what they keep, and that they refuse asynchronous functions.

import { assertEquals, assertThrows } from "@std/assert";
import { scope, Tensor } from "../../mod.ts";
import { device, deviceTest } from "./on_device.ts";

const make = (value = 1) => Tensor.from<"float32", 1>(device, "float32", [2], [value, value]);

deviceTest("a scope frees what it does not return", () => {
	const before = device.liveBytes;
	let lost: Tensor | undefined;
	using kept = scope(() => {
		lost = make();
		return make(2);
	});
	assertEquals([lost!.disposed, kept.disposed], [true, false]);
	assertEquals(device.liveBytes, before + 8);
	assertEquals([...kept.dataSync()], [2, 2]);
});

deviceTest("a scope keeps tensors nested in what it returns", () => {
	const made: Tensor[] = [];
	const result = scope(() => {
		for (let i = 0; i < 5; i++) made.push(make(i));
		const cyclic: Record<string, unknown> = { deep: [{ a: made[0] }, [made[1]]], other: made[2] };
		cyclic.itself = cyclic;
		return { cyclic, text: "x", nothing: null, count: 3, array: new Float32Array(3) };
	});
	assertEquals(made.map((tensor) => tensor.disposed), [false, false, false, true, true]);
	assertEquals(result.count, 3);
	for (const tensor of made) tensor.dispose();
});

deviceTest("a scope that returns a view keeps its storage", () => {
	using view = scope(() => make(3).reshape([1, 2]));
	assertEquals([...view.dataSync()], [3, 3]);
});

deviceTest("a scope does not free what was made outside, or freed already", () => {
	using outside = make();
	scope(() => {
		void outside.pointer;
		make().dispose();
	});
	assertEquals(outside.disposed, false);
});

deviceTest("what an inner scope keeps belongs to the outer one", () => {
	let passed: Tensor | undefined;
	let dropped: Tensor | undefined;
	using result = scope(() => {
		passed = scope(() => {
			dropped = make();
			return make();
		});
		assertEquals([passed.disposed, dropped!.disposed], [false, true]);
		return scope(() => scope(() => make(5)));
	});
	assertEquals([passed!.disposed, result.disposed], [true, false]);
});

deviceTest("a scope that throws frees all, passes the error on, and ends", () => {
	const before = device.liveBytes;
	const error = assertThrows(() =>
		scope(() => {
			make();
			scope(() => make());
			throw new RangeError("of the body");
		})
	);
	assertEquals((error as Error).message, "of the body");
	assertEquals(device.liveBytes, before);
	using after = make(); // of no scope: nothing frees it but this block
	assertEquals(after.disposed, false);
});

deviceTest("a scope refuses an asynchronous function and frees what it made", async () => {
	const before = device.liveBytes;
	assertThrows(
		() =>
			scope(async () => {
				const tensor = make();
				await Promise.resolve();
				await tensor.data(); // rejects, as the tensor is freed by then; that must not end the process
			}),
		TypeError,
		"Cannot run an asynchronous function in a scope",
	);
	assertEquals(device.liveBytes, before);
	await new Promise((resolve) => setTimeout(resolve, 5));
});
