// What a result was made of: hashes against other programs' and after single changes, and the analysis's own manifest.

import { assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import {
	detectorNamed,
	detectOutliers,
	hashSequences,
	loadModel,
	manifestOf,
	nullModel,
} from "../../mod.ts";
import config from "../../deno.json" with { type: "json" };
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

const gpt2 = new URL("../fixtures/families/gpt2", import.meta.url).pathname;

async function sha256(...parts: (Uint8Array<ArrayBuffer> | string)[]): Promise<string> {
	const bytes = parts.map((part) =>
		typeof part === "string" ? new TextEncoder().encode(part) : part
	);
	const digest = await crypto.subtle.digest("SHA-256", await new Blob(bytes).arrayBuffer());
	return `sha256:${new Uint8Array(digest).toHex()}`;
}

Deno.test("token ids are hashed with the lengths of their sequences", async () => {
	const of = (...values: number[]) => sha256(new Uint8Array(Int32Array.from(values).buffer));
	assertEquals(hashSequences([[5, 70000], [1]]), await of(2, 5, 70000, 1, 1));
	assertEquals(hashSequences([]), await of());
	assertNotEquals(hashSequences([[5], [1]]), hashSequences([[5, 1]]));
});

deviceTest("of a checkpoint all bytes of its files are hashed", async () => {
	using model = await loadModel(gpt2);
	const before = device.liveBytes;
	const { weights, data, ...rest } = await manifestOf(model, [[1, 2], [3]]);
	const bytes = await Deno.readFile(`${gpt2}/model.safetensors`);
	assertEquals(weights, {
		hash: await sha256(bytes),
		of: "all bytes of model.safetensors",
		changed: null,
	});
	assertEquals([data.hash, data.sequences, data.tokens], [hashSequences([[1, 2], [3]]), 2, 3]);
	assertEquals(rest, {
		library: config.version,
		model: { name: "gpt2", family: "gpt2", attention: "softmax", layers: model.config.layers },
		seeds: {},
		layerNumbering: "from 0",
		device: { name: device.name, kind: device.kind },
		precision: { products: "float32", measured: "float32" },
		definitions: {},
	});
	using other = nullModel(model, "shuffled", 2);
	using twice = nullModel(other, "matched", 3);
	assertEquals((await manifestOf(other, [])).weights, { ...weights, changed: "shuffled, seed 2" });
	assertEquals(
		(await manifestOf(twice, [])).weights.changed,
		"shuffled, seed 2; matched, seed 3",
	);
	assertEquals((await manifestOf(model, [], { hashWeights: false })).weights.hash, null);
	assertEquals(device.liveBytes, before);
	const signal = AbortSignal.abort(new Error("enough"));
	await assertRejects(() => manifestOf(model, [], { signal }), Error, "enough");
});

deviceTest("a checkpoint of several files is hashed whole", async () => {
	const folder = await Deno.makeTempDir();
	try {
		const { Safetensors, saveSafetensors } = await import("../../mod.ts");
		using stored = await Safetensors.open(gpt2);
		const names = [...stored.tensors.keys()], map: Record<string, string> = {};
		for (const [i, part] of [names.slice(0, 5), names.slice(5)].entries()) {
			const loaded = Object.fromEntries(part.map((name) => [name, stored.load(device, name)]));
			const file = `model-${i + 1}.safetensors`;
			await saveSafetensors(`${folder}/${file}`, loaded);
			for (const [name, tensor] of Object.entries(loaded)) {
				map[name] = file;
				tensor.dispose();
			}
		}
		await Deno.writeTextFile(
			`${folder}/model.safetensors.index.json`,
			JSON.stringify({ weight_map: map }),
		);
		await Deno.copyFile(`${gpt2}/config.json`, `${folder}/config.json`);
		using model = await loadModel(folder);
		const { weights } = await manifestOf(model, []);
		assertEquals(weights.of, "all bytes of model-1.safetensors, then model-2.safetensors");
		const files = [1, 2].map((i) => Deno.readFileSync(`${folder}/model-${i}.safetensors`));
		assertEquals(weights.hash, await sha256(...files));
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
});

deviceTest("of a model in memory the parameters are hashed: one changed weight shows", async () => {
	using model = await loadModel(gpt2, { resident: "float32" });
	const hashOf = async () => (await manifestOf(model, [])).weights.hash!;
	const parts: (string | Uint8Array<ArrayBuffer>)[] = [];
	for (const name of [...model.parameters.keys()].sort()) {
		const parameter = model.parameters.get(name)!, data = parameter.dataSync();
		parts.push(`${name} float32 [${parameter.shape}]\n`, new Uint8Array(data.buffer));
	}
	const first = await hashOf();
	assertEquals(first, await sha256(...parts));
	const down = model.parameters.get("layers.1.mlp.down.weight")!;
	const values = down.dataSync() as Float32Array<ArrayBuffer>;
	values[7]! += 1e-3;
	device.upload(down.pointer, values);
	assertNotEquals(await hashOf(), first);
});

deviceTest("an analysis has its manifest, and detections if they are asked for", async () => {
	await withModel(randomContents(), async (model) => {
		const texts = ["xyzuvw quick"];
		const plain = await detectOutliers(model, { texts });
		assertEquals(plain.detections, undefined);
		assertEquals(Object.keys(plain.manifest.definitions), [
			"hiddenState",
			"downInput",
			"weights",
			"attention",
		]);
		assertMatch(plain.manifest.weights.hash!, /^sha256:[0-9a-f]{64}$/);
		const tokens = plain.sequences.map(({ tokenIds }) => tokenIds);
		assertEquals(plain.manifest.data.hash, hashSequences(tokens));
		const detectors = ["massive-activations", "sink-rate"].map(detectorNamed);
		const more = await detectOutliers(model, { texts, detectors, hashWeights: false, tau: 7 });
		assertEquals(more.detections!.map(({ detector }) => detector), [
			"massive-activations",
			"sink-rate",
		]);
		assertEquals(more.manifest.weights.hash, null);
		assertEquals(more.manifest.definitions["hiddenState"]!.thresholds, { tau: 7 });
		assertEquals(more.manifest.definitions["massive-activations"]!.thresholds, {
			absolute: 100,
			ratio: 1000,
		});
		const { manifest: _, detections: __, ...rest } = more, { manifest: ___, ...own } = plain;
		assertEquals(
			{ ...rest, created: "", summary: 0, criteria: 0, hiddenState: 0, downInput: 0, attention: 0 },
			{ ...own, created: "", summary: 0, criteria: 0, hiddenState: 0, downInput: 0, attention: 0 },
		);
	});
});
