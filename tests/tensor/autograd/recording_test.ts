// What is recorded: nothing in noGrad(), nothing that derives from no leaf.

import { assertEquals, assertThrows } from "@std/assert";
import { copyInto, enableGrad, noGrad, scope } from "../../../mod.ts";
import { deviceTest } from "../on_device.ts";
import { leaf, times, total, values, vector } from "./plain_ops.ts";

deviceTest("operations in noGrad() are not recorded; enableGrad() undoes it", () => {
	using x = leaf(1, 2);
	scope(() => {
		assertEquals(times(x, x).requiresGrad, true);
		assertEquals(noGrad(() => times(x, x)).requiresGrad, false);
		assertEquals(noGrad(() => enableGrad(() => times(x, x))).requiresGrad, true);
		assertEquals(times(x, x).requiresGrad, true);
	});
});

deviceTest(
	"recording is as before also after an error, and asynchronous functions are refused",
	() => {
		using x = leaf(1);
		assertThrows(
			() =>
				noGrad(() => {
					throw new Error("planted");
				}),
			Error,
			"planted",
		);
		assertThrows(
			() => noGrad(() => Promise.reject(new Error("unseen"))),
			TypeError,
			"Cannot run an asynchronous function in noGrad",
		);
		using y = times(x, x);
		assertEquals(y.requiresGrad, true);
	},
);

deviceTest("no gradient flows through detach()", () => {
	using x = leaf(2, 3);
	scope(() => total(times(x, x.detach())).backward());
	assertEquals(values(x.grad), [2, 3]);
});

deviceTest("a tensor that takes part is not changed in place, but in noGrad()", () => {
	using x = leaf(1, 2);
	using other = vector(5, 6);
	assertThrows(() => copyInto(x, other), RangeError, "requires a gradient; do it in noGrad()");
	noGrad(() => copyInto(x, other));
	assertEquals(values(x), [5, 6]);
});
