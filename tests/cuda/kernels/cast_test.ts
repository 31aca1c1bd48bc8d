// cast.cu against a conversion that looks at both neighbours, and back.

import { assertEquals } from "@std/assert";
import { cast, checkPatterns, checkTies, checkWhole } from "../../../src/doctor/self_test/cast.ts";
import { faultsAreFound, kernelTest, numbersToBfloat16 } from "./bench.ts";

kernelTest(
	"float32 rounds to the nearest bfloat16, to even at checkTies, to infinity beyond",
	checkTies,
);

kernelTest("NaN stays NaN with its sign, whatever its payload", (bench) => {
	const words = Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000);
	const bits = cast(bench, "float32", "bfloat16", new Float32Array(words.buffer));
	assertEquals([...bits], [0x7fc0, 0xffc0, 0x7fff, 0xffff, 0x7fc0]);
});

kernelTest("odd sizes are converted to the last element", (bench) => {
	const beyond = bench.device.multiprocessors * 8 * Math.min(256, bench.device.maxThreadsPerBlock) +
		1;
	for (const count of [1, 2, 31, 33, 63, 65, 127, 577, beyond]) {
		const x = bench.normals(count, 100);
		assertEquals(cast(bench, "float32", "bfloat16", x), numbersToBfloat16(x));
	}
});

kernelTest("each of the 65,536 bfloat16 patterns becomes the same float32", checkPatterns);

kernelTest("whole numbers and masks are converted, and floats cut towards 0", checkWhole);

Deno.test("the reference rounds known values right", () => {
	// 1 + 2⁻⁸ lies between 1 and 1 + 2⁻⁷: to even is 1; 1 + 3·2⁻⁸ goes up to 1 + 2⁻⁶.
	// Infinity begins halfway between the largest number and 2¹²⁸, at 3.39618e38.
	const x = [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8), 3.4e38, 3.3961e38, -0, 2 ** -149];
	assertEquals(
		[...numbersToBfloat16(x)],
		[0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x7f7f, 0x8000, 0],
	);
});

faultsAreFound([
	{
		name: "the first element is left out",
		file: "cast.cu",
		from: "i = span_begin(count)",
		to: "i = span_begin(count) + 1",
		check: checkTies,
	},
	{
		name: "the upper half is taken without rounding",
		file: "cast.cu",
		from: "from_float<to_type>(to_float(x[i]))",
		to: "to_type{static_cast<unsigned short>(__float_as_uint(x[i]) >> 16)}",
		check: checkTies,
	},
	{
		name: "whole numbers beyond the limit are not limited",
		file: "cast.cu",
		from: "limited < 2147483648.0f",
		to: "limited < 1e3f",
		check: checkWhole,
	},
]);
