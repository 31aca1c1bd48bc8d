// Measures tensor operations beside PyTorch's on the CPU, forward and backward, at the sizes of GPT-2: the same
// shapes, as many threads, in turn, so that a slow minute of the machine meets both. Run it on an idle machine.

import { parseArgs } from "@std/cli/parse-args";
import * as o from "../mod.ts";
import { preparePython } from "./support/pytorch.ts";
import { markdownTable, type Spread, spread } from "./support/spread.ts";
import { Worker } from "./support/worker.ts";

const HELP = `Measures tensor operations beside PyTorch's on the CPU, forward and backward.

Usage: ./dev bench tensor [OPTIONS]

  --only TEXT        Only operations whose name contains the text
  --rounds N         How often each is run, ours and PyTorch's in turn  (default: 9)
  --pytorch PYTHON   A Python that has torch; by default one is installed into the cache.
                     OUTLIERSCOPE_PYTORCH says the same
`;

const flags = parseArgs(Deno.args, {
	string: ["only", "rounds", "pytorch"],
	boolean: ["help"],
	unknown: (argument) => {
		console.error(`Unknown argument ${argument}; --help lists the options`);
		Deno.exit(2);
	},
});
if (flags.help) {
	console.log(HELP);
	Deno.exit();
}
const rounds = Number(flags.rounds ?? 9), WARM_UP = 2;
if (!Number.isSafeInteger(rounds) || rounds < 1) {
	throw new RangeError(
		`Cannot use "${flags.rounds}" as --rounds: it must be a whole number above 0`,
	);
}

const device = await o.Device.open();
const T = 4096, H = 768, I = 3072, V = 50304;
const HEADS = 12, L = 1024, D = 64;

// --- What is measured: each as in tensor_pytorch.py under the same name. ---

interface Case {
	/** Tensors that gradients flow to. */
	inputs: o.Tensor[];
	run: () => o.Tensor;
}

type Float = o.Tensor<"float32">;
const leaf = <const S extends readonly number[]>(...shape: S) => o.normal(shape).requireGrad();
const half = <const S extends readonly number[]>(...shape: S) =>
	o.scope(() => o.cast(o.normal(shape), "bfloat16")).requireGrad();
/** An operation of one matrix. */
const unary = (op: (x: o.Tensor<"float32", 2>) => o.Tensor, x = leaf(T, I)): Case => ({
	inputs: [x],
	run: () => op(x),
});
const binary = <A extends o.Tensor, B extends o.Tensor>(
	op: (a: A, b: B) => o.Tensor,
	a: A,
	b: B,
): Case => ({
	inputs: [a, b],
	run: () => op(a, b),
});

const positive = () => o.scope(() => o.abs(o.normal([T, I]))).requireGrad();

const CASES: Record<string, () => Case> = {
	"add": () => binary((a: Float, b: Float) => o.add(a, b), leaf(T, I), leaf(T, I)),
	"add row": () => binary((a: Float, b: Float) => o.add(a, b), leaf(T, I), leaf(I)),
	"mul": () => binary((a: Float, b: Float) => o.mul(a, b), leaf(T, I), leaf(T, I)),
	"mul bf16": () =>
		binary(
			(a: o.Tensor<"bfloat16">, b: o.Tensor<"bfloat16">) => o.mul(a, b),
			half(T, I),
			half(T, I),
		),
	"mul scalar": () => unary((x) => o.mul(x, 0.125)),
	"div": () => binary((a: Float, b: Float) => o.div(a, b), leaf(T, I), leaf(T, I)),
	"exp": () => unary(o.exp),
	"log": () => unary(o.log, positive()),
	"sqrt": () => unary(o.sqrt, positive()),
	"tanh": () => unary(o.tanh),
	"sigmoid": () => unary(o.sigmoid),
	"relu": () => unary(o.relu),
	"silu": () => unary(o.silu),
	"gelu tanh": () => unary((x) => o.gelu(x, { approximate: "tanh" })),
	"gelu exact": () => unary((x) => o.gelu(x)),
	"bias + gelu": () =>
		binary(
			(x: Float, bias: o.Tensor<"float32", 1>) => o.biasActivation(x, bias, "gelu_tanh"),
			leaf(T, I),
			leaf(I),
		),
	"swiglu": () => unary((x) => o.swiglu(x), leaf(T, 2 * I)),
	"less": () => {
		const a = o.normal([T, I]), b = o.normal([T, I]);
		return { inputs: [a, b], run: () => o.less(a, b) };
	},
	"where": () => {
		const condition = o.scope(() => o.greater(o.normal([T, I]), 0));
		return binary((a: Float, b: Float) => o.where(condition, a, b), leaf(T, I), leaf(T, I));
	},
	"clamp": () => unary((x) => o.clamp(x, { min: -1, max: 1 })),
	"cast to bf16": () => unary((x) => o.cast(x, "bfloat16")),
	"dropout": () => unary((x) => o.dropout(x, 0.1)),
	"sum all": () => unary((x) => o.sum(x)),
	"sum rows": () => unary((x) => o.sum(x, 1)),
	"sum columns": () => unary((x) => o.sum(x, 0)),
	"mean rows": () => unary((x) => o.mean(x, 1)),
	"max rows": () => unary((x) => o.max(x, 1)),
	"argmax rows": () => unary((x) => o.argmax(x, 1), o.normal([T, I])),
	"variance rows": () => unary((x) => o.variance(x, 1)),
	"norm all": () => unary((x) => o.norm(x)),
	"median rows": () => unary((x) => o.median(x, 1), leaf(T, H)),
	"top 8 of rows": () => unary((x) => o.topK(x, 8).values, leaf(T, H)),
	"softmax": () => {
		const x = leaf(HEADS, L, L);
		return { inputs: [x], run: () => o.softmax(x) };
	},
	"log-softmax": () => {
		const x = leaf(HEADS, L, L);
		return { inputs: [x], run: () => o.logSoftmax(x) };
	},
	"cross-entropy": () => {
		const x = leaf(L, V), targets = o.randint([L], 0, V);
		return { inputs: [x], run: () => o.crossEntropy(x, targets) };
	},
	"layer norm": () => {
		const x = leaf(T, H), gain = leaf(H), bias = leaf(H);
		return { inputs: [x, gain, bias], run: () => o.layerNorm(x, gain, { bias }) };
	},
	"RMS norm": () =>
		binary((x: Float, g: o.Tensor<"float32", 1>) => o.rmsNorm(x, g), leaf(T, H), leaf(H)),
	"matmul": () => binary((a: Float, b: Float) => o.matmul(a, b), leaf(T, H), leaf(H, I)),
	"matmul bf16": () =>
		binary(
			(a: o.Tensor<"bfloat16">, b: o.Tensor<"bfloat16">) => o.matmul(a, b, { dtype: "bfloat16" }),
			half(T, H),
			half(H, I),
		),
	"matmul batch": () =>
		binary(
			(q: Float, k: Float) => o.matmul(q, k.transpose()),
			leaf(HEADS, L, D),
			leaf(HEADS, L, D),
		),
	"linear": () => {
		const x = leaf(T, H), weight = leaf(I, H), bias = leaf(I);
		return { inputs: [x, weight, bias], run: () => o.linear(x, weight, { bias }) };
	},
	"linear mixed": () =>
		binary(
			(x: o.Tensor<"float32", 2>, w: o.Tensor<"float32", 2>) =>
				o.linear(x, w, { compute: "bfloat16" }),
			leaf(T, H),
			leaf(I, H),
		),
	"embedding": () => {
		const table = leaf(V, H), ids = o.randint([T], 0, V);
		return { inputs: [table], run: () => o.embedding(ids, table) };
	},
	"concatenate": () =>
		binary((a: Float, b: Float) => o.concatenate([a, b], 1), leaf(T, H), leaf(T, H)),
	"split in 3": () =>
		unary((x) => o.split(x, 3, 1).map((part) => o.contiguous(part))[1]!, leaf(T, 3 * H)),
	"heads apart": () => {
		const x = leaf(4, L, HEADS, D);
		return { inputs: [x], run: () => o.contiguous(x.transpose(1, 2)) };
	},
	"transpose": () => unary((x) => o.contiguous(x.transpose())),
	"rotary": () => {
		const x = leaf(HEADS, L, D), cosine = o.uniform([L, D / 2]), sine = o.uniform([L, D / 2]);
		return { inputs: [x], run: () => o.rotary(x, { cosine, sine }) };
	},
	"uniform": () => ({ inputs: [], run: () => o.uniform([T, I]) }),
	"normal": () => ({ inputs: [], run: () => o.normal([T, I]) }),
};

// --- Both sides, run once each. ---

/** Seconds of one run of ours: the operation, or the gradients of its inputs. */
function time({ inputs, run }: Case, direction: string, gradient: o.Tensor | null): number {
	return o.scope(() => {
		const result = direction === "backward" ? run() : null;
		device.synchronizeSync();
		const begin = performance.now();
		if (result) o.gradients(result, inputs, { gradient: gradient! });
		else run();
		device.synchronizeSync();
		return (performance.now() - begin) / 1000;
	});
}

async function measure(
	pytorch: Worker,
	one: Case,
	direction: string,
): Promise<{ ours: Spread; theirs: Spread; ratio: Spread }> {
	using gradient = direction === "forward" ? null : o.scope(() => {
		const { shape, dtype } = one.run();
		const random = o.normal(shape);
		return dtype === "bfloat16" ? o.cast(random, "bfloat16") : random;
	});
	const ours: number[] = [], theirs: number[] = [];
	for (let round = -WARM_UP; round < rounds; round++) {
		const seconds = [time(one, direction, gradient), await pytorch.ask(direction)];
		if (round < 0) continue;
		ours.push(seconds[0]! * 1000);
		theirs.push(seconds[1]! * 1000);
	}
	const ratio = spread(ours.map((milliseconds, i) => milliseconds / theirs[i]!));
	return { ours: spread(ours), theirs: spread(theirs), ratio };
}

const pytorch = new Worker("PyTorch", await preparePython(flags.pytorch), [
	new URL("tensor_pytorch.py", import.meta.url).pathname,
	String(navigator.hardwareConcurrency),
]);
const names = Object.keys(CASES).filter((name) => name.includes(flags.only ?? ""));
if (names.length === 0) throw new RangeError(`Cannot find an operation like "${flags.only}"`);
const rows: string[][] = [];
const begin = performance.now();
for (const [i, name] of names.entries()) {
	const left = i === 0
		? ""
		: `, ${Math.round((performance.now() - begin) / 1000 / i * (names.length - i))} s left`;
	Deno.stderr.writeSync(
		new TextEncoder().encode(`\r\x1b[K${i + 1} of ${names.length}: ${name}${left}`),
	);
	const one = CASES[name]!();
	await pytorch.ask(name);
	const cells = [name];
	for (const direction of ["forward", "backward"]) {
		if (direction === "backward" && !one.inputs.some(({ requiresGrad }) => requiresGrad)) {
			cells.push("", "", "");
			continue;
		}
		const { ours, theirs, ratio } = await measure(pytorch, one, direction);
		cells.push(
			ours.median.toFixed(2),
			theirs.median.toFixed(2),
			`${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)})`,
		);
	}
	rows.push(cells);
	for (const input of one.inputs) input.dispose();
}
Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
await pytorch.end();
console.log(
	`${device.name}; milliseconds, medians of ${rounds} runs; ratio: ours / PyTorch (smallest to largest)\n`,
);
console.log(markdownTable(
	["operation", "forward", "PyTorch", "ratio", "backward", "PyTorch", "ratio"],
	rows,
));
