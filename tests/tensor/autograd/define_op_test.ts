// Operations of one's own: what is kept, freed and named.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { defineOp, scope, type Tensor } from "../../../mod.ts";
import { device, deviceTest } from "../on_device.ts";
import { leaf, times, total, type Values, values, vector } from "./plain_ops.ts";

deviceTest("temporary tensors are freed, the result and what is saved are not", () => {
	using x = leaf(2, 3);
	const temporaries: Tensor[] = [];
	const op = defineOp("op", (x: Values) => {
		const square = times(x, x), spare = times(x, square);
		temporaries.push(square, spare);
		return {
			result: times(square, x),
			inputs: [x],
			saved: [square],
			backward: (gradient, [square]) => {
				const three = vector(3, 3);
				temporaries.push(three);
				return [times(three, times(gradient, square))];
			},
		};
	});
	const before = device.liveBytes;
	using y = op(x);
	assertEquals(device.liveBytes, before + 16); // the result and `square`
	assertEquals(temporaries.map(({ disposed }) => disposed), [true, true]);
	assertThrows(() => temporaries[0]!.pointer, ReferenceError, "it was freed by the operation op");
	using sum = total(y);
	sum.backward();
	assertEquals(values(x.grad), [12, 27]);
	assert(temporaries.every(({ disposed }) => disposed));
	assertEquals(device.liveBytes, before + 8 + 4 + 8); // y, the sum and the gradient
});

deviceTest("without a leaf nothing is kept but the result", () => {
	using x = vector(1, 2);
	const before = device.liveBytes;
	using y = times(x, x);
	assertEquals(device.liveBytes, before + 8);
	assertEquals(y.requiresGrad, false);
});

deviceTest("an operation may return its input", () => {
	using x = leaf(1, 2);
	const same = defineOp("same", (x: Values) => ({
		result: x,
		inputs: [x],
		backward: (gradient) => [times(gradient, vector(2, 2))],
	}));
	scope(() => {
		const y = same(x);
		assert((y as Tensor) !== x);
		total(y).backward();
	});
	assertEquals(values(x.grad), [2, 2]);
});

deviceTest("what forward throws comes out, and nothing stays", () => {
	using x = leaf(1);
	const before = device.liveBytes;
	const op = defineOp("op", (x: Values) => {
		times(x, x);
		throw new RangeError("planted");
	});
	assertThrows(() => op(x), RangeError, "planted");
	assertEquals(device.liveBytes, before);
});
