// Gradients as values.

import { assertEquals, assertThrows } from "@std/assert";
import { grad, gradients, scope, type Tensor, valueAndGrad } from "../../../mod.ts";
import { device, deviceTest } from "../on_device.ts";
import { leaf, plus, times, total, values, vector } from "./plain_ops.ts";

type Vector = Tensor<"float32", 1>;

deviceTest("grad(f) is the gradient of f with respect to each argument, and nothing else", () => {
	using w = leaf(5, 6);
	using x = vector(1, 2);
	using y = vector(3, 4);
	const before = device.liveBytes;
	const slope = grad((x: Vector, y: Vector) => total(times(times(x, y), w)));
	const [dx, dy] = slope(x, y);
	assertEquals([values(dx), values(dy)], [[15, 24], [5, 12]]);
	assertEquals([w.grad, x.requiresGrad, x.grad], [null, false, null]);
	assertEquals(device.liveBytes, before + 16);
	dx!.dispose();
	dy!.dispose();
});

deviceTest("valueAndGrad(f) gives the value too; an argument that f does not use has none", () => {
	using x = vector(1, 2);
	using y = vector(3, 4);
	scope(() => {
		const { value, gradients } = valueAndGrad((x: Vector, _y: Vector) => total(times(x, x)))(x, y);
		assertEquals([values(value), values(gradients[0]), gradients[1]], [[5], [2, 4], null]);
		assertEquals(value.requiresGrad, false);
	});
});

deviceTest("gradients() reaches tensors between, and goes on from there", () => {
	using x = leaf(1, 2);
	scope(() => {
		const h = times(x, x), loss = total(plus(times(h, h), x)); // x⁴ + x
		const [dh, dx, none] = gradients(loss, [h, x, leaf(1)]);
		assertEquals([values(dh), values(dx), none], [[2, 8], [5, 33], null]);
		assertEquals(x.grad, null);
	});
});

deviceTest("an input that requires no gradient is refused", () => {
	using x = leaf(1);
	using y = vector(1);
	using loss = total(x);
	assertThrows(() => gradients(loss, [x, y]), RangeError, "input 1 requires none");
});
