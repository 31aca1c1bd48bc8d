// Ledgers and MLPs taken apart, against PyTorch's modules and NumPy, and on a model where an outlier is planted.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
	type Emergence,
	loadModel,
	traceDisappearance,
	traceEmergence,
	traceLedger,
} from "../../../mod.ts";
import { randomContents, withModel } from "../../nn/tiny_llama.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { family, planted, recorded, tokenIds } from "./recorded.ts";

/** Fails unless equal to 2e-5 of the number, or of the scale that the terms of its sum have. */
function assertNear(actual: number | null, expected: number | null, what: string, scale = 1): void {
	if (actual === null || expected === null) return assertEquals(actual, expected, what);
	const limit = 2e-5 * Math.max(scale, Math.abs(expected));
	assert(Math.abs(actual - expected) <= limit, `${what}: ${actual} is not ${expected}`);
}

for (const [name, { tokens, features, ledger, mlp }] of Object.entries(recorded)) {
	deviceTest(`${name}: the ledger and layer 0's MLP are PyTorch's`, async () => {
		using model = await loadModel(family(name));
		const found = await traceEmergence(model, tokenIds, { tokens, features, layer: 0 });
		assertEquals(found.ledger.criterion, "named");
		const H = 5; // the hidden states reach 5 to 10
		for (const { token, feature, layers } of found.ledger.entries) {
			const index = tokens.indexOf(token) * features.length + features.indexOf(feature);
			for (const { layer, ...parts } of layers) {
				const [before, attention, added, after] = ledger[layer]!.entries[index]!;
				assertNear(parts.before, before, "before", H);
				assertNear(parts.attention, attention, "attention", H);
				assertNear(parts.mlp, added, "mlp", H);
				assertNear(parts.after, after, "after", H);
				assertNear(parts.rest, 0, "rest", H);
			}
		}
		for (const { layer, token, cosine, size } of found.ledger.opposition) {
			const at = tokens.indexOf(token);
			assertNear(cosine, ledger[layer]!.cosine[at]!, "cosine");
			assertNear(size, ledger[layer]!.size[at]!, "size");
		}
		assertEquals(found.mlp.features.length, 4);
		for (
			const { token, feature, bias, contributions, mlp: added, explained } of found.mlp.features
		) {
			const expected = mlp.find((each) => each.token === token && each.feature === feature)!;
			assertNear(bias, expected.bias, "bias");
			assertEquals(contributions.length, 10);
			for (const [i, contribution] of contributions.entries()) {
				for (const [key, value] of Object.entries(expected.contributions[i]!)) {
					if (key === "expert" && value === null) assert(!("expert" in contribution));
					else assertNear(contribution[key as "value"], value, `${token} ${feature} ${i} ${key}`);
				}
			}
			const sum = contributions.reduce((sum, { value }) => sum + value, 0);
			assertAlmostEquals(explained, sum / (added - bias), 1e-6);
		}
		assertEquals(JSON.parse(JSON.stringify(found)), found); // plain data
	});
}

/** The values of a surface's row and column. */
function at(
	{ mlp }: Emergence,
	list: "stages" | "weights",
	name: string,
	row: number,
	column: number,
) {
	const surface = mlp[list].find((each) => each.name === name)!;
	const { rows, columns, values } = surface;
	assertEquals([values.length, values[0]!.length], [rows.length, columns.length]);
	return values[rows.indexOf(row)]![columns.indexOf(column)]!;
}

deviceTest("a planted outlier is traced to its weight, and drawn at each stage", async () => {
	await withModel(planted(), async (model) => {
		const ids = model.tokenizer.encode("xyzuvw quick brown fox");
		const found = await traceEmergence(model, ids, { tau: 20 });
		const { ledger, mlp } = found;
		assertEquals([ledger.emergence, ledger.features[0], ledger.criterion], [1, 9, "tau"]);
		assertEquals(mlp.layer, 1);
		const [first] = mlp.features;
		const { neuron, weight, value, product, gate, up, activated } = first!.contributions[0]!;
		assertEquals([neuron, weight, first!.feature], [40, 1000, 9]);
		assertAlmostEquals(value / (1000 * product), 1, 1e-6);
		assertAlmostEquals(activated / (gate! / (1 + Math.exp(-gate!))), 1, 1e-5);
		assertAlmostEquals(product / (activated * up), 1, 1e-5);
		assertAlmostEquals(first!.explained, 1, 0.01);
		const [strongest] = mlp.neurons;
		assertEquals([strongest!.neuron, strongest!.columnFeature], [40, 9]);
		assert(strongest!.columnRatio > 20 && strongest!.columnRatio <= 32);
		assert(strongest!.gateRowRatio! > 10 && strongest!.upRowRatio > 10);
		assertEquals(strongest!.gateInputs!.length, 5);
		// The stages are those of the contribution, the sum is the residual stream's.
		const { token } = first!;
		assertEquals(at(found, "stages", "mlp.gate", token, 40), gate);
		assertEquals(at(found, "stages", "mlp.up", token, 40), up);
		assertEquals(at(found, "stages", "mlp.activated", token, 40), activated);
		assertEquals(at(found, "stages", "mlp.down.input", token, 40), product);
		assertEquals(at(found, "weights", "mlp.down.weight", 9, 40), 1000);
		const before = at(found, "stages", "middle", token, 9);
		const sum = before + at(found, "stages", "mlp.output", token, 9);
		assertAlmostEquals(at(found, "stages", "output", token, 9) / sum, 1, 1e-5);
		const [entry] = ledger.entries;
		assertEquals([entry!.token, entry!.feature], [token, 9]);
		assertAlmostEquals(entry!.layers[1]!.after / sum, 1, 1e-5);
		const peak = ledger.peaks.find(({ layer }) => layer === 1)!;
		assertEquals([peak.token, peak.feature], [token, 9]);
		// The same ledger is not computed again; another layer is as good.
		const other = await traceEmergence(model, ids, { ledger, layer: 0 });
		assert(other.ledger === ledger && other.mlp.layer === 0);
	});
});

deviceTest("a planted cancellation is found behind the outlier, with opposite signs", async () => {
	// Of the outlier's sign and size nothing is known but by running the model.
	let sign = 0, size = 0;
	const contents = planted();
	let ids: number[] = [];
	await withModel(contents, async (model) => {
		ids = model.tokenizer.encode("xyzuvw quick");
		const { entries } = await traceLedger(model, ids, { tau: 20 });
		// Tokens may have it with opposite signs, and what goes on behind layer 1 is about to change.
		const planted = entries.map(({ layers }) => layers[1]!.after);
		const largest = planted.reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a);
		sign = Math.sign(largest);
		size = Math.abs(largest);
	});
	// After the norm feature 9 is about ±√32 where it is the outlier: gate 100 · √32, up 1 · √32, product 3200.
	const gate = contents.tensors.find(({ name }) => name === "blk.2.ffn_gate.weight")!;
	const down = contents.tensors.find(({ name }) => name === "blk.2.ffn_down.weight")!;
	const set = ({ data }: { data: Uint8Array }, index: number, value: number) =>
		new DataView(data.buffer, data.byteOffset).setFloat32(4 * index, value, true);
	set(gate, 3 * 32 + 9, sign * 100);
	set(down, 9 * 64 + 3, -0.9 * size / 3200);
	await withModel(contents, async (model) => {
		const { ledger, mlp, left } = await traceDisappearance(model, ids, { tau: 20 });
		assertEquals([ledger.emergence, ledger.disappearance, mlp.layer], [1, 2, 2]);
		const [{ token, layers }] = ledger.entries as [typeof ledger.entries[0]];
		assert(Math.sign(layers[2]!.before) === -Math.sign(layers[2]!.mlp));
		const cosine = ledger.opposition.find((each) =>
			each.layer === 2 && each.token === token
		)!.cosine;
		assert(cosine < -0.9, `the cosine is ${cosine}`);
		assertEquals(mlp.features[0]!.contributions[0]!.neuron, 3);
		assert(left[0]!.share > 0.01 && left[0]!.share < 0.4, `${left[0]!.share} is left`);
	});
});

deviceTest("every family, one token, and no outlier at all can be traced", async () => {
	for (const name of ["opt_post", "falcon_40b", "gpt_neox", "bert", "qwen2", "falcon_rw"]) {
		using model = await loadModel(family(name));
		for (const ids of [tokenIds, [5]]) {
			const { ledger, mlp } = await traceEmergence(model, ids);
			assert(mlp.features.length > 0 && mlp.stages.length >= 6);
			for (const { layers } of ledger.entries) {
				for (const { before, attention, mlp, rest, after } of layers) {
					assertAlmostEquals(before + attention + mlp + rest, after, 1e-5);
				}
			}
			const { left } = await traceDisappearance(model, ids, { ledger });
			assert(left.every(({ share }) => share >= 0 && share <= 1));
			if (model.config.norm.placement === "pre") {
				const rests = ledger.entries.flatMap(({ layers }) =>
					layers.map(({ rest }) => Math.abs(rest))
				);
				assert(Math.max(...rests) < 1e-4);
			}
		}
	}
	const zeros = randomContents({}, (name, data) => {
		if (!name.includes("norm")) data.fill(0);
	});
	await withModel(zeros, async (model) => {
		const { mlp } = await traceEmergence(model, model.tokenizer.encode("xyz"));
		assertEquals([mlp.features[0]!.mlp, mlp.features[0]!.explained], [0, 0]);
	});
});

deviceTest("what is not there cannot be traced", async () => {
	using model = await loadModel(family("llama"));
	for (
		const [options, words] of [
			[{ layer: 2 }, "Cannot trace layer 2: the model has 2, the first is 0"],
			[{ tokens: [13] }, "Cannot trace token 13: there are 13, the first is 0"],
			[{ features: [-1] }, "Cannot trace feature -1"],
			[{ tokens: [] }, "no token is named"],
		] as const
	) {
		await assertRejects(() => traceEmergence(model, tokenIds, options), RangeError, words);
	}
});
