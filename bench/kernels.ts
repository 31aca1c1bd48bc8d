// Measures each kernel against the bandwidth at which this device copies memory, and matrix products against
// oneDNN called from C++: both in turn with what they are compared with, so that a slow minute of the machine
// meets both. Buffers are larger than the caches. Run it on an idle machine.

import { Device } from "../src/cuda/device.ts";
import { gemm, type GemmType } from "../src/cuda/gemm.ts";
import { Kernel } from "../src/cuda/kernel.ts";
import { TensorTable } from "../src/nn/optim/tensor_table.ts";
import { BLOCK_TYPES, BLOCKS } from "../src/doctor/self_test/block_types.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { openCpp } from "./support/c_library.ts";
import { formatSpread, markdownTable, spread } from "./support/spread.ts";

const ROUNDS = 7;
const MIB = 2 ** 20;
const BUFFER = 128 * MIB; // bytes; two of them are in use at a time
const T = 2048, H = 768, I = 3072; // GPT-2 small: tokens, hidden size, inner size

const device = await Device.open();
await device.load([{
	name: "bench_copy.cu",
	text: `#include "prelude.cuh"
extern "C" __global__ void bench_copy(float *y, const float *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) y[i] = x[i];
}`,
}]);

// --- Memory: random numbers in, room for results. ---

using input = Tensor.empty<"float32", 1>(device, "float32", [BUFFER / 4]);
using output = Tensor.zeros<"float32", 1>(device, "float32", [BUFFER / 4]);
const normal = () =>
	Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
// The lower half of each float32 is a normal number too, read as bfloat16: arbitrary bits would often be
// denormal, which arithmetic takes a hundred times longer for.
const words = new Uint32Array(Float32Array.from({ length: MIB }, normal).buffer);
const values = new Float32Array(
	words.map((word, i) => word & 0xffff0000 | words[~i & MIB - 1]! >>> 16).buffer,
);
using random = Tensor.from<"float32", 1>(device, "float32", [MIB], values);
using positive = Tensor.from<"float32", 1>(device, "float32", [MIB], values.map(Math.abs));
const [x, y, aux] = [input.pointer, output.pointer, positive.pointer];

function fillInput(): void {
	for (let at = x; at < x + BUFFER; at += 4 * MIB) device.copy(at, random.pointer, 4 * MIB);
}

/** Seconds until queued work is done. */
function time(queue: () => void): number {
	device.synchronizeSync();
	const begin = performance.now();
	queue();
	device.synchronizeSync();
	return (performance.now() - begin) / 1000;
}

// --- Kernels: what each is called with, and the bytes that it must read and write. ---

interface Case {
	name: string;
	shape: string;
	bytes: number;
	/** The share of the copy's bandwidth that is aimed at. */
	aim: number;
	run: () => void;
}

const ELEMENTWISE = 0.9, ROWS = 0.5;
const TYPES = [["float32", 4], ["bfloat16", 2]] as const;
const rows = 20 * T; // tokens of as many sequences as nearly fill a buffer
const count = rows * H, pairs = count / 2;
const order = Int32Array.from({ length: rows }, () => Math.floor(Math.random() * rows));
using ids = Tensor.from<"int32", 1>(device, "int32", [rows], order);
const overElements = (name: string, bytes: number): Case => ({
	name,
	shape: `[${rows}, ${H}]`,
	bytes: count * bytes,
	aim: ELEMENTWISE,
	run: () => device.kernel(name).overElements(count, y, x, count),
});

/** a + b of dense tensors, which is walked as one row. */
const add: Case = {
	...overElements("binary_add_float32", 12),
	run: () =>
		device.kernel("binary_add_float32")
			.overElements(
				pairs,
				...[y, x, x + 4 * pairs, 0, 0, 1, pairs, 1, 1],
				...[1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
			),
	shape: `[${pairs}]`,
	bytes: pairs * 12,
};
const backward = (name: string): Case => ({
	...overElements(name, 12),
	run: () => device.kernel(name).overElements(pairs, y, x, x + 4 * pairs, pairs),
	shape: `[${pairs}]`,
	bytes: pairs * 12,
});

const VOCABULARY = 50304;
const crossEntropy = (dtype: string, size: number): Case[] => {
	const rows = Math.floor(BUFFER / 4 / VOCABULARY), targets = ids.pointer;
	const shape = `[${rows}, ${VOCABULARY}]`, bytes = rows * VOCABULARY * size, aim = ROWS;
	const [forward, back] = ["", "_backward"].map((part) => `cross_entropy${part}_${dtype}`);
	const losses = [y, y + 4 * rows, x, targets, rows, VOCABULARY, -1, 0] as const;
	const gradient = [y, x, aux, targets, aux, 0, rows, VOCABULARY, 1, -1, 0] as const;
	return [
		{
			name: forward!,
			shape,
			bytes,
			aim,
			run: () => device.kernel(forward!).overRows(rows, ...losses),
		},
		{
			name: back!,
			shape,
			bytes: 2 * bytes,
			aim,
			run: () => device.kernel(back!).overRows(rows, ...gradient),
		},
	];
};

const dequantize = BLOCK_TYPES.map((type): Case => ({
	name: `dequantize_${type}_float32`,
	shape: `[${rows}, ${H}]`,
	bytes: count * (4 + BLOCKS[type].bytes / BLOCKS[type].values),
	aim: ELEMENTWISE,
	run: () => device.kernel(`dequantize_${type}_float32`).overRows(rows, y, x, rows, H),
}));

/** The last queries of a sequence, which see most of its keys; on scores that previous runs left. */
const heads = 12, queries = 1024;
const visible = heads * queries * (T - queries + (queries + 1) / 2);
const softmax = (dtype: string, size: number): Case => ({
	name: `attention_softmax_${dtype}`,
	shape: `[${queries}, ${heads}, ${T}]`,
	bytes: visible * 4 + heads * queries * T * size,
	aim: ROWS,
	run: () =>
		device.kernel(`attention_softmax_${dtype}`)
			.overRows(
				heads * queries,
				y,
				x,
				0,
				0,
				heads * queries,
				heads,
				queries,
				T - queries,
				T,
				T,
				0.125,
				0,
				1,
			),
});
const columnSums = (dtype: string, size: number): Case => ({
	name: `attention_column_sums_${dtype}`,
	shape: `[${queries}, ${heads}, ${T}]`,
	bytes: heads * queries * T * size,
	aim: ROWS,
	run: () =>
		device.kernel(`attention_column_sums_${dtype}`)
			.overRows(heads * Math.ceil(T / 32), y, x, heads, queries, T, T, T),
});
const split = (dtype: string, size: number): Case => {
	const d = 64, all = 36, tokens = Math.floor(BUFFER / 4 / (all * d));
	const q = y, k = y + tokens * 12 * d * size, v = y + tokens * 24 * d * size;
	return {
		name: `split_heads_rotary_${dtype}`,
		shape: `[${tokens}, ${all} · ${d}]`,
		bytes: tokens * all * d * 2 * size,
		aim: ELEMENTWISE,
		run: () =>
			device.kernel(`split_heads_rotary_${dtype}`)
				.overRows(tokens, q, k, v, x, x, x, tokens, tokens, 12, 12, d, d / 2),
	};
};

const warps = Kernel.warpsForRows(device, rows);
const room = count / 8, top = 256, candidates = 64 * top;
using work = Tensor.zeros<"uint32", 1>(device, "uint32", [MIB]);
using middle = Tensor.empty<"uint32", 1>(device, "uint32", [room]);
const [selection, bins, list, largest, sums] = [0, 0x1000, 0x10000, 0x40000, 0x50000]
	.map((at) => work.pointer + at);
const lists = [middle.pointer, list!] as const, data = [x, 0, rows, H] as const;
const kernel = (name: string) => device.kernel(`magnitude_${name}`);
const refine = () => kernel("refine").perMultiprocessor(bins!, selection!, ...lists, ...data);
/** The passes over all values, as src/outliers/magnitudes.ts runs them. */
const PASSES: Record<string, () => void> = {
	sample: () => kernel("sample").perMultiprocessor(bins!, ...data, 64),
	scan: () => {
		device.fill(selection! + 16, 0, 8); // what it found before
		kernel("scan").overRows(rows, selection!, sums!, ...lists, ...data, room, candidates);
	},
	refine,
	collect: () =>
		kernel("collect").overElements(count, selection!, largest!, list!, ...data, top, 1024),
};
/** Runs the passes before `last`: the later ones need their results. */
function prepareMagnitudes(last: string): void {
	device.fill(work.pointer, 0, work.byteLength);
	if (last === "sample") return;
	PASSES.sample!();
	kernel("bounds").once(selection!, bins!, count, top);
	if (last === "scan") return;
	PASSES.scan!();
	kernel("begin").once(selection!, sums!, warps, count, top, 1000, room, candidates);
	if (last === "refine") return;
	for (let round = 0; round < 3; round++) {
		refine();
		kernel("narrow").once(selection!, bins!);
	}
}

// Steps of optimizers: a model of matrices [I, H], its parameters and gradients in one buffer, state in the other.
const matrices = Math.floor(BUFFER / 2 / (4 * I * H)), parameters = matrices * I * H;
using table = new TensorTable(device, Array.from({ length: matrices }, () => I * H));
table.fill(Array.from({ length: matrices }, (_, i) => {
	const at = 4 * I * H * i, half = BUFFER / 2;
	return { parameter: x + at, gradient: x + half + at, first: y + at, second: y + half + at };
}));
const optimizer = (name: string, moved: number, run: () => void): Case => ({
	name,
	shape: `${matrices} × [${I}, ${H}]`,
	bytes: 4 * moved * parameters,
	aim: ELEMENTWISE,
	run,
});

const cases: Case[] = [
	optimizer(
		"adamw_step",
		7,
		() => table.launch("adamw_step", 0, 1e-3, 1e-3, 0.9, 0.1, 0.95, 0.05, 1, 1e-8),
	),
	optimizer("sgd_step", 5, () => table.launch("sgd_step", 0, 1e-3, 0.9, 0)),
	optimizer(
		"gradient_squares",
		1,
		() =>
			device.kernel("gradient_squares")
				.overRows(table.chunks, work.pointer, ...table.arguments),
	),
	overElements("cast_float32_to_bfloat16", 6),
	overElements("cast_bfloat16_to_float32", 6),
	add,
	overElements("unary_relu_float32", 8),
	overElements("unary_gelu_tanh_float32", 8),
	overElements("unary_gelu_tanh_bfloat16", 4),
	backward("unary_gelu_tanh_backward_float32"),
	...dequantize,
	{
		name: "gather_rows_4",
		shape: `[${rows}, ${H}]`,
		bytes: rows * (8 * H + 4),
		aim: ELEMENTWISE,
		run: () => device.kernel("gather_rows_4").overRows(rows, y, x, ids.pointer, 1, rows, rows, H),
	},
	split("float32", 4),
	split("bfloat16", 2),
	...TYPES.map(([dtype, size]): Case => ({
		name: `gated_swiglu_${dtype}_to_${dtype}`,
		shape: `[${rows / 8}, 2 · ${I}]`,
		bytes: rows / 8 * I * 3 * size,
		aim: ROWS,
		run: () =>
			device.kernel(`gated_swiglu_${dtype}_to_${dtype}`).overRows(rows / 8, y, x, rows / 8, I),
	})),
	...TYPES.map(([dtype, size]): Case => ({
		name: `rms_norm_${dtype}`,
		shape: `[${rows}, ${H}]`,
		bytes: rows * H * (4 + size),
		aim: ROWS,
		run: () =>
			device.kernel(`rms_norm_${dtype}`).overRows(rows, y, 0, 0, 0, x, 0, aux, 0, rows, H, 1e-5),
	})),
	{
		name: "layer_norm_float32",
		shape: `[${rows}, ${H}]`,
		bytes: rows * H * 8,
		aim: ROWS,
		run: () =>
			device.kernel("layer_norm_float32")
				.overRows(rows, y, 0, 0, 0, x, 0, aux, aux, rows, H, 1e-5),
	},
	...crossEntropy("float32", 4),
	...crossEntropy("bfloat16", 2),
	{
		name: "swap_axes_float32_to_float32",
		shape: `[20, ${T}, 12, 64]`,
		bytes: count * 8,
		aim: ELEMENTWISE,
		run: () =>
			device.kernel("swap_axes_float32_to_float32")
				.overRows(count / 64, y, x, 20, T, 12, 64),
	},
	softmax("float32", 4),
	softmax("bfloat16", 2),
	columnSums("float32", 4),
	columnSums("bfloat16", 2),
	{
		name: "row_magnitudes",
		shape: `[${rows}, ${H}]`,
		bytes: rows * (4 * H + 8),
		aim: ROWS,
		run: () => device.kernel("row_magnitudes").overRows(rows, y, y + 4 * rows, x, rows, H),
	},
	{
		name: "column_magnitudes",
		shape: `[${rows}, ${H}]`,
		bytes: rows * H * 4,
		aim: ROWS,
		run: () =>
			device.kernel("column_magnitudes")
				.overRows(Math.ceil(H / 32), y, y + 4 * H, y + 8 * H, x, rows, H),
	},
	...Object.entries(PASSES).map(([name, run]): Case => ({
		name: `magnitude_${name}`,
		shape: `[${rows}, ${H}]`,
		bytes: count * 4,
		aim: ROWS,
		run,
	})),
];

// --- Bandwidth: the better of the driver's copy and a kernel that copies. ---

const copyKernel = () => device.kernel("bench_copy").overElements(BUFFER / 4, y, x, BUFFER / 4);
const copyCall = () => device.copy(y, x, BUFFER);
const rate = (bytes: number, seconds: number) => bytes / seconds / 1e9;
const best = (run: () => void) => Math.min(...Array.from({ length: 5 }, () => time(run)));
fillInput();
const [byKernel, byCall] = [copyKernel, copyCall].map((run) => rate(2 * BUFFER, best(run)));
const copy = byKernel! > byCall! ? copyKernel : copyCall;
console.log(device.name);
console.log(
	`Copy: ${byKernel!.toFixed(1)} GB/s by a kernel, ${byCall!.toFixed(1)} by the driver; ` +
		`the better one is the measure\n`,
);

function fraction(shares: number[], aim: number): string[] {
	const { median } = spread(shares);
	return [formatSpread(spread(shares)), aim.toFixed(2), median >= aim ? "yes" : "no"];
}

const measured = cases.map(({ name, shape, bytes, aim, run }) => {
	fillInput();
	if (name.startsWith("magnitude_")) prepareMagnitudes(name.slice(10));
	if (name === "adamw_step") device.fill(y, 0, BUFFER); // squares are not negative
	time(run);
	const rates: number[] = [], shares: number[] = [];
	for (let round = 0; round < ROUNDS; round++) {
		const before = time(copy), seconds = time(run), after = time(copy);
		rates.push(rate(bytes, seconds));
		shares.push(rates.at(-1)! / rate(2 * BUFFER, (before + after) / 2));
	}
	const size = `${(bytes / MIB).toFixed(0)} MiB`;
	return [name, shape, size, formatSpread(spread(rates)), ...fraction(shares, aim)];
});
console.log(markdownTable(
	["kernel", "shape", "traffic", "GB/s", "of the copy", "aim", "reached"],
	measured,
));

// --- Matrix products: x · Wᵀ. ---

const PRODUCTS: [rows: number, columns: number, inner: number][] = [
	[T, 960, 576], // SmolLM2: queries, keys and values; gate and up; down
	[T, 3072, 576],
	[T, 576, 1536],
	[T, 3 * H, H], // GPT-2 small
	[T, I, H],
	[T, H, I],
];
const REPEATS = 3; // of which the fastest counts, on both sides
const oneDnn = device.kind === "host"
	? await openCpp("matmul_loop.cpp", ["-ldnnl"], {
		matmul_loop: {
			parameters: ["u64", "u64", "u64", "i64", "i64", "i64", "i32", "i32"],
			result: "f64",
		},
	})
	: null;
fillInput();
const products = PRODUCTS.flatMap(([rows, columns, inner]) =>
	(["float32", "bfloat16"] as const).map((type: GemmType) => {
		// Bytes of float32 read as pairs of bfloat16 are numbers too; some are huge, which costs no time.
		const a = x, b = x + 32 * MIB;
		const ours = () =>
			Math.min(...Array.from({ length: REPEATS }, () =>
				time(() =>
					gemm(device, {
						a: { pointer: a, rowStride: inner },
						b: { pointer: b, rowStride: inner },
						c: { pointer: y, rowStride: columns },
						rows,
						columns,
						inner,
						transposeB: true,
						input: type,
					})
				)));
		const theirs = () =>
			oneDnn!.matmul_loop(
				BigInt(a),
				BigInt(b),
				BigInt(y),
				BigInt(rows),
				BigInt(columns),
				BigInt(inner),
				type === "bfloat16" ? 1 : 0,
				REPEATS,
			);
		const flops = 2 * rows * columns * inner / 1e9;
		ours();
		const rates: number[] = [], shares: number[] = [];
		for (let round = 0; round < ROUNDS; round++) {
			const reference = oneDnn ? theirs() : NaN;
			const seconds = ours();
			rates.push(flops / seconds);
			shares.push(oneDnn ? (reference + theirs()) / 2 / seconds : NaN);
		}
		const shape = `[${rows}, ${inner}] · [${inner}, ${columns}]`;
		return [
			shape,
			type,
			formatSpread(spread(rates)),
			...oneDnn ? fraction(shares, 0.95) : ["", "", ""],
		];
	})
);
console.log();
console.log(
	markdownTable(["product", "type", "GFLOP/s", "of oneDNN from C++", "aim", "reached"], products),
);
