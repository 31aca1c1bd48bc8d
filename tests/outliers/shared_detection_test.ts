// An analysis that processes share is the one that a single process makes.

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Analysis } from "../../mod.ts";
import { results, startJob } from "../parallel/jobs.ts";

/** Texts of different length, one of them a single word. */
const texts = [
	"We have suffered a great loss, and we shall mend what was broken.",
	"Summer is warm. Winter is cold.",
	"Peace.",
	"The Congress of the United States met in the month of December, and the President spoke to it of the year.",
	"It was a good year.",
];

async function analyzed(ranks: number, options: Record<string, unknown>): Promise<Analysis[]> {
	const given = JSON.stringify({ options: { texts, tau: 5, ...options } });
	const all = await results<{ rank: number; analysis: Analysis }>(
		startJob(ranks, ["analyze", given]),
	);
	return all.map(({ analysis }) => analysis);
}

/** All but when it was made. */
function lasting({ created: _created, ...rest }: Analysis) {
	return rest;
}

for (const ranks of [2, 4]) {
	Deno.test(`${ranks} processes find what one finds`, async () => {
		const [one] = await analyzed(1, {});
		assert(one!.hiddenState.layers.some(({ sequences }) => sequences[0]!.outlierCount > 0));
		for (const analysis of await analyzed(ranks, {})) {
			assertEquals(lasting(analysis), lasting(one!));
		}
	});
}

Deno.test("a process that gets no sequence takes part all the same", async () => {
	const only = { texts: texts.slice(0, 1) };
	const [one] = await analyzed(1, only);
	for (const analysis of await analyzed(2, only)) assertEquals(lasting(analysis), lasting(one!));
});

Deno.test("processes that are to analyze different texts are told", async () => {
	const ranks = startJob(
		2,
		["analyze", JSON.stringify({ options: { texts } })],
		(rank) => rank === 1 ? { OUTLIERSCOPE_TEST_TEXT: "another" } : {},
	);
	for (const { outcome } of ranks) {
		const { code, stderr } = await outcome;
		assertEquals(code, 1);
		assertMatch(stderr, /rank 0 has the sequences to analyze \[\[.*\]\], rank 1 has \[\[/);
	}
});
