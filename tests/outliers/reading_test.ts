// Results are read once the device is done with them; a reading that fails is told by finish(), and by
// nothing before it.

import { assertEquals, assertRejects } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { Reading } from "../../src/outliers/reading.ts";
import { linear } from "../../src/tensor/linear.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

deviceTest("what is read is the result of all that was queued before", async () => {
	using ones = Tensor.from<"float32", 2>(device, "float32", [300, 300], Array(9e4).fill(1));
	const reading = new Reading();
	const seen: number[] = [];
	for (let i = 0; i < 5; i++) {
		const product = linear(ones, ones);
		reading.after(device, () => {
			seen.push(product.readNow()[9e4 - 1]);
			product.dispose();
		});
	}
	const early = seen.length; // before an assertion's first call, which may let other tasks run
	await reading.finish();
	assertEquals([early, seen], [0, Array(5).fill(300)]);
});

deviceTest("a reading that fails is told by finish() and ends nothing else", async () => {
	const reading = new Reading();
	let others = 0;
	reading.after(device, () => {
		throw new Error("of the reader");
	});
	reading.after(device, () => others++);
	await new Promise((resolve) => setTimeout(resolve, 20)); // an unhandled rejection would show here
	await assertRejects(() => reading.finish(), Error, "of the reader");
	assertEquals(others, 1);
});

deviceTest("nothing to read is done at once", () => new Reading().finish());
