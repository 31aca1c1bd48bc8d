// Steps of optimizers and the norm of gradients, over several tensors in one launch, against their formulas in
// float64.

import { TensorTable } from "../../nn/optim/tensor_table.ts";
import { assertClose, type Bench, selfTest, TOLERANCE } from "./self_test.ts";

/** A tensor with its gradient and state, before a step. */
interface Before {
	parameter: Float32Array;
	gradient: Float32Array | null;
	first: Float32Array;
	second: Float32Array;
	decay: number;
	scale: number;
}

/** What an element becomes: the parameter and its state, and the size that the parameter's error is judged by. */
interface Element {
	parameter?: number;
	first?: number;
	second?: number;
	size: number;
}

/** A kernel that changes parameters, its arguments behind the verdict, and its formula. */
interface Step {
	arguments: number[];
	/** `g` is the gradient, clipped. */
	formula(g: number, p: number, m: number, v: number, of: Before): Element;
}

const RATE = 0.01, BETA1 = 0.9, BETA2 = 0.95, EPSILON = 1e-8, MOMENTUM = 0.9;

/** Each kernel that changes parameters, at its third step. */
const STEPS: Record<string, Step[]> = {
	adamw_step: [{
		arguments: [
			...[RATE, RATE / (1 - BETA1 ** 3), BETA1, 1 - BETA1, BETA2, 1 - BETA2],
			...[1 / Math.sqrt(1 - BETA2 ** 3), EPSILON],
		],
		formula(g, p, m, v, { decay }) {
			const first = BETA1 * m + (1 - BETA1) * g, second = BETA2 * v + (1 - BETA2) * g * g;
			const corrected = first / (1 - BETA1 ** 3);
			const update = RATE * corrected / (Math.sqrt(second / (1 - BETA2 ** 3)) + EPSILON);
			const parameter = p * (1 - RATE * decay) - update;
			return { first, second, parameter, size: Math.abs(p) + Math.abs(update) + RATE };
		},
	}],
	sgd_step: [false, true].map((nesterov) => ({
		arguments: [RATE, MOMENTUM, Number(nesterov)],
		formula(g, p, m, _, { decay }) {
			const gradient = g + decay * p, first = MOMENTUM * m + gradient;
			const update = nesterov ? gradient + MOMENTUM * first : first;
			return { first, parameter: p - RATE * update, size: Math.abs(p) + 1 };
		},
	})),
	muon_momentum: [false, true].map((nesterov) => ({
		arguments: [MOMENTUM, 1 - MOMENTUM, Number(nesterov)],
		formula(g, _, m) {
			const first = MOMENTUM * m + (1 - MOMENTUM) * g;
			const second = nesterov ? MOMENTUM * first + (1 - MOMENTUM) * g : first;
			return { first, second, size: 1 };
		},
	})),
	muon_apply: [{
		arguments: [RATE],
		formula: (g, p, _m, _v, { decay, scale }) => ({
			parameter: p * (1 - RATE * decay) - RATE * scale * g,
			size: Math.abs(p) + 1,
		}),
	}],
};

/** Random tensors of these sizes; the third has no gradient. */
function tensors(bench: Bench, sizes: readonly number[]): Before[] {
	return sizes.map((size, i) => ({
		parameter: bench.normals(size),
		gradient: i === 2 ? null : bench.normals(size),
		first: bench.normals(size, 0.1),
		second: bench.normals(size, 0.1).map(Math.abs),
		decay: i % 2 ? 0.1 : 0,
		scale: 1 + i,
	}));
}

/** Compares a step of every tensor with the formula; tensors without a gradient, and all after a halt, stay. */
export function checkStep(
	bench: Bench,
	kernel: string,
	sizes: readonly number[],
	{ clip = 0.5, halted = false } = {},
): number[] {
	const input = (data: ArrayLike<number>) => bench.given("float32", data);
	return STEPS[kernel].flatMap((step) => {
		const before = tensors(bench, sizes);
		using table = new TensorTable(bench.device, sizes);
		const memory = before.map(({ parameter, first, second }) => ({
			parameter: input(parameter),
			first: input(first),
			second: input(second),
		}));
		table.fill(memory.map(({ parameter, first, second }, i) => {
			const { gradient, decay, scale } = before[i];
			return {
				parameter: parameter.pointer,
				gradient: gradient ? input(gradient).pointer : 0,
				first: first.pointer,
				second: second.pointer,
				decay,
				scale,
			};
		}));
		// Muon's matrices come of gradients that were clipped: the norm would not be applied to them again.
		const factor = kernel === "muon_apply" ? 1 : clip;
		table.launch(kernel, input([3, clip, Number(halted)]).pointer, ...step.arguments);
		return before.flatMap((of, i) => {
			const { gradient, parameter, first, second } = of, moves = gradient && !halted;
			const expected = Array.from(parameter, (p, j) => {
				const still = { parameter: p, first: first[j], second: second[j], size: 1 };
				if (!moves) return still;
				return { ...still, ...step.formula(factor * gradient[j], p, first[j], second[j], of) };
			});
			return (["parameter", "first", "second"] as const).map((name) => {
				const values = expected.map((element) => element[name]);
				const sizes = name === "parameter"
					? expected.map(({ size }) => size)
					: values.map((value) => Math.abs(value) + 0.1);
				const tolerance = moves ? TOLERANCE.elementwise(8) : TOLERANCE.exact;
				return assertClose(memory[i][name], values, tolerance, `${kernel}: ${name} ${i}`, sizes);
			});
		});
	});
}

/** Compares the norm of all gradients, the factor that clips them, and whether they are finite. */
export function checkNorm(
	bench: Bench,
	sizes: readonly number[],
	{ maximum = 1, spoil, loss, before = 0 }: {
		maximum?: number;
		/** A value that one element gets. */
		spoil?: number;
		loss?: number;
		/** Whether something was not finite before. */
		before?: number;
	} = {},
): number {
	const gradients = tensors(bench, sizes).map(({ gradient }) => gradient);
	const last = gradients.at(-1)!;
	if (spoil !== undefined) last[bench.random.below(last.length)] = spoil;
	using table = new TensorTable(bench.device, sizes);
	table.fill(gradients.map((gradient) => ({
		parameter: 0,
		gradient: gradient ? bench.given("float32", gradient).pointer : 0,
	})));
	const squares = bench.wanted("float64", table.chunks);
	const verdict = bench.given("float32", [NaN, NaN, before]);
	bench.overRows("gradient_squares", table.chunks, squares, ...table.arguments);
	const losses = loss === undefined ? null : Float32Array.of(loss);
	bench.once("gradient_verdict", verdict, squares, table.chunks, maximum, losses);
	squares.take(); // for its guard zones
	let total = 0, count = 0;
	for (const gradient of gradients) {
		for (const g of gradient ?? []) total += g * g;
		count += gradient?.length ?? 0;
	}
	const [norm, coefficient, bad] = verdict.take(), expected = Math.sqrt(total);
	const fine = Number.isFinite(expected) && (loss === undefined || Number.isFinite(loss));
	if (bad !== (fine ? before : 1)) {
		throw new Error(`gradient_verdict: says ${bad} of norm ${expected} and loss ${loss}`);
	}
	if (!Number.isFinite(expected)) return 0;
	const factor = Math.min(1, maximum / (expected + 1e-6));
	const tolerance = TOLERANCE.sum(Math.min(count, 1024));
	return assertClose([norm, coefficient], [expected, factor], tolerance, "the norm");
}

const SIZES = [5003, 1, 700, 16384 * 2 + 1];

/** Each kernel of optimizer.cu. */
export const selfTests = [
	selfTest(["gradient_squares", "gradient_verdict"], (bench) => checkNorm(bench, SIZES)),
	...Object.keys(STEPS).map((kernel) =>
		selfTest([kernel], (bench) => checkStep(bench, kernel, SIZES))
	),
];
