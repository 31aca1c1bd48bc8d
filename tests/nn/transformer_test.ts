// What every family shares, on the tiny checkpoints of tests/fixtures/families: the loss of a batch is that of its
// sequences, its gradients are slopes of it, and bfloat16 stays near float32.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { loadModel, noGrad, scope, Tensor, type Transformer } from "../../mod.ts";
import { addInPlace } from "../../src/tensor/arithmetic.ts";
import { device, deviceTest, difference, normal, random, seed } from "../tensor/on_device.ts";

const folder = new URL("../fixtures/families", import.meta.url).pathname;
const names = [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory)
	.map(({ name }) => name).sort();
const withLogits = names.filter((name) => !name.startsWith("bert"));

const TOKENS = 11; // more than Mistral's window

/** A batch of two sequences and what follows each token; one target is left out. */
function batch(vocabularySize: number) {
	const draw = () => Math.floor(random() * vocabularySize);
	const sequences = [0, 1].map(() => Array.from({ length: TOKENS }, draw));
	const targets = [0, 1].map(() => Array.from({ length: TOKENS }, draw));
	targets[1]![4] = -1;
	const matrix = (rows: number[][]) =>
		Tensor.from<"int32", 2>(device, "int32", [2, TOKENS], rows.flat());
	return { sequences, targets, inputs: matrix(sequences), wanted: matrix(targets) };
}

for (const name of withLogits) {
	deviceTest(`${name}'s loss of a batch is the mean over its tokens`, async () => {
		using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
		const { sequences, targets, inputs, wanted } = batch(model.config.vocabularySize);
		using _inputs = inputs, _wanted = wanted;
		let sum = 0;
		for (const [i, h] of (await model.forward(sequences)).entries()) {
			using hidden = h;
			using losses = model.tokenLosses(hidden, targets[i]!.map((target) => Math.max(target, 0)));
			const each = await losses.data();
			sum += each.reduce((total, loss, t) => targets[i]![t] === -1 ? total : total + loss, 0);
		}
		using loss = noGrad(() => model.loss(inputs, wanted));
		assertAlmostEquals(loss.item(), sum / (2 * TOKENS - 1), 1e-5);
		using rounded = noGrad(() => model.loss(inputs, wanted, { dtype: "bfloat16" }));
		assertAlmostEquals(rounded.item() / loss.item(), 1, 0.03);
	});
}

/** θ += factor · direction. */
function move(parameter: Tensor, direction: Float32Array<ArrayBuffer>, factor: number): void {
	scope(() => {
		const step = Tensor.from<"float32", number>(
			device,
			"float32",
			parameter.shape,
			direction.map((x) => factor * x),
		);
		noGrad(() => addInPlace(parameter as Tensor<"float32">, step));
	});
}

/**
 * How far parameters move along normally distributed directions, the first that fits: a kink of ReLU, an edge of
 * clipping or a change of experts between both ends is rarer the nearer they are.
 */
const STEPS = [2e-3, 5e-4, 1e-4];

/** The parameters whose gradients are not the slopes of the loss of some batch. */
function misfits(model: Transformer): string[] {
	const { inputs, wanted } = batch(model.config.vocabularySize);
	using _inputs = inputs, _wanted = wanted;
	using loss = model.loss(inputs, wanted);
	loss.backward();
	const found: string[] = [];
	for (const [key, parameter] of model.parameters) {
		// An expert that no token of the batch goes to has none, and then no slope either.
		assert(parameter.grad || key.includes("experts"), `${key} has no gradient`);
		const gradient = parameter.grad?.dataSync() as Float32Array | undefined ??
			new Float32Array(parameter.size);
		const direction = normal(gradient.length);
		const at = (step: number) => {
			move(parameter, direction, step);
			using moved = noGrad(() => model.loss(inputs, wanted));
			move(parameter, direction, -step);
			return moved.item();
		};
		const expected = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0);
		const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
		const fits = (step: number) => {
			const slope = (at(step) - at(-step)) / (2 * step);
			// Curvature, and losses that are rounded at 5e-7.
			return Math.abs(slope - expected) <= 0.03 * norm + 1e-6 / step;
		};
		if (!STEPS.some(fits)) found.push(key);
	}
	for (const parameter of model.parameters.values()) parameter.zeroGrad();
	return found;
}

for (const name of withLogits) {
	deviceTest(`${name}'s gradients are the slopes of its loss`, async () => {
		using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
		for (const parameter of model.parameters.values()) parameter.requireGrad();
		let wrong = misfits(model);
		// A batch may lie on a kink, of ReLU one in twelve for some parameter; a gradient that is wrong is so for others too.
		for (let again = 0; again < 3 && wrong.length > 0; again++) {
			const found = misfits(model);
			wrong = wrong.filter((key) => found.includes(key));
		}
		assertEquals(wrong, [], `seed ${seed}`);
	});
}

for (const name of names) {
	deviceTest(`${name} in bfloat16 stays near float32`, async () => {
		const { sequences, inputs, wanted } = batch(61);
		using _inputs = inputs, _wanted = wanted;
		using streamed = await loadModel(`${folder}/${name}`);
		using resident = await loadModel(`${folder}/${name}`, { resident: "bfloat16" });
		const run = async (model: Transformer, dtype: "float32" | "bfloat16") => {
			const hidden = await model.forward(sequences, { dtype });
			return hidden.flatMap((h) => {
				using last = h;
				return Array.from({ length: TOKENS }, (_, t) => {
					using token = last.slice(t, t + 1);
					return token.dataSync();
				});
			});
		};
		const exact = await run(streamed, "float32");
		for (const model of [streamed, resident]) {
			const errors = (await run(model, "bfloat16"))
				.map((h, i) => difference(h, exact[i]!).norm).sort((a, b) => a - b);
			// Not all tokens: one whose experts are others is far off.
			const most = errors[Math.floor(0.7 * errors.length)]!;
			assert(most > 1e-4 && most < 0.04, `most hidden states are off by ${most} (seed ${seed})`);
		}
	});
}

for (const name of ["gpt2", "llama", "mixtral", "mpt"]) {
	deviceTest(
		`${name}'s loss and gradients are the same bits with layers computed twice`,
		async () => {
			using model = await loadModel(`${folder}/${name}`, { resident: "float32" });
			for (const parameter of model.parameters.values()) parameter.requireGrad();
			const ids = Array.from({ length: 18 }, (_, i) => (i * i + 3) % model.config.vocabularySize);
			using inputs = Tensor.from<"int32", 2>(device, "int32", [2, 9], ids);
			const run = (checkpointing: boolean) => {
				using loss = model.loss(inputs, inputs, { checkpointing });
				loss.backward();
				const gradients = [...model.parameters.values()].map((parameter) => {
					const values = parameter.grad!.dataSync();
					parameter.zeroGrad();
					return values;
				});
				return [loss.item(), gradients];
			};
			assertEquals(run(true), run(false));
		},
	);
}
