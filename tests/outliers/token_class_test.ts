// Classes of tokens: every entry of the paper's two lists, by position, case and white space.

import { assertEquals } from "@std/assert";
import { tokenClass } from "../../mod.ts";
import { noTokens } from "../../src/outliers/token_class.ts";

const DELIMITERS = ". <0x0A> , ; : ! ? - -- --- ' \" ( ) [ ] { } / \\ | * & ^ % $ # @ ~ `".split(
	" ",
);
const WEAK =
	("and from of 1 2 3 4 5 6 7 8 9 the a an in on at for with is was are were to by as that " +
		"this it but or if not").split(" ");

Deno.test("the lists are as long as the paper's: 30 delimiters, 34 words and the empty text", () => {
	assertEquals([new Set(DELIMITERS).size, new Set(WEAK).size], [30, 34]);
});

Deno.test("the first token is initial whatever it is", () => {
	for (const text of ["Summer", ".", "the", "", "\n"]) {
		assertEquals(tokenClass(0, text), "initial token");
	}
});

Deno.test("every delimiter is strong, with white space around it or not", () => {
	for (const text of DELIMITERS) {
		for (const around of [text, ` ${text}`, `${text} `, `${text}\n`]) {
			assertEquals(tokenClass(1, around), "strong delimiter", JSON.stringify(around));
		}
	}
});

Deno.test("every word of weak meaning is weak, in any case and with white space", () => {
	for (const text of WEAK) {
		for (const form of [text, ` ${text}`, text.toUpperCase(), `${text}\n`]) {
			assertEquals(tokenClass(7, form), "weak semantic", JSON.stringify(form));
		}
	}
});

Deno.test("white space is weak, but a newline is a strong delimiter", () => {
	for (const text of ["", " ", "   ", "\t"]) assertEquals(tokenClass(1, text), "weak semantic");
	for (const text of ["\n", "\n\n", " \n ", "\r\n"]) {
		assertEquals(tokenClass(1, text), "strong delimiter");
	}
});

Deno.test("anything else is other", () => {
	for (const text of ["Summer", "0", "10", "..", "----", "th", "the-", "-a", "é", "=", "_"]) {
		assertEquals(tokenClass(1, text), "other", text);
	}
});

Deno.test("counts start at zero for each class, a fresh record each time", () => {
	const counts = noTokens();
	assertEquals(Object.values(counts), [0, 0, 0, 0]);
	counts.other++;
	assertEquals(noTokens().other, 0);
});
