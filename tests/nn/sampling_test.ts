// Probabilities of next tokens against their definitions and against transformers' (tests/fixtures/
// record_sampling.py), and draws against the probabilities.

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
	likeliest,
	type SamplingOptions,
	tokenAt,
	tokenProbabilities,
} from "../../src/nn/sampling.ts";
import { random } from "../tensor/on_device.ts";

const randomLogits = (count: number) => Array.from({ length: count }, () => 6 * random() - 3);
const close = (actual: Float64Array, expected: number[]) =>
	expected.forEach((value, i) => assertAlmostEquals(actual[i]!, value, 1e-12));

function softmax(logits: number[]): number[] {
	const terms = logits.map((x) => Math.exp(x)), sum = terms.reduce((a, b) => a + b);
	return terms.map((term) => term / sum);
}

Deno.test("temperature 0 takes the likeliest token, of equals the first", () => {
	assertEquals(likeliest([1, 5, -2, 5]), 1);
	assertEquals([...tokenProbabilities([1, 5, -2, 5], {})], [0, 1, 0, 0]);
	assertEquals(likeliest([-Infinity, -3]), 1);
});

Deno.test("a temperature divides the logits", () => {
	const logits = randomLogits(17);
	close(tokenProbabilities(logits, { temperature: 1 }), softmax(logits));
	close(tokenProbabilities(logits, { temperature: 0.3 }), softmax(logits.map((x) => x / 0.3)));
});

Deno.test("topK keeps the k likeliest, with those as likely as the last", () => {
	const logits = [0, 3, 1, 2, 1, -1];
	const kept = (topK: number) =>
		[...tokenProbabilities(logits, { temperature: 1, topK }).entries()]
			.filter(([, p]) => p > 0).map(([token]) => token);
	assertEquals([kept(1), kept(2), kept(3)], [[1], [1, 3], [1, 2, 3, 4]]);
	assertEquals([kept(4), kept(5), kept(6).length, kept(99).length], [
		[1, 2, 3, 4],
		[0, 1, 2, 3, 4],
		6,
		6,
	]);
	close(tokenProbabilities([0, 1, 2], { temperature: 1, topK: 2 }), [0, ...softmax([1, 2])]);
});

Deno.test("topP keeps the likeliest that reach the share", () => {
	const logits = [0.5, 0.3, 0.15, 0.05].map(Math.log);
	const at = (topP: number) => tokenProbabilities(logits, { temperature: 1, topP });
	close(at(0.4), [1, 0, 0, 0]);
	close(at(0.6), [0.625, 0.375, 0, 0]);
	close(at(0.9), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]);
	close(at(1), [0.5, 0.3, 0.15, 0.05]);
	// After topK, of what it left.
	close(tokenProbabilities(logits, { temperature: 1, topK: 2, topP: 0.6 }), [1, 0, 0, 0]);
});

interface Recorded {
	logits: number[][];
	cases: { options: SamplingOptions; probabilities: number[][] }[];
}
const recorded: Recorded = JSON.parse(
	Deno.readTextFileSync(new URL("../fixtures/sampling.json", import.meta.url)),
);
for (const { options, probabilities } of recorded.cases) {
	Deno.test(`probabilities are transformers' with ${JSON.stringify(options)}`, () => {
		for (const [row, logits] of recorded.logits.entries()) {
			const actual = tokenProbabilities(logits, { temperature: 1, ...options });
			const kept = (list: ArrayLike<number>) => Array.from(list, (p) => p > 0);
			assertEquals(kept(actual), kept(probabilities[row]!));
			// Theirs are float32.
			for (const [i, p] of probabilities[row]!.entries()) assertAlmostEquals(actual[i]!, p, 1e-6);
		}
	});
}

Deno.test("draws are as frequent as they are likely", () => {
	const probabilities = Float64Array.from([0.2, 0, 0.5, 0.3]);
	const counts = [0, 0, 0, 0], draws = 20000;
	for (let i = 0; i < draws; i++) counts[tokenAt(probabilities, random())]!++;
	for (const [token, p] of probabilities.entries()) {
		assert(Math.abs(counts[token]! / draws - p) <= 6 * Math.sqrt(p * (1 - p) / draws));
	}
	assertEquals([tokenAt(probabilities, 0), tokenAt(probabilities, 1)], [0, 3]);
	assertEquals(tokenAt(Float64Array.from([0.5, 0.5, 0]), 1 + 1e-9), 1);
});

Deno.test("options that cannot be are refused", () => {
	for (const options of [{ temperature: -1 }, { topK: 0 }, { topP: 0 }, { topP: 1.1 }]) {
		assertThrows(() => tokenProbabilities([1, 2], options), RangeError, "Cannot sample with");
	}
});
