// Attention outliers planted in cumulative attention: keys at or over a share ρ of their head's sum, by
// head and for the mean over heads.

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { AttentionOutlierProbe, Tensor } from "../../mod.ts";
import { device, deviceTest, random } from "../tensor/on_device.ts";

/** heads: Â of each head, all of one length. */
async function detect(heads: number[][], { tau = 1000, share = 0.1 } = {}) {
	const probe = new AttentionOutlierProbe(tau, share);
	{
		using sums = Tensor.from<"float32", 2>(
			device,
			"float32",
			[heads.length, heads[0].length],
			heads.flat(),
		);
		probe.receive(sums, { name: "layers.2.attn.cumulative", layer: 2, sequence: 1 });
	}
	const [found] = await probe.result();
	return found;
}

/** Â of `tokens` keys that sum to `tokens`: the given ones, the rest even (exactly, for the sizes below). */
function planted(tokens: number, keys: Record<number, number>): number[] {
	const taken = Object.values(keys).reduce((sum, value) => sum + value, 0);
	const rest = (tokens - taken) / (tokens - Object.keys(keys).length);
	return Array.from({ length: tokens }, (_, token) => keys[token] ?? rest);
}

deviceTest(
	"planted keys are found in their heads, and in the mean where they weigh enough",
	async () => {
		const found = await detect([planted(66, { 0: 32, 5: 16 }), planted(66, {})]);
		assertEquals([found.layer, found.sequence, found.heads.length], [3, 1, 2]);
		const [sink, even] = found.heads;
		assertEquals(sink.outliers, [
			{ token: 0, value: 32, share: 32 / 66 },
			{ token: 5, value: 16, share: 16 / 66 },
		]);
		assertEquals([sink.head, sink.top.length, sink.top.slice(0, 2)], [0, 5, sink.outliers]);
		assertAlmostEquals(sink.median, 18 / 64, 0);
		assertEquals([even.head, even.outliers, even.median], [1, [], 1]);
		assertEquals(found.mean.outliers.map(({ token, value }) => [token, value]), [[0, 16.5], [
			5,
			8.5,
		]]);
		assertAlmostEquals(found.tokenShares[0], 16.5 / 66, 1e-15);
		assertEquals(found.tokenShares.length, 64);
	},
);

deviceTest("a share of exactly ρ is an outlier, by τ only what exceeds it", async () => {
	// 17 keys that sum to 17: one of 4.25 has a share of exactly 1/4 and is 4.25 times the mean.
	const head = planted(17, { 3: 4.25 });
	const at = async (share: number, tau: number) => {
		const { heads: [found] } = await detect([head], { share, tau });
		return [found.outliers.length, found.tauOutlierCount];
	};
	assertEquals(await at(0.25, 4.25), [1, 0]);
	assertEquals(await at(0.25001, 4.2), [0, 1]);
});

deviceTest(
	"keys that share all attention evenly are all outliers at ρ = 1 / their number",
	async () => {
		const found = await detect([Array(8).fill(1)], { share: 0.125 });
		assertEquals(found.heads[0].outliers.map(({ token }) => token), [0, 1, 2, 3, 4, 5, 6, 7]);
		assertEquals((await detect([Array(8).fill(1)], { share: 0.126 })).heads[0].outliers, []);
	},
);

deviceTest("a small ρ lists every key that reaches it", async () => {
	const sums = Array.from({ length: 300 }, () => random() + 0.5);
	const total = sums.reduce((a, b) => a + b);
	const share = 1 / 300;
	const { heads: [{ outliers }] } = await detect([sums], { share });
	const expected = sums.filter((value) => Math.fround(value) / total >= share * (1 + 1e-6)).length;
	const most = sums.filter((value) => Math.fround(value) / total >= share * (1 - 1e-6)).length;
	assertEquals(expected <= outliers.length && outliers.length <= most, true);
});

deviceTest("one token has all attention", async () => {
	const found = await detect([[1], [1]]);
	const all = [{ token: 0, value: 1, share: 1 }];
	const head = { top: all, median: 1, outliers: all, tauOutlierCount: 0 };
	assertEquals(found, {
		layer: 3,
		sequence: 1,
		heads: [{ head: 0, ...head }, { head: 1, ...head }],
		mean: head,
		tokenShares: [1],
	});
});

deviceTest("layers and sequences come in order, however they arrive", async () => {
	const probe = new AttentionOutlierProbe(1000, 0.1);
	for (const [layer, sequence] of [[1, 0], [0, 1], [1, 1], [0, 0]]) {
		using sums = Tensor.from<"float32", 2>(device, "float32", [1, 2], [1.5, 0.5]);
		probe.receive(sums, { name: "", layer, sequence });
	}
	const order = (await probe.result()).map(({ layer, sequence }) => [layer, sequence]);
	assertEquals(order, [[1, 0], [1, 1], [2, 0], [2, 1]]);
});
