// Checkpointing: the same gradients with less memory kept, random numbers included.

import { assertEquals } from "@std/assert";
import { checkpoint, defineOp, grad, noGrad, scope, type Tensor } from "../../../mod.ts";
import { noteAdvance } from "../../../src/tensor/autograd/recording.ts";
import { device, deviceTest } from "../on_device.ts";
import { leaf, times, total, type Values, values, vector } from "./plain_ops.ts";

let runs = 0;
/** x · w · x · w · x, with four products saved. */
function block(x: Values, w: Values): Values {
	runs++;
	return scope(() => times(times(times(times(x, w), x), w), x));
}

deviceTest("gradients of arguments and of captured tensors are those without it", () => {
	using x = leaf(1, 2, 3);
	using w = leaf(0.5, 2, -1);
	scope(() => total(block(block(x, w), w)).backward());
	const expected = [values(x.grad), values(w.grad)];
	x.zeroGrad();
	w.zeroGrad();
	runs = 0;
	scope(() => {
		const kept = checkpoint((x) => block(x, w), x);
		total(checkpoint((x) => block(x, w), kept)).backward();
	});
	assertEquals([values(x.grad), values(w.grad)], expected);
	assertEquals(runs, 4);
});

deviceTest("what the function computes on its way is not kept", () => {
	using x = leaf(1, 2, 3);
	using w = leaf(0.5, 2, -1);
	const before = device.liveBytes;
	using kept = checkpoint((x) => block(x, w), x);
	assertEquals(device.liveBytes, before + 12);
	using all = block(x, w);
	assertEquals(device.liveBytes, before + 12 + 4 * 12); // three products are saved
	void [kept, all];
});

deviceTest("checkpoints in checkpoints, and captured tensors that derive from others", () => {
	using x = leaf(1, 2);
	using w = leaf(3, 4);
	const run = (maybe: (f: (x: Values) => Values, x: Values) => Values) =>
		scope(() => {
			const square = times(w, w);
			const outer = maybe(
				(x: Values) => times(maybe((y: Values) => times(times(y, square), w), x), times(square, x)),
				x as Values,
			);
			total(outer).backward();
			const got = [values(x.grad), values(w.grad)];
			x.zeroGrad();
			w.zeroGrad();
			return got;
		});
	assertEquals(run(checkpoint), run((f, x) => f(x)));
});

deviceTest("a generator is put back for the second run, and then goes on", () => {
	const generator = { state: 5 as unknown };
	const scaled = defineOp("scaled", (x: Values) => {
		noteAdvance(generator);
		const factor = generator.state as number;
		generator.state = factor + 1;
		return {
			result: times(x, vector(factor, factor)),
			inputs: [x],
			backward: (gradient) => [times(gradient, vector(factor, factor))],
		};
	});
	using x = leaf(1, 2);
	scope(() => {
		const y = checkpoint((x) => scaled(scaled(x)), x);
		scaled(x);
		total(y).backward();
	});
	assertEquals(values(x.grad), [30, 30]);
	assertEquals(generator.state, 8);
});

deviceTest("without recording, the function just runs", () => {
	using x = leaf(1, 2);
	runs = 0;
	using y = noGrad(() => checkpoint((x) => times(x, x), x));
	assertEquals(y.requiresGrad, false);
	scope(() => {
		const [slope] = grad((x: Tensor<"float32", 1>) => total(checkpoint((x) => times(x, x), x)))(x);
		assertEquals(values(slope), [2, 4]);
	});
});
