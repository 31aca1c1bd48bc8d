// A small model that trains in milliseconds, made of tensor operations alone: embedding, a residual MLP with
// dropout, and the embedding as the output layer. As a program it trains in a folder, to be killed:
//
//   deno run -A toy.ts FOLDER STEPS INTERVAL [BYTES]
//
// with files limited to so many bytes for the last steps.

import {
	add,
	crossEntropy,
	Device,
	dropout,
	embedding,
	gelu,
	Generator,
	linear,
	normal,
	scope,
	type Tensor,
} from "../../../mod.ts";
import { cosine } from "../../../src/nn/optim/schedule.ts";
import { Probes } from "../../../src/nn/probe.ts";
import { copyTask } from "../../../src/nn/training/tasks.ts";
import { CheckpointFolder } from "../../../src/nn/training/checkpoint.ts";
import type { Trainable, TrainableLossOptions } from "../../../src/nn/training/trainable.ts";
import { train, type TrainOptions } from "../../../src/nn/training/trainer.ts";

const VOCABULARY = 64, WIDTH = 32, INNER = 48;
/** No sequence of the tasks begins with it. */
export const POISON = 63;

/** What is trained. */
export class Toy implements Trainable, Disposable {
	readonly parameters: ReadonlyMap<string, Tensor<"float32">>;
	/** Of its dropout. */
	readonly generator = new Generator(11);
	/** The tensor that is spoilt in batches of which a sequence begins with {@linkcode POISON}. */
	spoil: string | null = null;

	/** @param ballast numbers of a parameter that does nothing, so that writing a checkpoint takes its time */
	constructor(device: Device, ballast = 0) {
		const generator = new Generator(3);
		const make = (...shape: number[]) =>
			normal(shape, { std: 0.1, generator, device }).requireGrad();
		this.parameters = new Map([
			["embed.weight", make(VOCABULARY, WIDTH)],
			["layers.0.mlp.up.weight", make(INNER, WIDTH)],
			["layers.0.mlp.up.bias", make(INNER)],
			["layers.0.mlp.down.weight", make(WIDTH, INNER)],
			...ballast ? [["ballast", make(ballast)] as const] : [],
		]);
	}

	loss(
		inputs: Tensor<"int32", 2>,
		targets: Tensor<"int32", 2>,
		{ probes = [], training = true }: TrainableLossOptions,
	): Tensor<"float32", 0> {
		return scope(() => {
			const get = (name: string) => this.parameters.get(name)! as Tensor<"float32", 2>;
			const taps = new Probes(probes), count = inputs.shape[0] * inputs.shape[1];
			const poisoned = this.spoil !== null &&
				inputs.dataSync().some((id, i) => i % inputs.shape[1] === 0 && id === POISON);
			const seen = (name: string, x: Tensor<"float32", 2>, layer = 0) => {
				const y = poisoned && this.spoil === name ? x.mul(Infinity).sub(x.mul(Infinity)) : x;
				taps.emit(name, y, layer, 0);
				return y;
			};
			const h = seen("embed", embedding(inputs.reshape([count]), get("embed.weight")), -1);
			const bias = this.parameters.get("layers.0.mlp.up.bias") as Tensor<"float32", 1>;
			const inner = gelu(add(linear(h, get("layers.0.mlp.up.weight")), bias));
			const x = seen("mlp.down.input", inner as typeof h);
			const dropped = training ? dropout(x, 0.1, { generator: this.generator }) : x;
			const out = seen(
				"output",
				add(h, linear(dropped, get("layers.0.mlp.down.weight")) as typeof h),
			);
			if (poisoned && this.spoil === "gradient" && out.requiresGrad) {
				out.onGradient((gradient) => gradient.mul(Infinity));
			}
			const logits = linear(out, get("embed.weight"));
			return crossEntropy(logits as typeof h, targets.reshape([count]), { ignoreIndex: -1 });
		});
	}

	[Symbol.dispose](): void {
		for (const parameter of this.parameters.values()) parameter.dispose();
	}
}

/** Options of a run that takes a second. */
export function toyOptions(model: Toy | null, steps: number): TrainOptions {
	return {
		data: copyTask(),
		steps,
		batchSize: 8,
		tokens: 32,
		schedule: cosine({ peak: 1e-2, warmUp: 5, steps }),
		...model && { generator: model.generator },
	};
}

/** The bytes of all parameters as text, to compare runs by. */
export async function fingerprint(model: Toy): Promise<string> {
	const parts = await Promise.all([...model.parameters.values()].map((tensor) => tensor.data()));
	const bytes = parts.flatMap((part) => [...new Uint8Array(part.buffer)]);
	return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes))).toHex();
}

if (import.meta.main) {
	const [folder, steps, interval, limit] = Deno.args as [string, string, string, string?];
	const device = await Device.open();
	using model = new Toy(device, 2 ** 19);
	const result = await train(model, {
		...toyOptions(model, Number(steps)),
		accumulation: 2,
		checkpoints: { folder, interval: Number(interval), keep: 2 },
		resume: true,
		log: `${folder}.jsonl`,
		logInterval: 1,
		onProgress({ step, steps }) {
			if (limit === undefined || step !== steps - 5) return;
			new Deno.Command("prlimit", { args: ["--pid", `${Deno.pid}`, `--fsize=${limit}`] })
				.outputSync();
		},
	});
	console.log(
		result.finished,
		await fingerprint(model),
		(await new CheckpointFolder(folder).list()).length,
	);
}
