// Texts and numbers for people.

import { assert, assertEquals } from "@std/assert";
import {
	escapeHtml,
	formatNumber,
	formatRanges,
	formatShare,
	join,
	plainText,
	visibleText,
} from "../../../src/outliers/report/text.ts";

Deno.test("visibleText() shows what cannot be seen", () => {
	assertEquals(visibleText(" a\n\t\r"), "␣a\\n\\t\\r");
	assertEquals(visibleText("\\n"), "\\\\n"); // a backslash and an n, not a line break
	assertEquals(visibleText(""), "(empty)");
	assertEquals(
		visibleText("\u200b\u0000\u202e\u00a0\uffff"),
		"\\u{200b}\\u{0}\\u{202e}\\u{a0}\\u{ffff}",
	);
	assertEquals(visibleText("\ud83d!"), "\ufffd!");
	assertEquals(visibleText("\u0301e"), "◌\u0301e");
	assertEquals(visibleText("é日本🚀"), "é日本🚀");
});

Deno.test("visibleText() cuts between code points, to the limit", () => {
	assertEquals(visibleText("abcd", 4), "abcd");
	assertEquals(visibleText("abcde", 4), "abc…");
	assertEquals(visibleText("🚀🚀🚀", 2), "🚀…");
});

Deno.test("plainText() keeps spaces and is legal in XML", () => {
	assertEquals(plainText("a b\nc\u0000\ud800"), "a b c\\u{0}\ufffd");
});

Deno.test("escapeHtml() leaves no character that could end a text or an attribute", () => {
	assertEquals(escapeHtml(`</a b="c" d='e'>&`), "&lt;/a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
});

Deno.test("formatNumber() is short at every size", () => {
	const cases: [number, string][] = [
		[0, "0"],
		[1, "1"],
		[-1.23456, "−1.23"],
		[0.0123456, "0.0123"],
		[2.5e-7, "2.5 × 10⁻⁷"],
		[-1e-5, "−10⁻⁵"],
		[4321.4, "4,321"],
		[134515008, "134,515,008"],
		[7e12, "7 × 10¹²"],
		[NaN, "–"],
	];
	for (const [value, text] of cases) assertEquals(formatNumber(value), text);
	for (let power = -40; power <= 38; power++) {
		assert(formatNumber(Math.PI * 10 ** power).length <= 13, formatNumber(Math.PI * 10 ** power));
	}
});

Deno.test("formatShare(), formatRanges() and join() read as text", () => {
	assertEquals(formatShare(0.97349), "97.3%");
	assertEquals(formatShare(0), "0%");
	assertEquals(formatRanges([2, 3, 4, 7, 9, 10]), "2–4, 7, 9–10");
	assertEquals(formatRanges([]), "");
	assertEquals(join([]), "");
	assertEquals(join(["a"]), "a");
	assertEquals(join(["a", "b", "c"]), "a, b and c");
});
