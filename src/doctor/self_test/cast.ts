// Conversions between types, for every bfloat16 number and what lies between two of them.

import { bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";
import { assertAllSame, assertSame, type Bench, type DType, selfTest } from "./self_test.ts";

/** Converts on the device. */
export function cast<D extends DType>(bench: Bench, from: DType, to: D, data: ArrayLike<number>) {
	const x = bench.given(from, data), y = bench.wanted(to, data.length);
	bench.overElements(`cast_${from}_to_${to}`, data.length, y, x, data.length);
	return y.take();
}

/** Every bfloat16 number, the middles between neighbours, and a little beside them. */
function everyTie(): Float32Array {
	const words = new Uint32Array(3 * 65536);
	for (let bits = 0; bits < 65536; bits++) {
		words.set([bits << 16 | 0x7fff, bits << 16 | 0x8000, bits << 16 | 0x8001], 3 * bits);
	}
	return new Float32Array(words.buffer);
}

/** Compares the conversion of {@linkcode everyTie} with one that looks at both neighbours. */
export function checkTies(bench: Bench): void {
	const x = everyTie(), expected = numbersToBfloat16(x);
	const actual = cast(bench, "float32", "bfloat16", x), numbers = bfloat16ToNumbers(actual);
	for (let i = 0; i < x.length; i++) {
		const right = Number.isNaN(x[i]) ? Number.isNaN(numbers[i]) : actual[i] === expected[i];
		if (right) continue;
		throw new Error(`${x[i]} became ${actual[i].toString(16)}, not ${expected[i].toString(16)}`);
	}
}

/** Compares the conversion of each of the 65,536 patterns with the float32 that has its bits above zeros. */
export function checkPatterns(bench: Bench): void {
	const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
	const words = new Uint32Array(cast(bench, "bfloat16", "float32", bits).buffer);
	const wrong = words.findIndex((word, i) => word !== (i << 16) >>> 0);
	assertSame(wrong, -1, "the first pattern that another float32 came of");
}

/** Compares conversions of whole numbers and masks, and towards whole numbers, with Math's. */
export function checkWhole(bench: Bench): void {
	const compare = (from: DType, to: DType, data: ArrayLike<number>, expected = data) =>
		assertAllSame(cast(bench, from, to, data), expected, `${from} as ${to}`);
	const ints = Int32Array.from({ length: 577 }, () => bench.random.bits());
	compare("int32", "float32", ints, Float32Array.from(ints));
	compare("uint8", "float32", bench.random.bytes(577));
	const ends = [NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), 2147483520, 0.99, -0.99, -1.5];
	const floats = Float32Array.of(...ends, ...bench.normals(577, 1e5));
	const most = 2 ** 31 - 1, limited = floats.map((x) => Math.max(x, -(2 ** 31)));
	const whole = Array.from(limited, (x) => x !== x ? 0 : x > most ? most : Math.trunc(x) + 0);
	compare("float32", "int32", floats, whole);
}

/** Each kernel of cast.cu. */
export const selfTests = [
	selfTest(["cast_float32_to_bfloat16"], checkTies),
	selfTest(["cast_bfloat16_to_float32"], checkPatterns),
	selfTest(["cast_int32_to_float32", "cast_uint8_to_float32", "cast_float32_to_int32"], checkWhole),
];
