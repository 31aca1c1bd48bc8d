// What holds between attentions, the maps and sums that they hand out, and dropout of their weights.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Generator, grad, keep, scope, sum, Tensor } from "../../../mod.ts";
import type { Attention } from "../../../src/nn/attention/attention.ts";
import { clippedSoftmax } from "../../../src/nn/attention/clipped_softmax.ts";
import { contextScaling } from "../../../src/nn/attention/context_scaling.ts";
import { gatedOutput } from "../../../src/nn/attention/gated_output.ts";
import { attentionMaps, weighValues } from "../../../src/nn/attention/plain.ts";
import { attentionNamed, attentions } from "../../../src/nn/attention/registry.ts";
import { softmaxAttention } from "../../../src/nn/attention/softmax_attention.ts";
import { softmaxN } from "../../../src/nn/attention/softmax_n.ts";
import { cast } from "../../../src/tensor/cast.ts";
import { numbers } from "../../tensor/gradients.ts";
import { assertClose, device, deviceTest, normal } from "../../tensor/on_device.ts";
import { draw, LONG } from "./inputs.ts";

deviceTest("attentions with parameters that change nothing are softmax", () => {
	const nothing: [Attention, Record<string, number>, tolerance?: number][] = [
		[attentionNamed("fixed-bias"), { value_bias: 0 }],
		[attentionNamed("context-bias"), { value_bias: 0 }],
		[attentionNamed("context-scaling"), { "scale.weight": 0, "scale.bias": 0 }],
		[attentionNamed("learned-sink"), { sink: -1e30 }],
		[softmaxN({ n: 0 }), {}],
		[clippedSoftmax({ alpha: 0 }), {}, 2e-6],
		[attentionNamed("gated"), { "gate.weight": 0, "gate.bias": 100 }],
		[attentionNamed("value-gate"), { "gate.weight": 0, "gate.bias": 100 }],
	];
	for (const [attention, values, tolerance = 0] of nothing) {
		scope(() => {
			const { inputs, parameters } = draw(attention, LONG, values);
			const y = numbers(attention.attend(inputs, parameters));
			const softmax = numbers(softmaxAttention(inputs.heads, { batch: LONG.batch }));
			assertClose(y, softmax, tolerance, attention.name);
		});
	}
});

deviceTest("attentions are each other where theory says so", () => {
	scope(() => {
		const attend = (name: string, given: ReturnType<typeof draw>) =>
			numbers(attentionNamed(name).attend(given.inputs, given.parameters));
		const given = draw(attentionNamed("attention-bias"), LONG);
		const { inputs } = given, sinks = draw(attentionNamed("learned-sink"), LONG, { sink: 0 });
		// One more in the divisor is a sink at 0, and a key of zeros with the value 0.
		const one = numbers(softmaxN().attend(inputs, {}));
		assertClose(
			attend("learned-sink", { inputs, parameters: sinks.parameters }),
			one,
			1e-6,
			"sink 0",
		);
		const zeros = draw(attentionNamed("key-bias"), LONG, { key_bias: 0 }).parameters;
		assertClose(attend("key-bias", { inputs, parameters: zeros }), one, 1e-6, "a key of zeros");
		// What (d) takes from softmax is what (c) does not: (d) = (c) - p o.
		const c = attend("context-bias", given), d = attend("attention-bias", given);
		const softmax = numbers(softmaxAttention(inputs.heads, { batch: LONG.batch }));
		const without = attend("key-bias", given);
		const taken = softmax.map((o, i) => o - without[i]!);
		assertClose(d, c.map((x, i) => x - taken[i]!), 2e-6, "(d) = (c) - p o");
		// The first token sees itself alone.
		const first = numbers(inputs.heads.v).slice(0, LONG.d);
		assertClose(softmax.slice(0, LONG.d), first, 1e-6, "the first token");
		// A key that no query likes takes nothing.
		const none = draw(attentionNamed("learned-sink"), LONG, { sink: -200 }).parameters;
		assertClose(attend("learned-sink", { inputs, parameters: none }), softmax, 1e-6, "sink -200");
	});
});

deviceTest("softpick attends to nothing where no logit is above 0", () => {
	scope(() => {
		const softpick = attentionNamed("softpick"), { inputs } = draw(softpick, LONG);
		const positive = (x: Tensor) =>
			Tensor.from(device, "float32", x.shape, numbers(x).map((x) => Math.abs(x) + 0.1));
		const { q, k, v } = inputs.heads;
		const heads = { q: positive(q), k: positive(k).mul(-1), v } as unknown as typeof inputs.heads;
		assert(numbers(softpick.attend({ ...inputs, heads }, {})).every((x) => x === 0));
		assert(numbers(softpick.attend(inputs, {})).some((x) => x !== 0));
	});
});

for (const name of Object.keys(attentions)) {
	deviceTest(`${name} hands out the maps that its context is made of, and their sums`, () => {
		scope(() => {
			const sizes = { ...LONG, batch: 1, queries: 40, keys: 40 }, { kv, group, keys } = sizes;
			const attention = attentionNamed(name);
			// No value of its own, and gates that are open: the context is the maps' alone.
			const { inputs, parameters } = draw(attention, sizes, {
				value_bias: 0,
				"scale.weight": 0,
				"scale.bias": 0,
				"gate.bias": 100,
				...name.startsWith("qwen") || name === "gated" || name === "value-gate"
					? { "gate.weight": 0 }
					: {},
			});
			let maps: Tensor<"float32", 4> | undefined;
			const zeros = () => Tensor.zeros<"float32", 2>(device, "float32", [kv * group, keys]);
			const sums = zeros(), beside = zeros();
			const y = attention.attend({
				...inputs,
				cumulative: sums,
				maps: (given) => maps = keep(given.mul(1)),
			}, parameters);
			const handed = numbers(y);
			attention.attend({ ...inputs, cumulative: beside }, parameters);
			assertClose(numbers(beside), numbers(sums), 1e-5, "sums without maps");
			assert(maps, "no maps came");
			const factor = name.startsWith("qwen") ? 0.5 : 1;
			using kept = maps;
			const all = numbers(weighValues(kept, inputs.heads.v));
			assertClose(handed, all.map((x) => factor * x), 2e-6, "context of maps");
			const columns = numbers(sum(kept, 1)); // kv g S
			assertClose(numbers(sums), columns, 1e-6, "sums");
		});
	});
}

deviceTest(
	"dropout leaves out the same weights forward and backward, and as many as it should",
	() => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			scope(() => {
				const softmax = attentionNamed("softmax"), generator = new Generator(5), p = 0.3;
				// Values that are the unit vectors make the context the weights.
				const sizes = { ...LONG, d: 201 }, { inputs } = draw(softmax, sizes, {}, dtype);
				const folded = sizes.batch * sizes.kv, T = sizes.queries;
				const unit = Float32Array.from(
					{ length: folded * T * T },
					(_, at) => Number(Math.floor(at / T) % T === at % T),
				);
				const eye = Tensor.from<"float32", 3>(device, "float32", [folded, T, T], unit);
				const v = dtype === "float32" ? eye : cast(eye, dtype);
				const heads = { ...inputs.heads, v } as typeof inputs.heads, options = { batch: 2 };
				const whole = numbers(softmaxAttention(heads, options));
				const run = () => {
					generator.manualSeed(5);
					return softmaxAttention(heads, { ...options, dropout: { probability: p, generator } });
				};
				const dropped = numbers(run()), exact = dtype === "float32" ? 1e-5 : 1e-2;
				let gone = 0, all = 0;
				dropped.forEach((x, i) => {
					if (whole[i] === 0) return assertEquals(x, 0);
					all++;
					if (x === 0) gone++;
					else assert(Math.abs(x * (1 - p) - whole[i]!) <= exact * Math.abs(whole[i]!) + 1e-7);
				});
				assert(
					Math.abs(gone / all - p) < 6 * Math.sqrt(p * (1 - p) / all),
					`${gone} of ${all} gone`,
				);
				assertEquals(numbers(run()), dropped);
				// Two draws differ.
				const again = softmaxAttention(heads, {
					...options,
					dropout: { probability: p, generator },
				});
				assert(numbers(again).some((x, i) => x !== dropped[i]));

				// Gradients against the composition with this very mask.
				const mask = Float32Array.from(dropped, (x) => x === 0 ? 0 : 1 / (1 - p));
				const kept = Tensor.from<"float32", 5>(
					device,
					"float32",
					[2, T, sizes.kv, sizes.group, T],
					mask,
				).permute([0, 2, 1, 3, 4]).reshape([folded, T, sizes.group, T]);
				const upstream = Tensor.from<"float32", 2>(
					device,
					"float32",
					[2 * T, sizes.kv * sizes.group * T],
					normal(2 * T * sizes.kv * sizes.group * T),
				);
				const gradients = (f: (heads: typeof inputs.heads) => Tensor) =>
					grad(
						((q: Tensor, k: Tensor, v: Tensor) => {
							const y = f({ q, k, v } as unknown as typeof inputs.heads);
							const y32 = y.dtype === "float32" ? y : cast(y as Tensor<"bfloat16">, "float32");
							return sum((y32 as Tensor<"float32">).mul(upstream));
						}) as never,
					)(heads.q as never, heads.k as never, heads.v as never) as Tensor[];
				const wanted = gradients((heads) => {
					const maps = attentionMaps(heads, options).mul(kept) as Tensor<"float32", 4>;
					return weighValues(maps, heads.v, 2);
				});
				const got = gradients((heads) => {
					generator.manualSeed(5);
					return softmaxAttention(heads, { ...options, dropout: { probability: p, generator } });
				});
				got.forEach((gradient, i) =>
					assertClose(
						numbers(gradient),
						numbers(wanted[i]!),
						dtype === "float32" ? 2e-5 : 3e-2,
						`gradient ${"qkv"[i]} with dropout, ${dtype}`,
					)
				);
			});
		}
	},
);

deviceTest("every attention trains with dropout, the same for the same seed, to the bit", () => {
	for (const name of Object.keys(attentions)) {
		scope(() => {
			const attention = attentionNamed(name), { inputs, parameters } = draw(attention, LONG);
			const run = (seed: number) => {
				const dropout = { probability: 0.2, generator: new Generator(seed) };
				const [dq] = grad(
					((q: Tensor, k: Tensor, v: Tensor) =>
						sum(
							attention.attend({ ...inputs, heads: { q, k, v } as never, dropout }, parameters)
								.mul(0.5) as Tensor<"float32">,
						)) as never,
				)(
					inputs.heads.q as never,
					inputs.heads.k as never,
					inputs.heads.v as never,
				) as Tensor[];
				return numbers(dq!);
			};
			const first = run(1);
			assert(first.every(Number.isFinite), name);
			assertEquals(run(1), first, name);
			assert(run(2).some((x, i) => x !== first[i]), name);
		});
	}
});

Deno.test("options that make no sense are refused", () => {
	assertThrows(() => softmaxN({ n: -1 }), RangeError, "n = -1: it must be 0 or more");
	assertThrows(() => clippedSoftmax({ alpha: -1 }), RangeError, "alpha -1");
	assertThrows(() => gatedOutput({ open: 1 }), RangeError, "Cannot open gates by 1");
	assertThrows(() => contextScaling({ map: "cos" as "exp" }), RangeError, "scaling by cos");
});

deviceTest("a missing parameter and a wrong dropout are named, and nothing is left behind", () => {
	scope(() => {
		const scaling = attentionNamed("context-scaling"), { inputs } = draw(scaling, LONG);
		const before = device.liveBytes;
		assertThrows(() => scaling.attend(inputs, {}), RangeError, "parameter scale.weight is missing");
		const dropout = { probability: 1 };
		assertThrows(() => scaling.attend({ ...inputs, dropout }, {}), RangeError, "dropout is 1");
		assertEquals(device.liveBytes, before);
	});
});
