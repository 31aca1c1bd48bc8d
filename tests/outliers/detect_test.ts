// The whole analysis on small random models: an outlier that is planted in the weights is found in every
// place it passes, the result is plain data, options are checked, and memory is given back.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
	type Analysis,
	detectOutliers,
	type DetectOutliersOptions,
	loadModel,
	type Transformer,
} from "../../mod.ts";
import { sourceOf } from "../../src/cuda/kernels.ts";
import { randomContents, withModel } from "../nn/tiny_llama.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

/** Fails on a number that JSON cannot hold, and on anything that comes back otherwise. */
function assertPlain(analysis: Analysis): void {
	const visit = (value: unknown, path: string) => {
		if (typeof value === "number") assert(Number.isFinite(value), `${path} is ${value}`);
		assert(value !== undefined, `${path} is undefined`);
		if (typeof value !== "object" || value === null) return;
		assert(!ArrayBuffer.isView(value), `${path} is a typed array`);
		for (const [key, entry] of Object.entries(value)) visit(entry, `${path}.${key}`);
	};
	visit(analysis, "analysis");
	assertEquals(JSON.parse(JSON.stringify(analysis)), analysis);
}

async function detect(model: Transformer, options: DetectOutliersOptions): Promise<Analysis> {
	const before = device.liveBytes;
	const analysis = await detectOutliers(model, options);
	assertPlain(analysis);
	await device.synchronize();
	assertEquals(device.liveBytes, before);
	return analysis;
}

deviceTest(
	"an outlier planted in gate, up and down of layer 2 is found in x_down, W_down and h",
	async () => {
		const sizes = { layers: 3, width: 32, hidden: 64 };
		// Feature 40 of layer 2's MLP answers to the tokens' norm and writes 1000 times its value to feature 9.
		const contents = randomContents(sizes, (name, data, columns) => {
			if (/^blk\.1\.ffn_(gate|up)/.test(name)) {
				for (let c = 0; c < columns; c++) data[40 * columns + c] *= 20;
			} else if (name === "blk.1.ffn_down.weight") data[9 * columns + 40] = 1000;
		});
		await withModel(contents, async (model) => {
			const analysis = await detect(model, { texts: ["xyzuvw quick brown fox"], tau: 20 });
			const { summary } = analysis;
			assertEquals(summary.hiddenState.features[0]?.feature, 9);
			assertEquals(summary.hiddenState.firstLayer, 2);
			const { largestRatio } = summary.downInput;
			assertEquals([largestRatio.layer, largestRatio.feature], [2, 40]);
			const { largestRowRatio, largestDownColumnRatio } = summary.weights;
			assertEquals(
				[
					largestRowRatio.layer,
					largestRowRatio.projection,
					largestRowRatio.row,
					largestRowRatio.column,
				],
				[2, "down", 9, 40],
			);
			assertAlmostEquals(largestRowRatio.value, 1000, 1e-3);
			assertEquals([largestDownColumnRatio.layer, largestDownColumnRatio.index], [2, 40]);
			assertEquals(summary.weights.outlierCount >= 1, true);
			// What τ = 20 counts is what its listing says, everywhere.
			for (const { layers } of [analysis.hiddenState, analysis.downInput]) {
				for (
					const { outliers, outlierCount, mean } of layers.flatMap(({ sequences }) => sequences)
				) {
					assertEquals(outliers.length, Math.min(outlierCount, 256));
					assert(outliers.every(({ value }) => Math.abs(value) > 20 * mean));
				}
			}
		});
	},
);

deviceTest("the kernels that an analysis uses are prepared, and no others", async () => {
	const { kernel, prepare } = device;
	const used = new Set<string>(), prepared: string[] = [];
	device.kernel = (name) => {
		used.add(sourceOf(name)!.name);
		return kernel.call(device, name);
	};
	device.prepare = (files) => {
		assertEquals(used.size, 0, "it is too late to prepare");
		prepared.push(...files);
		return prepare.call(device, files);
	};
	try {
		await withModel(randomContents(), async (model) => {
			await detect(model, { texts: ["xyz"] });
			used.add("dequantize.cu"); // what quantized files need, and this one of float32 does not
			assertEquals([...used].sort(), prepared.toSorted(), "ANALYSIS_KERNELS is out of date");
			used.clear();
			await detect(model, { texts: ["xyz"], dtype: "bfloat16" });
			assertEquals([...used].filter((name) => !prepared.includes(name)), ["cast.cu"]);
		});
	} finally {
		Object.assign(device, { kernel, prepare });
	}
});

deviceTest("an even model has no outlier by τ = 1000, in either type", async () => {
	await withModel(randomContents(), async (model) => {
		for (const dtype of ["float32", "bfloat16"] as const) {
			const { summary, device: { dtype: used } } = await detect(model, { texts: ["hello"], dtype });
			assertEquals(used, dtype);
			for (const { layers, firstLayer } of [summary.hiddenState, summary.downInput]) {
				assertEquals([layers, firstLayer], [[], null]);
			}
			assertEquals(summary.weights.outlierCount, 0);
		}
	});
});

deviceTest("the analysis describes the model, the criteria and the sequences", async () => {
	const contents = randomContents();
	await withModel(contents, async (model) => {
		const texts = ["xyzuvw", { source: "a file", text: "the and" }];
		const analysis = await detect(model, { texts, length: 4, attentionShare: 0.25 });
		assertEquals([analysis.format, analysis.version], ["outlierscope-analysis", 1]);
		assert(!Number.isNaN(Date.parse(analysis.created)));
		assertEquals(analysis.device, { name: device.name, kind: device.kind, dtype: "float32" });
		const parameters = contents.tensors.reduce((sum, { data }) => sum + data.length / 4, 0);
		const base = model.checkpoint!.path.replace(/.*\//, "");
		assertEquals(analysis.model, {
			name: "tiny",
			file: base,
			architecture: "llama",
			...{ layers: 2, hiddenSize: 16, intermediateSize: 24, heads: 4, keyValueHeads: 2 },
			...{ headDimension: 4, vocabularySize: 264, contextLength: 512 },
			parameters,
			storage: { F32: parameters },
		});
		assertEquals([analysis.criteria.tau, analysis.criteria.attentionShare], [1000, 0.25]);
		assertEquals(
			analysis.sequences.map(({ source, tokenTexts }) => [source, tokenTexts.join("")]),
			[
				["text", "xyzu"],
				["a file", "the and"],
			],
		);
		assertEquals(analysis.hiddenState.layers.map(({ sequences }) => sequences.length), [2, 2]);
		assertEquals(analysis.weights.length, 2 * 7);
		assertEquals(analysis.attention.length, 2 * 2);
		for (const { heads, mean } of analysis.attention) {
			assertEquals(heads.length, 4);
			const total = mean.top.reduce((sum, { share }) => sum + share, 0);
			assertEquals(total <= 1 + 1e-6, true);
		}
	});
});

deviceTest(
	"what τ can reach at all is told for every test: N numbers have max/mean ≤ N",
	async () => {
		// H = 16, I = 1200, n · d = 16; T = 6 for the longer of two texts
		await withModel(randomContents({ hidden: 1200 }), async (model) => {
			const { criteria } = await detect(model, { texts: ["xyz", "xyzuvw"], tau: 96 });
			assertEquals(criteria.reachability, [
				{ test: "hiddenState", limit: 6 * 16, reachable: false }, // 96 does not exceed 96
				{ test: "downInput", limit: 6 * 1200, reachable: true },
				{ test: "attention", limit: 6, reachable: false },
				{ test: "weights.query", limit: 16, reachable: false },
				{ test: "weights.key", limit: 16, reachable: false },
				{ test: "weights.value", limit: 16, reachable: false },
				{ test: "weights.output", limit: 16, reachable: false },
				{ test: "weights.gate", limit: 16, reachable: false },
				{ test: "weights.up", limit: 16, reachable: false },
				{ test: "weights.down", limit: 1200, reachable: true },
			]);
		});
	},
);

deviceTest(
	"odd inputs give finite numbers: one token, one feature that matters, all zero",
	async () => {
		await withModel(randomContents(), async (model) => {
			const { attention, summary } = await detect(model, { texts: ["x"] });
			assertEquals(attention[0].heads[0].top, [{ token: 0, value: 1, share: 1 }]);
			assertEquals([summary.attention.layers, summary.attention.headFraction], [[], 0]);
			await detect(model, { texts: ["x", "y z", "\n\n\n"], tau: 1e-30, attentionShare: 1e-9 });
			await detect(model, { texts: ["xyz"], tau: 1e300, attentionShare: 1 });
			await detect(model, { texts: ["é\u0000🙂 \ud800"] });
		});
		const zeros = randomContents({}, (name, data) => {
			if (!name.includes("norm")) data.fill(0);
		});
		await withModel(zeros, async (model) => {
			const { summary } = await detect(model, { texts: ["xyz"] });
			assertEquals(summary.hiddenState.largestRatio.ratio, 0);
			assertEquals(summary.weights.largestRowRatio.ratio, 0);
		});
	},
);

deviceTest("several sequences are cut from each text, and give what each gives alone", async () => {
	await withModel(randomContents(), async (model) => {
		const text = "xyzuvw quick brown fox";
		const both = await detect(model, { texts: [text], length: 8, sequences: 2 });
		assertEquals(both.sequences.map(({ tokenIds }) => tokenIds.length), [8, 8]);
		const first = await detect(model, { texts: [text], length: 8 });
		assertEquals(both.sequences[0], first.sequences[0]);
		both.hiddenState.layers.forEach(({ sequences }, i) =>
			assertEquals(sequences[0], first.hiddenState.layers[i].sequences[0])
		);
	});
});

deviceTest("two analyses are the same but for their dates", async () => {
	await withModel(randomContents(), async (model) => {
		const options = { texts: ["xyzuvw quick brown fox"], tau: 3 };
		const first = await detect(model, options);
		const second = await detect(model, options);
		assertEquals({ ...first, created: "" }, { ...second, created: "" });
	});
});

deviceTest("options out of their range are refused before anything runs", async () => {
	await withModel(randomContents({ context: 20 }), async (model) => {
		const cases: [DetectOutliersOptions, string][] = [
			[{ tau: 0 }, "Cannot use 0 as tau: it must be a number above 0"],
			[{ tau: NaN }, "Cannot use NaN as tau"],
			[{ tau: Infinity }, "Cannot use Infinity as tau"],
			[{ attentionShare: 0 }, "Cannot use 0 as attentionShare: it must be above 0 and at most 1"],
			[{ attentionShare: 1.1 }, "Cannot use 1.1 as attentionShare"],
			[{ attentionShare: NaN }, "Cannot use NaN as attentionShare"],
			[{ length: 21 }, "Cannot analyze sequences of 21 tokens: the model's context length is 20"],
			[{ length: 0 }, "Cannot use 0 as length: it must be a whole number, 1 or more"],
			[{ length: 2.5 }, "Cannot use 2.5 as length"],
			[{ sequences: 0 }, "Cannot use 0 as sequences"],
			[{ sequences: 2 }, "Cannot cut 2 sequences of 20 tokens from the text: it has 3 tokens"],
			[{ texts: [""] }, "Cannot analyze the text: it is empty"],
			[{ texts: ["x", { source: "notes.txt", text: "" }] }, "Cannot analyze the notes.txt: it is"],
			[{ texts: [] }, "Cannot analyze: there is no text"],
		];
		const launches = device.launches;
		for (const [options, message] of cases) {
			await assertRejects(
				() => detectOutliers(model, { texts: ["xyz"], ...options }),
				RangeError,
				message,
			);
		}
		assertEquals(device.launches, launches);
	});
});

deviceTest("progress is told, and a signal stops the analysis and gives memory back", async () => {
	await withModel(randomContents({ layers: 5 }), async (model) => {
		const told: number[] = [];
		await detect(model, { texts: ["x", "y"], onProgress: (done) => told.push(done) });
		assertEquals(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
		const before = device.liveBytes;
		const controller = new AbortController();
		const reason = new Error("enough");
		const error = await assertRejects(() =>
			detectOutliers(model, {
				texts: ["x", "y"],
				signal: controller.signal,
				onProgress: (done) => done === 3 && controller.abort(reason),
			})
		);
		assertEquals(error, reason);
		// What the detectors had queued is read, and thereby freed, soon after.
		for (let i = 0; i < 100 && device.liveBytes > before; i++) {
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
		assertEquals(device.liveBytes, before);
	});
});

const families = new URL("../fixtures/families", import.meta.url).pathname;
for (const { name, isDirectory } of Deno.readDirSync(families)) {
	if (!isDirectory) continue;
	deviceTest(
		`${name}: every layer's hidden state, weights and attention are analyzed`,
		async () => {
			using model = await loadModel(`${families}/${name}`);
			const tokenIds = Array.from(
				{ length: 24 },
				(_, i) => (i * i + 5) % model.config.vocabularySize,
			);
			const analysis = await detect(model, { texts: [{ source: "tokens", tokenIds }], tau: 5 });
			const layers = Array.from({ length: model.config.layers }, (_, i) => i + 1);
			assertEquals(analysis.hiddenState.layers.map(({ layer }) => layer), layers);
			assertEquals(analysis.attention.map(({ layer }) => layer), layers);
			assertEquals(analysis.sequences[0].tokenTexts[1], "#6");
			const projections = new Set(analysis.weights.map(({ projection }) => projection));
			const gated = model.config.mlp.kind === "gated";
			assertEquals(
				[...projections].sort(),
				["down", ...gated ? ["gate"] : [], "key", "output", "query", "up", "value"],
			);
			assertEquals(analysis.downInput.layers.map(({ layer }) => layer), layers);
			if (name === "mixtral") {
				// Each token goes to two of four experts, which tell its position.
				const seen = analysis.downInput.layers[0].sequences.map(({ expert }) => expert!);
				assertEquals(seen, [...new Set(seen)].sort());
				assert(seen.length >= 2 && seen.every((expert) => expert < 4));
				const tokens = tokenIds.map(() => 0);
				for (const { tokenMaxima } of analysis.downInput.layers[1].sequences) {
					for (const [token, maximum] of tokenMaxima.entries()) if (maximum > 0) tokens[token]++;
				}
				assertEquals(tokens, tokenIds.map(() => 2));
			}
			await assertRejects(
				() => detectOutliers(model, { texts: ["a"] }),
				Error,
				"without a tokenizer",
			);
		},
	);
}
