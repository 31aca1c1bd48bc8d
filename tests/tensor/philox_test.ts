// The plain Philox against the known answers of its authors' library, Random123.

import { assertEquals } from "@std/assert";
import { drawBlock, drawWords, philox } from "../../src/tensor/philox.ts";
import { Random } from "../random.ts";
import { KNOWN_ANSWERS } from "./known_answers.ts";

Deno.test("philox() gives the known answers", () => {
	for (const [counter, key, words] of KNOWN_ANSWERS) assertEquals(philox(counter, key), words);
});

Deno.test("philox() multiplies as 64-bit integers do", () => {
	const random = new Random();
	const M = [0xd2511f53n, 0xcd9e8d57n], W = [0x9e3779b9n, 0xbb67ae85n], mask = 0xffffffffn;
	for (let i = 0; i < 200; i++) {
		const counter = Array.from({ length: 4 }, () => random.bits()), key = [random.bits(), 0];
		let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
		let [k, l] = key.map(BigInt) as [bigint, bigint];
		for (let round = 0; round < 10; round++) {
			const p = a * M[0]!, q = c * M[1]!;
			[a, b, c, d] = [(q >> 32n) ^ b ^ k, q & mask, (p >> 32n) ^ d ^ l, p & mask];
			[k, l] = [(k + W[0]!) & mask, (l + W[1]!) & mask];
		}
		assertEquals(philox(counter, key), [a, b, c, d].map(Number));
	}
});

Deno.test("a draw counts blocks in the lower half of the counter and draws in the upper", () => {
	const draw = { seed: 0x299f31 * 2 ** 32 + 0xa4093822, offset: 0x70734 * 2 ** 32 + 0x13198a2e };
	assertEquals(
		drawBlock(draw, 0x5 * 2 ** 32 + 0x243f6a88),
		philox([0x243f6a88, 5, 0x13198a2e, 0x70734], [0xa4093822, 0x299f31]),
	);
});

Deno.test("the words of a draw interleave the blocks of a tile", () => {
	const draw = { seed: 1, offset: 2 }, words = drawWords(draw, 200);
	assertEquals(words.length, 200);
	for (const i of [0, 1, 31, 32, 127, 128, 199]) {
		const block = Math.floor(i / 128) * 32 + i % 32, word = Math.floor(i % 128 / 32);
		assertEquals(words[i], drawBlock(draw, block)[word], `element ${i}`);
	}
});
