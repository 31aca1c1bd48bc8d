// Losses element by element, their sums and gradients, against their formulas in float64.

import { assertClose, type Bench, selfTest, TOLERANCE } from "./self_test.ts";
import { sigmoid } from "./unary.ts";

/** A loss of a prediction and a target, its derivatives, and the sizes of what each is the difference of. */
interface Loss {
	of: (x: number, t: number) => [loss: number, byX: number, byT: number];
	sizes: (x: number, t: number) => [loss: number, byX: number, byT: number];
	/** A target, from a normal number. */
	target: (v: number) => number;
}

/** Each loss of losses.cu. */
export const LOSSES: Record<string, Loss> = {
	squared_error: {
		of: (x, t) => [(x - t) ** 2, 2 * (x - t), 2 * (t - x)],
		sizes: (x, t) => [(x - t) ** 2, 2 * Math.abs(x - t), 2 * Math.abs(x - t)],
		target: (v) => v,
	},
	binary_cross_entropy: {
		of: (x, t) => [
			Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x))),
			sigmoid(x) - t,
			-x,
		],
		sizes: (x, t) => [1 + Math.abs(x) + Math.abs(x * t), 1 + Math.abs(t), Math.abs(x)],
		target: sigmoid,
	},
	kl_divergence: {
		of: (x, t) => t === 0 ? [0, -0, 0] : [t * (Math.log(t) - x), -t, Math.log(t) + 1 - x],
		sizes: (x, t) => {
			const size = t === 0 ? 0 : Math.abs(Math.log(t)) + 1 + Math.abs(x);
			return [t * size, t, size];
		},
		target: (v) => Math.max(0, v),
	},
};

const PART = 1000;

/** Compares a loss, its sum in parts and its gradients with their formulas. */
export function checkLoss(bench: Bench, name: string, x: Float32Array, t: Float32Array): number[] {
	const count = x.length, { of, sizes } = LOSSES[name], scale = 0.75, g = bench.normals(count);
	const output = (length: number) => bench.wanted("float32", length);
	const values = Array.from(x, (v, i) => of(v, t[i]));
	const each = Array.from(x, (v, i) => sizes(v, t[i]));
	const y = output(count), parts = Math.ceil(count / PART), sums = output(parts);
	// Functions of a few units in the last place, and what is made of them.
	const tolerance = TOLERANCE.elementwise(24);
	const compare = (
		actual: typeof y,
		which: 0 | 1 | 2,
		factor: (i: number) => number,
		what: string,
	) => {
		const expected = values.map((value, i) => value[which] * factor(i));
		const scales = each.map((size, i) => size[which] * Math.abs(factor(i)));
		return assertClose(actual, expected, tolerance, `${name}: ${what}`, scales);
	};

	bench.overElements(`${name}_each`, count, y, x, t, count);
	bench.overRows(`${name}_parts`, parts, sums, x, t, count, parts);
	const total = (all: number[][]) => [all.reduce((sum, [value]) => sum + value, 0)];
	const sum = [sums.read().reduce((a, b) => a + b, 0)], ofSum = tolerance + TOLERANCE.sum(PART);
	const errors = [
		compare(y, 0, () => 1, "each"),
		assertClose(sum, total(values), ofSum, `${name}: sum`, total(each)),
	];
	for (const shared of [true, false]) {
		const factor = (i: number) => scale * g[shared ? 0 : i];
		const dx = output(count), dt = output(count);
		const run = (...to: (typeof dx | null)[]) =>
			bench.overElements(`${name}_backward`, count, ...to, x, t, g, shared, count, scale);
		run(dx, shared ? dt : null);
		if (!shared) run(null, dt);
		errors.push(compare(dx, 1, factor, "gradient by x"), compare(dt, 2, factor, "gradient by t"));
	}
	return errors;
}

/** Predictions and targets. */
export function lossInputs(bench: Bench, name: string, count: number) {
	return { x: bench.normals(count, 4), t: bench.normals(count).map(LOSSES[name].target) };
}

/** Each kernel of losses.cu. */
export const selfTests = Object.keys(LOSSES).map((name) =>
	selfTest(["each", "parts", "backward"].map((kind) => `${name}_${kind}`), (bench) => {
		const { x, t } = lossInputs(bench, name, 5003);
		return checkLoss(bench, name, x, t);
	})
);
