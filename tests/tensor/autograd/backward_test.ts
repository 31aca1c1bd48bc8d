// The backward pass: that each gradient is complete before it goes on, accumulates, and costs no memory that stays.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { defineOp, scope, Tensor } from "../../../mod.ts";
import { device, deviceTest } from "../on_device.ts";
import { leaf, plus, scalar, times, total, type Values, values, vector } from "./plain_ops.ts";

deviceTest("gradients flow to every leaf by the chain rule", () => {
	using a = leaf(1, 2, 3);
	using b = leaf(4, 5, 6);
	scope(() => total(times(times(a, b), a)).backward()); // Σ a²b
	assertEquals(values(a.grad), [8, 20, 36]);
	assertEquals(values(b.grad), [1, 4, 9]);
});

deviceTest("a tensor used several times gets the sum of its gradients, once", () => {
	using x = leaf(2, 3);
	let calls = 0;
	const counted = defineOp("counted", (x: Values) => ({
		result: times(x, x),
		inputs: [x],
		saved: [x],
		backward: (gradient, [x]) => {
			calls++;
			return [times(gradient, plus(x, x))];
		},
	}));
	scope(() => {
		const y = counted(x); // x²
		total(plus(plus(y, times(y, y)), y)).backward(); // 2x² + x⁴
	});
	assertEquals(values(x.grad), [2 * 4 + 4 * 8, 3 * 4 + 4 * 27]);
	assertEquals(calls, 1);
});

deviceTest("gradients accumulate over passes until zeroGrad()", () => {
	using x = leaf(1, 2);
	for (let pass = 1; pass <= 3; pass++) {
		scope(() => total(times(x, x)).backward());
		assertEquals(values(x.grad), [2 * pass, 4 * pass]);
	}
	x.zeroGrad();
	assertEquals(x.grad, null);
	scope(() => total(x).backward());
	assertEquals(values(x.grad), [1, 1]);
});

deviceTest("a leaf's gradient is a tensor of its own", () => {
	using x = leaf(1, 2);
	using y = leaf(3, 4);
	using gradient = vector(5, 6);
	scope(() => plus(x, y).backward({ gradient }));
	gradient.dispose();
	scope(() => plus(x, x).backward({ gradient: vector(1, 1) }));
	assertEquals([values(x.grad), values(y.grad)], [[7, 8], [5, 6]]);
	assert(x.grad!.isContiguous);
});

deviceTest("a branch that leads to no leaf is not gone through", () => {
	using x = leaf(1, 2);
	const fails = defineOp("fails", (x: Values) => ({
		result: times(x, x),
		inputs: [x],
		backward: () => {
			throw new Error("not to be called");
		},
	}));
	scope(() => {
		const y = fails(vector(1, 2)); // requires no gradient
		assertEquals(y.requiresGrad, false);
		total(times(x, y)).backward();
	});
	assertEquals(values(x.grad), [1, 4]);
});

deviceTest("steps leave no memory behind, also those that go wrong or never go backward", () => {
	using w = leaf(1, 2, 3, 4);
	const wrong = defineOp("wrong", (x: Values) => ({
		result: times(x, x),
		inputs: [x],
		saved: [x],
		backward: (): never => {
			throw new Error("planted");
		},
	}));
	const step = () => {
		scope(() => total(times(times(w, w), w)).backward());
		scope(() => void times(times(w, w), w));
		assertThrows(() => scope(() => total(times(wrong(w), w)).backward()), Error, "planted");
		{ // without a scope
			using y = times(w, w);
			using z = times(y, y);
			y.dispose(); // the graph keeps what it needs
			using loss = total(z);
			loss.backward();
		}
		w.zeroGrad();
	};
	step();
	const before = device.liveBytes;
	for (let i = 0; i < 5; i++) step();
	assertEquals(device.liveBytes, before);
});

deviceTest(
	"what operations saved is freed during the pass, and kept for another on request",
	() => {
		using x = leaf(1, 2);
		using y = scope(() => total(times(x, x)));
		y.backward({ retainGraph: true });
		y.backward();
		assertEquals(values(x.grad), [4, 8]);
		assertThrows(
			() => y.backward(),
			ReferenceError,
			"Cannot go backward through total again: what it saved was freed by the first time; " +
				"give that one { retainGraph: true }",
		);
	},
);

deviceTest("a deep graph needs no deep stack", () => {
	using x = leaf(1);
	const same = defineOp("same", (x: Values) => ({
		result: x,
		inputs: [x],
		backward: (gradient) => [gradient],
	}));
	scope(() => {
		let y: Values = x;
		for (let i = 0; i < 20_000; i++) y = same(y);
		y.backward();
	});
	assertEquals(values(x.grad), [1]);
});

deviceTest("only a leaf's descendant of one element can start, unless a gradient is given", () => {
	using x = leaf(1, 2);
	using y = times(x, x);
	assertThrows(
		() => y.backward(),
		RangeError,
		"Cannot go backward from a tensor of shape [2]: it is not one number; reduce it first, or give { gradient }",
	);
	using short = vector(1);
	assertThrows(
		() => y.backward({ gradient: short }),
		RangeError,
		"the gradient of a float32 tensor of shape [2] has that dtype and shape, not float32 [1]",
	);
	using plain = vector(1);
	assertThrows(() => plain.backward(), RangeError, "requires no gradient");
	using one = scalar(3).requireGrad();
	one.backward();
	assertEquals(values(one.grad), [1]);
});

deviceTest("a gradient of another shape is refused with the operation's name", () => {
	using x = leaf(1, 2);
	const bad = defineOp("bad", (x: Values) => ({
		result: times(x, x),
		inputs: [x],
		backward: () => [vector(1, 2, 3)],
	}));
	assertThrows(
		() => scope(() => total(bad(x)).backward()),
		RangeError,
		"Cannot go backward through bad: the gradient of a float32 tensor of shape [2]",
	);
});

deviceTest("hooks see complete gradients and may change them", () => {
	using x = leaf(1, 2);
	const seen: (number[] | null)[] = [];
	const remove = x.onGradient((gradient) => {
		seen.push(values(gradient));
		return times(gradient, vector(10, 10)) as Tensor<"float32", 1>;
	});
	scope(() => {
		const y = times(x, x);
		y.onGradient((gradient) => void seen.push(values(gradient)));
		total(plus(y, y)).backward();
	});
	assertEquals(seen, [[2, 2], [4, 8]]);
	assertEquals(values(x.grad), [40, 80]);
	remove();
	scope(() => total(x).backward());
	assertEquals(values(x.grad), [41, 81]);
	using plain = vector(1);
	assertThrows(() => plain.onGradient(() => {}), RangeError, "the tensor requires none");
});

deviceTest("an operation with several results gets the gradient of each, or null", () => {
	using x = leaf(1, 2, 3);
	let got: (number[] | null)[] = [];
	const both = defineOp("both", (x: Values) => ({
		result: [times(x, x), plus(x, x)],
		inputs: [x],
		backward: (gradients: readonly (Values | null)[]) => {
			got = gradients.map(values);
			return [gradients.find((gradient) => gradient !== null)!];
		},
	}));
	scope(() => total(both(x)[1]!).backward());
	assertEquals(got, [null, [1, 1, 1]]);
	assertEquals(values(x.grad), [1, 1, 1]);
});

deviceTest("a tensor changed in place since it was saved is refused", () => {
	using x = leaf(1, 2);
	using other = vector(3, 4);
	using y = times(x, other);
	other.changed();
	assertThrows(
		() => y.backward({ gradient: other }),
		RangeError,
		"Cannot go backward through times: a float32 tensor of shape [2] that it saved was changed in place since",
	);
});

deviceTest("whole numbers have no gradient", () => {
	using ids = Tensor.from<"int32", 1>(device, "int32", [1], [1]);
	assertThrows(() => ids.requireGrad(), TypeError, "Cannot compute gradients of int32");
});
