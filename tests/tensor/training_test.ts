// Training steps as a user writes them: the loss falls, memory is the same after every step, and two runs give the
// same bits, with checkpointing too.

import { assert, assertEquals } from "@std/assert";
import {
	checkpoint,
	crossEntropy,
	dropout,
	Generator,
	layerNorm,
	linear,
	noGrad,
	normal,
	scope,
	Tensor,
	uniform,
} from "../../mod.ts";
import { add, addInPlace, mul } from "../../src/tensor/arithmetic.ts";
import { gelu } from "../../src/tensor/activation.ts";
import { device, deviceTest } from "./on_device.ts";

const ROWS = 48, IN = 20, HIDDEN = 33, CLASSES = 5, STEPS = 30;

/** A residual network of one block, trained on classes that a random line tells apart. */
function train(wrap: typeof checkpoint | null) {
	const generator = new Generator(5);
	const parameter = (...shape: [number, number]) =>
		scope(() => mul(normal(shape, { generator }), shape[1] ** -0.5)).requireGrad();
	using up = parameter(HIDDEN, IN), down = parameter(IN, HIDDEN), head = parameter(CLASSES, IN);
	using gain = uniform([IN], { generator }).requireGrad();
	using x = normal([ROWS, IN], { generator });
	using targets = Tensor.from<"int32", 1>(
		device,
		"int32",
		[ROWS],
		Array.from(x.dataSync().filter((_, i) => i % IN === 0), (value) => value > 0 ? 1 : 3),
	);
	const parameters = [up, down, head, gain];
	const block = (x: Tensor<"float32", 2>) =>
		scope(() => {
			const hidden = dropout(gelu(linear(layerNorm(x, gain), up)), 0.1, { generator });
			return add(x, linear(hidden, down));
		});
	const losses: number[] = [], live: number[] = [], peaks: number[] = [];
	for (let step = 0; step < STEPS; step++) {
		device.resetPeak();
		const before = device.liveBytes;
		scope(`step ${step}`, () => {
			const h = wrap ? wrap(block, x) : block(x);
			const loss = crossEntropy(linear(h, head), targets);
			losses.push(loss.dataSync()[0]!);
			loss.backward();
			noGrad(() => {
				for (const p of parameters) addInPlace(p, mul(p.grad!, -0.5));
			});
		});
		for (const p of parameters) p.zeroGrad();
		live.push(device.liveBytes);
		peaks.push(device.peakBytes - before);
	}
	return {
		losses,
		live,
		peak: Math.max(...peaks),
		weights: parameters.flatMap((p) => Array.from(p.dataSync())),
	};
}

deviceTest("the loss falls, and no step leaves memory behind", () => {
	const { losses, live } = train(null);
	assert(losses.at(-1)! < losses[0]! / 3, losses.map((loss) => loss.toFixed(3)).join(" "));
	assertEquals(new Set(live).size, 1, live.join(" "));
});

deviceTest("two runs give the same bits, and so does checkpointing", () => {
	const first = train(null), second = train(null), kept = train(checkpoint);
	assertEquals(second.losses, first.losses);
	assertEquals(second.weights, first.weights);
	assertEquals(kept.losses, first.losses);
	assertEquals(kept.weights, first.weights);
});

deviceTest("checkpointing lowers the peak of a deep network", () => {
	using x = normal([64, 64]).requireGrad();
	const layer = (x: Tensor<"float32", 2>) => scope(() => gelu(gelu(gelu(gelu(x)))));
	const peak = (wrap: (x: Tensor<"float32", 2>) => Tensor<"float32", 2>) => {
		device.resetPeak();
		const before = device.liveBytes;
		scope(() => {
			let h: Tensor<"float32", 2> = x;
			for (let i = 0; i < 8; i++) h = wrap(h);
			h.backward({ gradient: x.detach() });
		});
		x.zeroGrad();
		return device.peakBytes - before;
	};
	const [all, some] = [peak(layer), peak((x) => checkpoint(layer, x))];
	assert(some < all / 2, `${some} bytes with checkpointing, ${all} without`);
});
