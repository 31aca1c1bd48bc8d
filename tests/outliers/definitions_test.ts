// The named definitions hold what the paper says and what its code does, and changed ones are checked.

import { assertEquals, assertThrows } from "@std/assert";
import { definitionOf, DEFINITIONS, type SpreadOptions } from "../../mod.ts";

Deno.test("paper and code differ from the default in what they say and do", () => {
	const changes = (name: "paper" | "code") =>
		Object.entries(DEFINITIONS[name])
			.filter(([key, value]) =>
				JSON.stringify(value) !==
					JSON.stringify(DEFINITIONS.default[key as keyof typeof DEFINITIONS.default])
			).map(([key]) => key);
	assertEquals(changes("paper"), ["moduleRatio", "attentionRule", "attentionPairing", "spread"]);
	assertEquals(changes("code"), [
		...["tokenPlaces", "tokenLayers", "appearance", "weightAxis", "weightTop", "moduleReference"],
		...["attentionLayers", "attentionHeads", "headKeys", "spread", "length", "figures"],
	]);
	assertEquals(DEFINITIONS.code.tokenLayers, [1]); // the second layer
	assertEquals(DEFINITIONS.code.headKeys, { positions: [0, 19] });
});

Deno.test("a definition is named, or the default with changes, and plain data", () => {
	assertEquals(definitionOf(), DEFINITIONS.default);
	assertEquals(definitionOf("code"), DEFINITIONS.code);
	assertEquals(definitionOf({ tau: 20 }), {
		...DEFINITIONS.default,
		tau: 20,
	});
	const options: SpreadOptions = { ...DEFINITIONS.code.spread }; // as traceSpread takes them
	assertEquals(options, { layer: 27, head: 1 });
	for (const definition of Object.values(DEFINITIONS)) {
		assertEquals(JSON.parse(JSON.stringify(definition)), definition);
	}
});

Deno.test("names that are none and thresholds out of range are refused", () => {
	assertThrows(
		() => definitionOf("book" as "paper"),
		RangeError,
		'There is no definition "book": take one of default, paper, code',
	);
	assertThrows(
		() => definitionOf({ tao: 3 } as unknown as "paper"),
		RangeError,
		'A definition has no "tao": it has tau, ',
	);
	for (const tau of [0, -1, NaN, Infinity]) {
		assertThrows(() => definitionOf({ tau }), RangeError, `Cannot use ${tau} as tau: it must be`);
		assertThrows(() => definitionOf({ weightTau: tau }), RangeError, `${tau} as weightTau`);
	}
	const wrong: [object, string][] = [
		[{ attentionRule: "shares" }, 'Cannot use "shares" as attentionRule: take one of share, tau, '],
		[{ weightAxis: 1 }, 'Cannot use "1" as weightAxis: take one of row, column, either'],
		[{ weightTop: 0 }, "Cannot use 0 as weightTop: it must be a whole number, 1 or more"],
		[{ headKeys: { top: 1.5 } }, "Cannot use 1.5 as headKeys.top: it must be a whole number"],
	];
	for (const [change, message] of wrong) {
		assertThrows(() => definitionOf(change), RangeError, message);
	}
	for (const share of [0, 1.5, NaN]) {
		assertThrows(() => definitionOf({ attentionShare: share }), RangeError, "as attentionShare");
		assertThrows(() => definitionOf({ visibleShare: share }), RangeError, "as visibleShare");
	}
});
