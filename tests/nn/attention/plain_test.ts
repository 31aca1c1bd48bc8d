// The fused attention against its composition from tensor operations: values, sums and gradients, for windows,
// slopes, both directions, batches, grouped heads, and queries that are the last of more positions.

import { assert, assertEquals } from "@std/assert";
import { abs, grad, matmul, scope, sigmoid, Tensor } from "../../../mod.ts";
import { attentionMaps, plainAttention } from "../../../src/nn/attention/plain.ts";
import { attentionNamed } from "../../../src/nn/attention/registry.ts";
import {
	type AttentionOptions,
	type Heads,
	softmaxAttention,
	softmaxAttentionWithSums,
	weightedAttention,
} from "../../../src/nn/attention/softmax_attention.ts";
import { cast } from "../../../src/tensor/cast.ts";
import { contiguous } from "../../../src/tensor/contiguous.ts";
import {
	device,
	deviceTest,
	difference,
	normal,
	random,
	withSeed,
} from "../../tensor/on_device.ts";

interface Sizes {
	batch: number;
	kv: number;
	group: number;
	queries: number;
	keys: number;
	d: number;
}

type Both = "float32" | "bfloat16";
/** Of the largest value; bfloat16 rounds weights and results at 2⁻⁹, and gradients of scores before a sum. */
const TOLERANCE = { float32: 2e-5, bfloat16: 3e-2 };

const tensor = <R extends number>(shape: number[], deviation = 1) =>
	Tensor.from<"float32", R>(
		device,
		"float32",
		shape as unknown as readonly number[] & { readonly length: R },
		normal(shape.reduce((a, b) => a * b), deviation),
	);

function randomHeads({ batch, kv, group, queries, keys, d }: Sizes, dtype: Both): Heads {
	const of = <R extends number>(shape: number[]) => {
		const x = tensor<R>(shape, 1.3);
		return dtype === "float32" ? x : cast(x, "bfloat16");
	};
	return {
		q: of<4>([batch * kv, queries, group, d]),
		k: of<3>([batch * kv, keys, d]),
		v: of<3>([batch * kv, keys, d]),
	};
}

/** Gradients of Σ y · upstream with respect to queries, keys and values. */
function gradients(heads: Heads, f: (heads: Heads) => Tensor, upstream: Tensor<"float32">) {
	const loss = (q: Tensor, k: Tensor, v: Tensor) => {
		const y = f({ q, k, v } as Heads);
		const exact = y.dtype === "float32" ? y : cast(y as Tensor<"bfloat16">, "float32");
		return (exact as Tensor<"float32">).mul(upstream).reshape([upstream.size]).mul(1);
	};
	const total = (q: Tensor, k: Tensor, v: Tensor) => {
		const terms = loss(q, k, v) as Tensor<"float32", 1>;
		const ones = Tensor.from<"float32", 2>(
			device,
			"float32",
			[terms.shape[0], 1],
			new Float32Array(terms.shape[0]).fill(1),
		);
		return matmul(terms.reshape([1, terms.shape[0]]), ones).reshape([]);
	};
	return grad(total as never)(heads.q as never, heads.k as never, heads.v as never) as Tensor[];
}

const numbers = (x: Tensor) =>
	(x.dtype === "float32" ? x : cast(x as Tensor<"bfloat16">, "float32")).dataSync() as Float32Array;

function compare(what: string, actual: Tensor, expected: Tensor, tolerance: number): void {
	assertEquals([...actual.shape], [...expected.shape], what);
	const { largest } = difference(numbers(actual), numbers(expected));
	assert(largest <= tolerance, `${what}: off by ${largest}`);
}

const SIZES: Sizes[] = [
	{ batch: 1, kv: 1, group: 1, queries: 1, keys: 1, d: 4 },
	{ batch: 2, kv: 2, group: 2, queries: 33, keys: 33, d: 8 },
	{ batch: 3, kv: 1, group: 3, queries: 17, keys: 17, d: 6 },
	{ batch: 1, kv: 2, group: 1, queries: 300, keys: 300, d: 16 },
	{ batch: 2, kv: 1, group: 2, queries: 5, keys: 140, d: 8 },
];
const OPTIONS: Record<string, Omit<AttentionOptions, "slopes"> & { sloped?: boolean }> = {
	"causal": {},
	"both directions": { causal: false },
	"a window of 7": { window: 7 },
	"ALiBi": { sloped: true },
	"ALiBi and a scale, both directions": { causal: false, sloped: true, scale: 0.7 },
};

for (const dtype of ["float32", "bfloat16"] as const) {
	for (const [name, { sloped, ...some }] of Object.entries(OPTIONS)) {
		deviceTest(`fused attention is the plain one: ${name}, ${dtype}`, () => {
			for (const sizes of SIZES) {
				scope(() => {
					const heads = randomHeads(sizes, dtype), { batch, kv, group } = sizes;
					const slopes = sloped ? tensor<1>([kv * group], 0.3) : null;
					const options = { batch, ...some, slopes };
					const what = `${name} ${JSON.stringify(sizes)}`, tolerance = TOLERANCE[dtype];
					const expected = plainAttention(heads, options);
					compare(what, softmaxAttention(heads, options), expected, tolerance);
					const upstream = tensor([...expected.shape]);
					const wanted = gradients(heads, (given) => plainAttention(given, options), upstream);
					const got = gradients(heads, (given) => softmaxAttention(given, options), upstream);
					for (const [i, gradient] of got.entries()) {
						if (sizes.keys === 1 && i < 2) continue; // 0, but for roundings
						compare(`${what}: gradient ${"qkv"[i]}`, gradient, wanted[i]!, 2 * tolerance);
					}
				});
			}
		});
	}
}

deviceTest("the sums are those of the logits, and gradients flow through them", () => {
	for (const sizes of SIZES.slice(1, 4)) {
		scope(() => {
			const heads = randomHeads(sizes, "float32"), { batch, keys, group, kv, queries } = sizes;
			// A key at 0 with value 0 beside the others: the rest is divided by 1 + Σ exp.
			const less = (given: Heads) => {
				const { context, logSums } = softmaxAttentionWithSums(given, { batch });
				const share = sigmoid(logSums).reshape([batch, kv, queries, group]).permute([0, 2, 1, 3]);
				const shares = contiguous(share).reshape([batch * queries, kv * group, 1]);
				return context.reshape([batch * queries, kv * group, sizes.d]).mul(shares);
			};
			const padded = (given: Heads) => {
				const zero = Tensor.zeros<"float32", 3>(device, "float32", [batch * kv, queries, group]);
				const { logSums } = softmaxAttentionWithSums(given, { batch });
				const sum = sigmoid(logSums.sub(zero));
				const maps = attentionMaps(given, { batch }).mul(
					sum.reshape([batch * kv, queries, group, 1]),
				);
				const y = matmul(
					maps.reshape([batch * kv, queries * group, keys]),
					given.v as Tensor<"float32", 3>,
				);
				const byToken = y.reshape([batch, kv, queries, group, sizes.d]).permute([0, 2, 1, 3, 4]);
				return contiguous(byToken).reshape([batch * queries, kv * group, sizes.d]);
			};
			const expected = padded(heads);
			compare("softmax of one more", less(heads), expected, 2e-5);
			const upstream = tensor([...expected.shape]);
			const wanted = gradients(heads, padded, upstream), got = gradients(heads, less, upstream);
			for (const [i, gradient] of got.entries()) {
				compare(`gradient ${"qkv"[i]}`, gradient, wanted[i]!, 5e-5);
			}
		});
	}
});

deviceTest("sigmoid attention is sigmoid(q·kᵀ + b) · v over the keys before", () => {
	for (const sizes of SIZES) {
		scope(() => {
			const heads = randomHeads(sizes, "float32"), { batch, kv, group, queries, keys, d } = sizes;
			const bias = -Math.log(7);
			const plain = (given: Heads) => {
				const folded = batch * kv, q = given.q.reshape([folded, queries * group, d]);
				const logits = matmul(
					q as Tensor<"float32", 3>,
					(given.k as Tensor<"float32", 3>).transpose(),
				)
					.mul(1 / Math.sqrt(d));
				const mask = Tensor.from<"float32", 3>(
					device,
					"float32",
					[1, queries * group, keys],
					Float32Array.from({ length: queries * group * keys }, (_, at) => {
						const query = Math.floor(at / keys / group) + keys - queries;
						return Number(at % keys <= query);
					}),
				);
				const y = matmul(sigmoid(logits.add(bias)).mul(mask), given.v as Tensor<"float32", 3>);
				const byToken = y.reshape([batch, kv, queries, group, d]).permute([0, 2, 1, 3, 4]);
				return contiguous(byToken).reshape([batch * queries, kv * group * d]);
			};
			const fused = (given: Heads) => weightedAttention(given, { batch }, ["sigmoid", bias]);
			const expected = plain(heads);
			compare("sigmoid", fused(heads), expected, 2e-5);
			const upstream = tensor([...expected.shape]);
			const wanted = gradients(heads, plain, upstream), got = gradients(heads, fused, upstream);
			for (const [i, gradient] of got.entries()) {
				compare(`gradient ${"qkv"[i]}`, gradient, wanted[i]!, 5e-5);
			}
		});
	}
});

deviceTest("gradients are the same bits each time", () => {
	scope(() => {
		const sizes = { batch: 3, kv: 2, group: 2, queries: 129, keys: 129, d: 8 };
		const heads = randomHeads(sizes, "bfloat16"), upstream = tensor([3 * 129, 32]);
		const run = () =>
			gradients(heads, (given) => softmaxAttention(given, { batch: 3 }), upstream).map(numbers);
		const first = run();
		for (let i = 0; i < 3; i++) assertEquals(run(), first);
		assert(random() < 1);
	});
});

// An attention that is asked for maps is composed from tensor operations.
for (const name of ["clipped-softmax", "sigmoid", "softpick"]) {
	for (const [options, { sloped, ...some }] of Object.entries(OPTIONS)) {
		deviceTest(`fused ${name} is the composed one: ${options}`, () => {
			// Of one seed: where a gradient jumps, roundings may put a logit on either side.
			const compareAll = () =>
				SIZES.forEach((sizes) =>
					scope(() => {
						const heads = randomHeads(sizes, "float32"), { batch, kv, group, queries } = sizes;
						const slopes = sloped ? abs(tensor<1>([kv * group], 0.3)) : null;
						const attend = (maps?: () => void) => (given: Heads) =>
							attentionNamed(name).attend(
								{
									heads: given,
									input: given.v as never,
									batch,
									contextLength: 4,
									...some,
									slopes,
									maps,
								},
								{},
							);
						const plain = attend(() => {}), fused = attend();
						const expected = plain(heads);
						compare(name, fused(heads), expected, 2e-5);
						const upstream = tensor([batch * queries, expected.shape[1]]);
						const wanted = gradients(heads, plain, upstream);
						const got = gradients(heads, fused, upstream);
						for (const [i, gradient] of got.entries()) {
							if (sizes.keys === 1 && i < 2) continue; // 0, but for roundings
							compare(`${name}: gradient ${"qkv"[i]}`, gradient, wanted[i]!, 5e-5);
						}
					})
				);
			withSeed(5, compareAll);
		});
	}
}
