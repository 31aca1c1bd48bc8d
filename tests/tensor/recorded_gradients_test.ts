// Results and gradients of operations against those of PyTorch, as tools/record_gradients.py recorded them.

import { assert, assertEquals, assertThrows } from "@std/assert";
import * as library from "../../mod.ts";
import { type DType, Tensor } from "../../mod.ts";
import { newData } from "../../src/tensor/dtype.ts";
import { root } from "../../tools/project.ts";
import { numbers } from "./gradients.ts";
import { device, deviceTest, fromBfloat16 } from "./on_device.ts";

interface Recorded {
	dtype: DType;
	shape: number[];
	/** Base64 of the elements. */
	data: string;
}

interface Case {
	op: string;
	// deno-lint-ignore no-explicit-any -- what the operation takes behind its tensors
	args: any[];
	inputs: Recorded[];
	results: Recorded[];
	/** Absent where only results were recorded; null for an input that has none. */
	gradients?: (Recorded | null)[];
}

const { cases } = JSON.parse(
	await Deno.readTextFile(`${root}/tests/fixtures/tensor_gradients.json`),
) as { cases: Case[] };

// deno-lint-ignore no-explicit-any -- operations take tensors of their own dtypes and ranks
type Operation = (...inputsAndArguments: any[]) => Tensor | readonly Tensor[];
const exported = library as unknown as Record<string, Operation | undefined>;
const { argmax, argmin, crossEntropy, layerNorm, linear, matmul, norm, rmsNorm, variance } =
	library;

const reduction =
	(name: "sum" | "mean" | "max" | "min" | "prod" | "std" | "logSumExp"): Operation =>
	(x, axes, keepDims) => exported[name]!(x, axes ?? undefined, { keepDims });

/** What is in order, and where it was. */
function ordered(result: unknown): Tensor[] {
	const { values, indices } = result as { values: Tensor; indices: Tensor };
	return [values, indices];
}

/** Operations that are not called with their tensors and then what was recorded as arguments. */
const ENTRIES: Record<string, Operation> = {
	sum: reduction("sum"),
	mean: reduction("mean"),
	max: reduction("max"),
	min: reduction("min"),
	prod: reduction("prod"),
	std: reduction("std"),
	logSumExp: reduction("logSumExp"),
	variance: (x, axes, keepDims, correction = 1) =>
		variance(x, axes ?? undefined, { keepDims, correction }),
	norm: (x, axes, keepDims, p = 2) =>
		norm(x, axes ?? undefined, { keepDims, p: p === "Infinity" ? Infinity : p }),
	argmax: (x, axis) => argmax(x, axis),
	argmin: (x, axis) => argmin(x, axis),
	matmul: (a, b, transposed) =>
		library.scope(() =>
			matmul(
				transposed === "transposeA" ? a.transpose() : a,
				transposed === "transposeB" ? b.transpose() : b,
			)
		),
	linear: (x, weight, bias) => linear(x, weight, bias ? { bias } : {}),
	layerNorm: (x, gain, bias, epsilon) => layerNorm(x, gain, { bias, epsilon }),
	rmsNorm: (x, gain, epsilon) => rmsNorm(x, gain, { epsilon }),
	crossEntropy: (logits, targets, reduction, labelSmoothing) =>
		crossEntropy(logits, targets, { reduction, labelSmoothing }),
	clamp: (x, min, max) => library.clamp(x, { min, max }),
	geluTanh: (x) => library.gelu(x, { approximate: "tanh" }),
	gegluTanh: (x) => library.geglu(x, { approximate: "tanh" }),
	swiglu: (x) => library.swiglu(x, x.dtype),
	quantile: (x, q, axes) => library.quantile(x, q, axes),
	topK: (x, k, axis) => ordered(library.topK(x, k, axis)),
	sort: (x, axis, order) => ordered(library.sort(x, axis, { descending: order === "descending" })),
	addRmsNorm: (x, branch, gain) => library.addRmsNorm(x, branch, gain),
	addLayerNorm: (x, branch, gain, bias) => library.addLayerNorm(x, branch, gain, { bias }),
	rotary: (x, cosine, sine, pairing) => library.rotary(x, { cosine, sine }, { pairing }),
	causalMask: (queries, keys, window) =>
		library.causalMask(queries, keys, window === null ? {} : { window }),
	mseLoss: (x, target, reduction) => library.mseLoss(x, target, { reduction }),
	binaryCrossEntropyWithLogits: (x, target, reduction) =>
		library.binaryCrossEntropyWithLogits(x, target, { reduction }),
	klDivergence: (x, target, reduction) => library.klDivergence(x, target, { reduction }),
	concatenate: (...given) => library.concatenate(given.slice(0, -1), given.at(-1)),
	stack: (...given) => library.stack(given.slice(0, -1), given.at(-1)),
};

const operation = (op: string): Operation | undefined => ENTRIES[op] ?? exported[op];

function decode({ dtype, data }: Recorded): ArrayLike<number> {
	const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
	const elements = newData(dtype, bytes.length / newData(dtype, 1).byteLength);
	new Uint8Array(elements.buffer).set(bytes);
	return elements;
}

const plain = (recorded: Recorded): number[] => {
	const elements = Array.from(decode(recorded));
	return recorded.dtype === "bfloat16" ? elements.map(fromBfloat16) : elements;
};

/** As in record_gradients.py. */
const element = (i: number) => ((i * 37 + 11) % 17 - 8) / 8;

/** Fails unless values agree; where a result was recorded for odd inputs, each is compared for itself. */
function assertNear(
	actual: Tensor,
	recorded: Recorded,
	{ each, coarse }: { each: boolean; coarse: boolean },
	what: string,
) {
	assertEquals([actual.dtype, [...actual.shape]], [recorded.dtype, recorded.shape], what);
	const expected = plain(recorded), values = numbers(actual);
	const finite = expected.filter(Number.isFinite).map(Math.abs);
	const largest = finite.reduce((a, b) => Math.max(a, b), 0);
	const tolerance = coarse ? 2 ** -6 : 1e-5;
	expected.forEach((e, i) => {
		const a = values[i]!;
		if (Object.is(a, e) || a === e) return;
		const size = each ? Math.abs(e) : largest;
		if (!(Math.abs(a - e) <= tolerance * size + 1e-37)) {
			throw new Error(`${what}: value ${i} is ${a}, PyTorch's ${e}, of size ${size}`);
		}
	});
}

/** Runs a recorded case with an operation; returns the elements of its results and gradients. */
function check({ op, args, inputs, results, gradients }: Case, run: Operation): unknown[] {
	const what = `${op}(${inputs.map(({ dtype, shape }) => `${dtype} [${shape}]`).join(", ")}; ${
		JSON.stringify(args)
	})`;
	const coarse = [...inputs, ...results].some(({ dtype }) => dtype === "bfloat16");
	const tensors = inputs.map((input, i) => {
		const tensor = Tensor.from<DType, number>(device, input.dtype, input.shape, decode(input));
		return gradients?.[i] ? tensor.requireGrad() : tensor;
	});
	const result = run(...tensors, ...args);
	const all = Array.isArray(result) ? result as Tensor[] : [result as Tensor];
	try {
		assertEquals(all.length, results.length, what);
		all.forEach((one, i) =>
			assertNear(one, results[i]!, { each: !gradients, coarse }, `${what}: result ${i}`)
		);
		const elements: unknown[] = all.map((one) => one.dataSync());
		if (!gradients) return elements;
		const differentiable = all.filter(({ isDifferentiable }) => isDifferentiable);
		differentiable.forEach((one, i) => {
			using start = library.tensor(Array.from({ length: one.size }, (_, i) => element(i)), {
				dtype: one.dtype,
			});
			using gradient = start.reshape(one.shape);
			one.backward({ gradient, retainGraph: i < differentiable.length - 1 });
		});
		tensors.forEach((tensor, i) => {
			const expected = gradients[i];
			if (!expected) return;
			assert(tensor.grad, `${what}: input ${i} got no gradient`);
			assertNear(tensor.grad, expected, { each: false, coarse }, `${what}: gradient of input ${i}`);
			elements.push(tensor.grad.dataSync());
		});
		return elements;
	} finally {
		for (const tensor of [...all, ...tensors]) tensor.dispose();
	}
}

const ops = [...new Set(cases.map(({ op }) => op))];

Deno.test("every recorded operation has a function here", () => {
	assertEquals(ops.filter((op) => !operation(op)), []);
});

for (const op of ops) {
	deviceTest(`${op} and its gradients are PyTorch's, and the same bits each time`, () => {
		const run = operation(op);
		assert(run, `there is no ${op}`);
		for (const recorded of cases) {
			if (recorded.op === op) assertEquals(check(recorded, run), check(recorded, run));
		}
	});
}

deviceTest("a wrong result, a wrong gradient and a missing one are found", () => {
	const recorded = cases.find(({ op }) => op === "sum")!;
	const other = (name: "results" | "gradients") => {
		const changed = structuredClone(recorded), of = changed[name]![0]!;
		const elements = Float32Array.from(plain(of));
		elements[elements.length - 1]! += 0.01;
		of.data = btoa(String.fromCharCode(...new Uint8Array(elements.buffer)));
		return changed;
	};
	const sum = operation("sum")!;
	check(recorded, sum);
	assertThrows(() => check(other("results"), sum), Error, "result 0: value 0 is");
	assertThrows(() => check(other("gradients"), sum), Error, "gradient of input 0: value 14 is");
	assertThrows(
		() => check(recorded, (x, ...args) => library.scope(() => sum(x.detach(), ...args))),
		Error,
	);
});
