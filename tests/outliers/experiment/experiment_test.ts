// Comparisons as such: what is alike between runs, what is not repeated, and going on after an interruption.

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
	compareAttentions,
	type CompareOptions,
	contextScaling,
	type PieceResult,
	sigmoidVariant,
	softmaxVariant,
} from "../../../mod.ts";
import { atEqualLoss } from "../../../src/outliers/experiment/experiment.ts";
import { buildModel } from "../../../src/outliers/experiment/setting.ts";
import { inDirectory } from "../../subprocess.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { toyData, toySetting } from "./toy.ts";

const comparison = (folder: string): CompareOptions => ({
	setting: toySetting,
	attentions: [softmaxVariant(), contextScaling()],
	seeds: [1],
	data: toyData,
	folder,
});

deviceTest("models of one seed differ in the attention's own parameters alone", async () => {
	for (const architecture of ["gpt2", "llama"] as const) {
		const setting = { ...toySetting, architecture };
		using plain = await buildModel(setting, softmaxVariant(), 5);
		using scaled = await buildModel(setting, contextScaling(), 5);
		using other = await buildModel(setting, softmaxVariant(), 6);
		const own = [...scaled.parameters.keys()].filter((name) => !plain.parameters.has(name));
		assertEquals(
			own.sort(),
			[0, 1].flatMap((i) => ["bias", "weight"].map((name) => `layers.${i}.attn.scale.${name}`)),
		);
		for (const [name, tensor] of plain.parameters) {
			assertEquals(await scaled.parameters.get(name)!.data(), await tensor.data(), name);
		}
		const embeddings = [plain, other].map(({ parameters }) => parameters.get("embed.weight")!);
		assertNotEquals(await embeddings[0]!.data(), await embeddings[1]!.data());
	}
});

deviceTest(
	"an interrupted comparison goes on, and finished runs are not repeated",
	() =>
		inDirectory(async (path) => {
			const whole = await compareAttentions(comparison(`${path}/whole`));
			assertEquals(whole.pieces.map(({ variant }) => variant), ["softmax", "context-scaling"]);
			assertEquals(whole.pieces[0]!.measurements.map(({ step }) => step), [0, 2, 4, 6]);

			const stop = new AbortController(), steps: number[] = [];
			await assertRejects(() =>
				compareAttentions({
					...comparison(`${path}/cut`),
					signal: stop.signal,
					onProgress: ({ done, total }) => {
						steps.push(done);
						assertEquals(total, 12);
						if (done === 9) stop.abort();
					},
				})
			);
			const rest: [string, number, number][] = [];
			const resumed = await compareAttentions({
				...comparison(`${path}/cut`),
				onProgress: ({ variant, done, total }) => rest.push([variant, done, total]),
			});
			assert(rest.length > 0 && rest.length <= 4, `${rest}`);
			for (const [variant, , total] of rest) assertEquals([variant, total], ["context-scaling", 6]);
			assertEquals(resumed.pieces, whole.pieces);

			const more = await compareAttentions({
				...comparison(`${path}/cut`),
				attentions: [sigmoidVariant(), softmaxVariant()],
				onProgress: ({ variant }) => assertEquals(variant, "sigmoid"),
			});
			assertEquals(more.pieces[1], whole.pieces[0]);
			assertEquals(JSON.parse(await Deno.readTextFile(`${path}/cut/results.json`)), more);
		}),
);

deviceTest(
	"a folder of another experiment is refused, and so are two attentions of one name",
	() =>
		inDirectory(async (path) => {
			await compareAttentions({ ...comparison(path), attentions: [softmaxVariant()] });
			const setting = { ...toySetting, learningRate: 0.5 };
			await assertRejects(
				() => compareAttentions({ ...comparison(path), setting }),
				RangeError,
				`there it was "learningRate": 0.002, now it is "learningRate": 0.5`,
			);
			const attentions = [softmaxVariant(), softmaxVariant()];
			await assertRejects(
				() => compareAttentions({ ...comparison(path), attentions }),
				RangeError,
				"two attentions named softmax",
			);
		}),
);

Deno.test("equal loss is the lowest that every run reached", () => {
	const piece = (variant: string, losses: number[]) => ({
		variant,
		seed: 3,
		measurements: losses.map((loss, i) => ({ step: 10 * i, loss, headline: {} })),
	} as unknown as PieceResult);
	const { seed, loss, runs } = atEqualLoss([
		piece("quick", [4, 2.9, 2, 1]),
		piece("slow", [4, 3.5, 3.1, 3]),
		piece("back", [4, 2.5, 2.4, 2.6]),
	]);
	assertEquals([seed, loss], [3, 3]);
	assertEquals(runs.map(({ variant, step }) => [variant, step]), [
		["quick", 10],
		["slow", 30],
		["back", 10],
	]);
});
