// swapAxes: shapes and types; each element's place is the kernel test's.

import { assertEquals } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { swapAxes } from "../../src/tensor/swap_axes.ts";
import { bfloat16Bits, device, deviceTest } from "./on_device.ts";

deviceTest(
	"swapAxes exchanges the middle axes, rounds to bfloat16, and undoes itself",
	async () => {
		const data = Float32Array.from({ length: 2 * 3 * 4 * 5 }, (_, i) => i / 7);
		using x = Tensor.from<"float32", 4>(device, "float32", [2, 3, 4, 5], data);
		using y = swapAxes(x, "float32");
		assertEquals([...y.shape], [2, 4, 3, 5]);
		const at = (a: number, b: number, c: number, d: number) => data[((a * 3 + b) * 4 + c) * 5 + d];
		assertEquals((await y.data())[((1 * 4 + 2) * 3 + 0) * 5 + 4], at(1, 0, 2, 4));
		using again = swapAxes(y, "float32");
		assertEquals(await again.data(), data);
		using rounded = swapAxes(y, "bfloat16"); // back in the order of x
		assertEquals([...await rounded.data()], [...data].map(bfloat16Bits));
		using exact = swapAxes(rounded, "float32");
		assertEquals([...exact.shape], [2, 4, 3, 5]);
	},
);
