// Rotary positions of tensors of any rank, and their gradients, against the rotation in float64.

import { assertEquals, assertThrows } from "@std/assert";
import { Tensor } from "../../mod.ts";
import { rotary, type RotaryOptions } from "../../src/tensor/rotary.ts";
import { checkOp } from "./gradients.ts";
import { device, deviceTest, normal } from "./on_device.ts";

const CASES: [shape: number[], pairs: number, options: RotaryOptions][] = [
	[[3, 4], 2, {}],
	[[2, 5, 8], 4, { pairing: "adjacent" }],
	[[2, 3, 5, 33], 16, { first: 7 }],
	[[2, 5, 3, 8], 3, { axis: 1, pairing: "adjacent", first: 2 }],
	[[5, 3, 8], 4, { axis: 0 }],
	[[2, 0, 8], 4, {}],
];

for (const [shape, pairs, options] of CASES) {
	deviceTest(`features of [${shape}] turn in ${pairs} pairs, ${JSON.stringify(options)}`, () => {
		const { pairing = "halves", first = 0, axis = -2 } = options;
		const along = axis < 0 ? axis + shape.length : axis, tokens = shape[along]!;
		const positions = first + tokens + 1, d = shape.at(-1)!;
		const angles = normal(positions * pairs, 3);
		using cosine = Tensor.from<"float32", 2>(
			device,
			"float32",
			[positions, pairs],
			angles.map(Math.cos),
		);
		using sine = Tensor.from<"float32", 2>(
			device,
			"float32",
			[positions, pairs],
			angles.map(Math.sin),
		);
		const [c, s] = [cosine.dataSync(), sine.dataSync()];
		for (const dtype of ["float32", "bfloat16"] as const) {
			checkOp({
				name: `rotary of ${dtype}`,
				inputs: [{ shape, dtype }],
				op: (x) => rotary(x, { cosine, sine }, options),
				reference: ({ data }) => {
					const y = data.slice();
					const heads = shape.slice(along + 1, -1).reduce((a, b) => a * b, 1);
					for (let row = 0; row < data.length / d; row++) {
						const position = first + Math.floor(row / heads) % tokens;
						for (let i = 0; i < pairs; i++) {
							const [a, b] = (pairing === "halves" ? [i, i + pairs] : [2 * i, 2 * i + 1])
								.map((feature) => row * d + feature) as [number, number];
							const [cos, sin] = [c[position * pairs + i]!, s[position * pairs + i]!];
							y[a] = data[a]! * cos - data[b]! * sin;
							y[b] = data[b]! * cos + data[a]! * sin;
						}
					}
					return y;
				},
			});
		}
	});
}

deviceTest("a view is turned as what it shows", () => {
	const angle = [0.5, 1, 1.5, 2, 2.5, 3];
	using cosine = Tensor.from<"float32", 2>(device, "float32", [3, 2], angle.map(Math.cos));
	using sine = Tensor.from<"float32", 2>(device, "float32", [3, 2], angle.map(Math.sin));
	using x = Tensor.from<"float32", 2>(device, "float32", [4, 3], normal(12));
	using view = x.transpose();
	using dense = Tensor.from<"float32", 2>(device, "float32", [3, 4], view.dataSync());
	using y = rotary(view, { cosine, sine });
	using z = rotary(dense, { cosine, sine });
	assertEquals(y.dataSync(), z.dataSync());
});

deviceTest("angles that do not suffice are refused", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [3, 4]);
	using few = Tensor.zeros<"float32", 2>(device, "float32", [2, 2]);
	using many = Tensor.zeros<"float32", 2>(device, "float32", [3, 3]);
	using right = Tensor.zeros<"float32", 2>(device, "float32", [3, 2]);
	const before = device.liveBytes;
	const refused = (cosine: Tensor<"float32", 2>, sine = cosine, options: RotaryOptions = {}) =>
		assertThrows(() => rotary(x, { cosine, sine }, options), RangeError, "Cannot compute rotary");
	refused(few);
	refused(many);
	refused(right, many);
	refused(right, right, { first: 1 });
	refused(right, right, { first: -1 });
	refused(right, right, { axis: 1 });
	assertThrows(
		() => rotary(x, { cosine: few, sine: few }),
		RangeError,
		"they must be of 3 positions or more, and at most 2 pairs",
	);
	assertEquals(device.liveBytes, before);
});
