// Gradients of reductions against their formulas in float64.

import {
	assertClose,
	type Bench,
	FLOATS,
	type FloatType,
	selfTest,
	TOLERANCE,
} from "./self_test.ts";

/** What an element takes of a gradient. */
type Share = (x: number, g: number, a: number, b: number) => number;

const sign: Share = (x, g) => Math.sign(x) * g;
const equal: Share = (x, g, a, b) => x === b || (x !== x && b !== b) ? g / a : 0;

/** Each operation of spread.cu. */
export const SHARES: Record<string, Share> = {
	centered: (x, g, a, b) => a === 0 ? 0 : g / a * Math.fround(x - b),
	exp: (x, g, _, b) => g * Math.exp(x - b),
	sign,
	equal,
	equal_absolute: (x, g, a, b) => sign(x, equal(Math.abs(x), g, a, b), 0, 0),
	factor: (x, g, a, b) => b === 0 ? g * a / x : b === 1 && x === 0 ? g * a : 0,
};

/** Compares a gradient with its formula; `bare` leaves a and b out. */
export function checkSpread(
	bench: Bench,
	name: string,
	dtype: FloatType,
	[outer, reduced, inner]: readonly [number, number, number],
	bare = false,
): number {
	// Whole numbers in part, so that some are equal, and some 0.
	const whole = (count: number, deviation: number) =>
		bench.normals(count, deviation).map((v) => bench.random.uniform() < 0.5 ? Math.round(v) : v);
	const places = outer * inner, size = places * reduced;
	const x = bench.given(dtype, whole(size, 2));
	const g = bench.normals(places), scale = 0.75;
	const a = name === "centered" || name === "exp"
		? bench.normals(places)
		: g.map(() => 1 + bench.random.below(3));
	const b = name === "exp"
		? g.map(() => 8 + bench.random.uniform())
		: whole(places, 1).map(Math.abs);
	if (name === "centered") a[0] = 0;
	const dx = bench.wanted(dtype, size), beside = bare ? [null, null] : [a, b];
	const rows = inner === 1 ? outer : outer * reduced, extents = [outer, reduced, inner];
	bench.overRows(`spread_${name}_${dtype}`, rows, dx, x, g, ...beside, ...extents, scale);
	const expected = x.numbers.map((x, i) => {
		const at = Math.floor(i / (reduced * inner)) * inner + i % inner;
		return SHARES[name](x, scale * g[at], bare ? 1 : a[at], bare ? 0 : b[at]);
	});
	const tolerance = name === "exp" ? TOLERANCE.softmax(1, 20) : TOLERANCE.elementwise(5);
	return assertClose(dx, expected, tolerance, `spread_${name} [${extents}] of ${dtype}`);
}

/** The types that an operation takes. */
export function typesOf(name: string): readonly FloatType[] {
	return name === "equal" ? FLOATS : ["float32"];
}

/** Each kernel of spread.cu. */
export const selfTests = Object.keys(SHARES).flatMap((name) =>
	typesOf(name).map((dtype) =>
		selfTest([`spread_${name}_${dtype}`], (bench) => [
			checkSpread(bench, name, dtype, [33, 301, 1]),
			checkSpread(bench, name, dtype, [3, 31, 67]),
		])
	)
);
