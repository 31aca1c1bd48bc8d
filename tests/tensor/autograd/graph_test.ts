// The graph's memory: held while a tensor needs it, and not longer.

import { assertEquals } from "@std/assert";
import { scope } from "../../../mod.ts";
import { device, deviceTest } from "../on_device.ts";
import { leaf, times, type Values, values, vector } from "./plain_ops.ts";

deviceTest("freeing the last tensor frees what operations saved", () => {
	using x = leaf(1, 2);
	const before = device.liveBytes;
	const y = times(x, x), z = times(y, y);
	y.dispose();
	assertEquals(device.liveBytes, before + 16); // y is saved for z's gradient
	z.dispose();
	assertEquals(device.liveBytes, before);
});

deviceTest("a leaf's gradient is freed with it", () => {
	const before = device.liveBytes;
	{
		using x = leaf(1, 2);
		using gradient = vector(1, 1);
		scope(() => times(x, x).backward({ gradient }));
		assertEquals(values(x.grad), [2, 4]);
	}
	assertEquals(device.liveBytes, before);
});

deviceTest("a long chain is freed without a deep stack", () => {
	using x = leaf(1);
	const before = device.liveBytes;
	let y: Values = times(x, x);
	for (let i = 0; i < 5000; i++) {
		const next = y.reshape([1]);
		y.dispose();
		y = next;
	}
	y.dispose();
	assertEquals(device.liveBytes, before);
});
