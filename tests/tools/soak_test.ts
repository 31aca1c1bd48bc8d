// What counts as growth in a soak: what is held longer and longer, not what fills a cache or varies.

import { assertEquals } from "@std/assert";
import { growth, type Held } from "../../tools/soak.ts";

const MEGABYTE = 2 ** 20;

/** Samples that hold this at each cycle. */
const cycles = (count: number, at: (i: number) => Partial<Held>): Held[] =>
	Array.from({ length: count }, (_, i) => ({
		memory: 200 * MEGABYTE + (i % 3) * 10 * MEGABYTE,
		descriptors: 40 + i % 2,
		threads: 11 + i % 5,
		device: 1000,
		...at(i),
	}));

Deno.test("what varies, or grows in the first third only, is not growth", () => {
	assertEquals(growth(cycles(30, () => ({}))), []);
	assertEquals(growth(cycles(30, (i) => ({ memory: Math.min(i, 9) * 100 * MEGABYTE }))), []);
	assertEquals(growth(cycles(30, (i) => ({ threads: Math.min(11, i + 2) }))), []);
});

Deno.test("each kind of growth is found", () => {
	const grown = (at: (i: number) => Partial<Held>) => growth(cycles(30, at)).join("\n");
	assertEquals(grown((i) => ({ memory: (200 + 5 * i) * MEGABYTE })).split(" ")[0], "memory");
	assertEquals(grown((i) => ({ descriptors: 40 + i })), "descriptors grew from 55 to 65");
	assertEquals(grown((i) => ({ threads: 11 + i })), "threads grew from 26 to 36");
	assertEquals(grown((i) => ({ device: i * 4 })), "device grew from 60 to 100");
});

Deno.test("a run of few cycles says so", () => {
	assertEquals(growth(cycles(4, () => ({}))).length, 1);
});
