// Every attention against plain loops in float64, and its gradients against their central differences.

import { assertEquals, assertThrows } from "@std/assert";
import type { Tensor } from "../../../mod.ts";
import type { Attention, AttentionInputs } from "../../../src/nn/attention/attention.ts";
import { contextScaling } from "../../../src/nn/attention/context_scaling.ts";
import { gatedOutput } from "../../../src/nn/attention/gated_output.ts";
import { attentionNamed, attentions } from "../../../src/nn/attention/registry.ts";
import { sigmoidVariant } from "../../../src/nn/attention/sigmoid.ts";
import { checkOp, type Plain } from "../../tensor/gradients.ts";
import { deviceTest, normal } from "../../tensor/on_device.ts";
import { shapesOf, type Sizes, specsOf } from "./inputs.ts";

interface Options {
	causal?: boolean;
	window?: number;
	scale?: number;
}

/** One query of one head, in float64. */
interface Query {
	/** Logits of the keys it sees. */
	logits: number[];
	/** Their values. */
	values: Float64Array[];
	/** q */
	query: Float64Array;
	/** x of its token. */
	input: Float64Array;
	scale: number;
	head: number;
	heads: number;
	/** S */
	keys: number;
	/** What a parameter has for this head. */
	row: (name: string, width: number) => Float64Array;
	/** A parameter as it is. */
	all: (name: string) => Float64Array;
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
	Array.from(a).reduce((total, x, i) => total + x * b[i]!, 0);
const σ = (x: number) => 1 / (1 + Math.exp(-x));
const weighted = (weights: number[], values: Float64Array[]) =>
	values[0]!.map((_, c) => weights.reduce((total, w, j) => total + w * values[j]![c]!, 0));
const plus = (a: Float64Array, b: Float64Array, factor = 1) => a.map((x, c) => x + factor * b[c]!);
/** Softmax with more logits before it, which are dropped. */
function softmax(logits: number[], more: number[] = []): number[] {
	const all = [...more, ...logits], top = Math.max(...all);
	const total = all.reduce((total, z) => total + Math.exp(z - top), 0);
	return all.map((z) => Math.exp(z - top) / total);
}
const extraKey = (q: Query) => q.scale * dot(q.query, q.row("key_bias", q.query.length));
/** Softmax over [extra; logits] times [value; values]. */
function withKey(q: Query, extra: number, value?: Float64Array): Float64Array {
	const [p, ...rest] = softmax(q.logits, [extra]);
	const o = weighted(rest, q.values);
	return value ? plus(o, value, p) : o;
}
const plainSoftmax = (q: Query) => weighted(softmax(q.logits), q.values);
const by = (factor: number, o: Float64Array) => o.map((x) => factor * x);

const MANY = 6; // contextLength of the tests

/** What each attention makes of a query, by its formula. */
const REFERENCES: Record<string, (q: Query) => Float64Array> = {
	"softmax": plainSoftmax,
	"fixed-bias": (q) => plus(plainSoftmax(q), q.row("value_bias", q.query.length)),
	"context-bias": (q) => {
		const [p] = softmax(q.logits, [extraKey(q)]);
		return plus(plainSoftmax(q), q.row("value_bias", q.query.length), p);
	},
	"attention-bias": (q) => withKey(q, extraKey(q), q.row("value_bias", q.query.length)),
	"key-bias": (q) => withKey(q, extraKey(q)),
	"value-bias": (q) => withKey(q, 0, q.row("value_bias", q.query.length)),
	"context-scaling": (q) => {
		const u = dot(q.input, q.row("scale.weight", q.input.length)) + q.row("scale.bias", 1)[0]!;
		return by(2 * σ(u), plainSoftmax(q));
	},
	"sigmoid": (q) => weighted(q.logits.map((z) => σ(z - Math.log(MANY))), q.values),
	"softmax-n": (q) => {
		const total = q.logits.reduce((total, z) => total + Math.exp(z), 1);
		return weighted(q.logits.map((z) => Math.exp(z) / total), q.values);
	},
	"learned-sink": (q) => withKey(q, q.row("sink", 1)[0]!),
	"clipped-softmax": (q) => {
		const low = -12 / MANY;
		const clip = (p: number) => Math.min(1, Math.max(0, (1 - low) * p + low));
		return weighted(softmax(q.logits).map(clip), q.values);
	},
	"gated": (q) => {
		const width = q.input.length / q.heads;
		const slice = q.input.subarray(q.head * width, (q.head + 1) * width);
		return by(
			σ(dot(slice, q.row("gate.weight", width)) + q.row("gate.bias", 1)[0]!),
			plainSoftmax(q),
		);
	},
	"qwen-gate": (q) => by(σ(dot(q.input, q.row("gate.weight", q.input.length))), plainSoftmax(q)),
	"qwen-gate-elementwise": (q) =>
		plainSoftmax(q).map((x, c) => {
			const width = q.input.length, from = (q.head * q.query.length + c) * width;
			return x * σ(dot(q.input, q.all("gate.weight").subarray(from, from + width)));
		}),
	"value-gate": (q) => {
		const d = q.query.length, kv = Math.floor(q.head * q.all("gate.bias").length / q.heads);
		const w = q.all("gate.weight").subarray(kv * d, (kv + 1) * d), b = q.all("gate.bias")[kv]!;
		return weighted(softmax(q.logits), q.values.map((v) => by(σ(dot(v, w) + b), v)));
	},
	"softpick": (q) => {
		const terms = q.logits.map((z) => Math.exp(z) - 1);
		const divisor = terms.reduce((total, x) => total + Math.abs(x), 1e-8);
		return weighted(terms.map((x) => Math.max(0, x) / divisor), q.values);
	},
};

/** The whole attention by loops: [B·T, n·d]. */
function reference(
	each: (q: Query) => Float64Array,
	{ batch, kv, group, queries: T, keys: S, d, hidden }: Sizes,
	{ causal = true, window = Infinity, scale = 1 / Math.sqrt(d) }: Options,
	names: string[],
) {
	const heads = kv * group;
	return (q: Plain, k: Plain, v: Plain, x: Plain, ...parameters: Plain[]) => {
		const y = new Float64Array(batch * T * heads * d);
		const all = (name: string) => parameters[names.indexOf(name)]!.data;
		for (let b = 0; b < batch; b++) {
			for (let head = 0; head < heads; head++) {
				const folded = b * kv + Math.floor(head / group), at = head % group;
				const of = (x: Plain, j: number) =>
					x.data.subarray((folded * S + j) * d, (folded * S + j + 1) * d);
				for (let t = 0; t < T; t++) {
					const position = S - T + t, from = ((folded * T + t) * group + at) * d;
					const query = q.data.subarray(from, from + d);
					const seen = Array.from({ length: S }, (_, j) => j)
						.filter((j) => !causal || (j <= position && j > position - window));
					const token = b * T + t;
					const o = each({
						logits: seen.map((j) => scale * dot(query, of(k, j))),
						values: seen.map((j) => of(v, j)),
						query,
						input: x.data.subarray(token * hidden, (token + 1) * hidden),
						scale,
						head,
						heads,
						keys: S,
						row: (name, width) => all(name).subarray(head * width, (head + 1) * width),
						all,
					});
					y.set(o, (token * heads + head) * d);
				}
			}
		}
		return y;
	};
}

const SIZES: Sizes[] = [
	{ batch: 1, kv: 1, group: 1, queries: 1, keys: 1, d: 3, hidden: 4 },
	{ batch: 2, kv: 2, group: 2, queries: 5, keys: 5, d: 4, hidden: 8 },
	{ batch: 1, kv: 1, group: 3, queries: 3, keys: 7, d: 5, hidden: 6 },
];
const OPTIONS: Options[] = [{}, { causal: false, scale: 0.8 }, { window: 2 }];

/** The attention as a function of tensors: queries, keys, values, input and its parameters in order. */
function asFunction(attention: Attention, sizes: Sizes, more: Partial<AttentionInputs> = {}) {
	const names = specsOf(attention, sizes).map(({ name }) => name);
	return (q: Tensor, k: Tensor, v: Tensor, input: Tensor, ...parameters: Tensor[]) =>
		attention.attend(
			{
				heads: { q, k, v },
				input,
				batch: sizes.batch,
				contextLength: MANY,
				...more,
			} as unknown as AttentionInputs,
			Object.fromEntries(names.map((name, i) => [name, parameters[i]])) as never,
		) as Tensor;
}

function check(
	attention: Attention,
	each: (q: Query) => Float64Array,
	sizes: Sizes,
	options: Options,
	dtype: "float32" | "bfloat16",
): void {
	const specs = specsOf(attention, sizes), names = specs.map(({ name }) => name);
	const shapes = shapesOf(sizes);
	const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
	const data = shapes.map((shape) => normal(count(shape), 1.2));
	const byInput = asFunction(attention, sizes, options);
	// Gradients of x that an attention does not read are none at all.
	const reads = names.some((name) => /^(scale|gate)\.weight$/.test(name)) &&
		attention.name !== "value-gate";
	checkOp({
		name: `${attention.name} ${JSON.stringify({ ...sizes, ...options, dtype })}`,
		inputs: [
			...shapes.map((shape, i) => ({ shape, data: data[i]!, dtype, gradient: i < 3 || reads })),
			...specs.map(({ shape }) => ({ shape, data: normal(count(shape), 0.7) })),
		],
		op: byInput,
		reference: reference(each, sizes, options, names),
		tolerance: dtype === "float32" ? 2e-5 : 4e-2,
		// Of one key, the gradients of query and key are 0: what the terms of Σ w (dw - Σ w dw) leave.
		leastSize: 0.3,
	});
}

Deno.test("every attention has a name, under which it is found, and a formula here", () => {
	assertEquals(Object.keys(REFERENCES).sort(), Object.keys(attentions).sort());
	for (const name of Object.keys(attentions)) assertEquals(attentionNamed(name).name, name);
	assertThrows(() => attentionNamed("sigmoids"), RangeError, 'Cannot use attention "sigmoids"');
});

for (const [name, each] of Object.entries(REFERENCES)) {
	for (const dtype of ["float32", "bfloat16"] as const) {
		deviceTest(`${name} and its gradients are those of its formula, ${dtype}`, () => {
			for (const sizes of SIZES) {
				for (const options of OPTIONS) check(attentions[name]!(), each, sizes, options, dtype);
			}
		});
	}
}

deviceTest("options of scaling, gates and sigmoids are what they say", () => {
	const [, sizes] = SIZES,
		maps = {
			"sigmoid": σ,
			"1+tanh": (u: number) => 1 + Math.tanh(u),
			"exp": (u: number) => Math.min(4, Math.exp(u)),
		};
	for (const [map, f] of Object.entries(maps)) {
		check(
			contextScaling({ map: map as "exp" }),
			(q) => {
				const u = dot(q.input, q.row("scale.weight", q.input.length)) + q.row("scale.bias", 1)[0]!;
				return by(f(u), plainSoftmax(q));
			},
			sizes!,
			{},
			"float32",
		);
	}
	check(
		contextScaling({ granularity: "token" }),
		(q) =>
			by(2 * σ(dot(q.input, q.all("scale.weight")) + q.all("scale.bias")[0]!), plainSoftmax(q)),
		sizes!,
		{},
		"float32",
	);
	const ofHead = (q: Query, name: string, f: (u: number) => number) =>
		by(f(q.row(name, 1)[0]!), plainSoftmax(q));
	check(
		contextScaling({ granularity: "head" }),
		(q) => ofHead(q, "scale.bias", (u) => 2 * σ(u)),
		sizes!,
		{},
		"float32",
	);
	check(
		gatedOutput({ from: "constant" }),
		(q) => ofHead(q, "gate.bias", σ),
		sizes!,
		{},
		"float32",
	);
	check(
		gatedOutput({ from: "all" }),
		(q) => {
			const g = dot(q.input, q.row("gate.weight", q.input.length)) + q.row("gate.bias", 1)[0]!;
			return by(σ(g), plainSoftmax(q));
		},
		sizes!,
		{},
		"float32",
	);
	const sigmoids = (bias: (q: Query) => number) => (q: Query) =>
		weighted(q.logits.map((z) => σ(z + bias(q))), q.values);
	check(
		sigmoidVariant({ bias: "call" }),
		sigmoids((q) => -Math.log(q.keys)),
		sizes!,
		{},
		"float32",
	);
	check(sigmoidVariant({ bias: -0.5 }), sigmoids(() => -0.5), sizes!, {}, "float32");
	const query = sigmoids((q) => -Math.log(q.logits.length));
	for (const options of OPTIONS) {
		check(sigmoidVariant({ bias: "query" }), query, sizes!, options, "float32");
	}
});
