// Interventions against PyTorch, whose hooks change the same entries (tests/fixtures/record_interventions.py), and what
// holds of any: nothing changed has no effect, controls change as much, parameters stay what they are.

import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
	ablate,
	type AblateOptions,
	type Ablation,
	type Intervention,
	loadModel,
	type Probe,
	type Tensor,
	type Transformer,
} from "../../../mod.ts";
import { Edit, Survey } from "../../../src/outliers/interventions/edit.ts";
import { randomContents, withModel } from "../../nn/tiny_llama.ts";
import { deviceTest, difference, random } from "../../tensor/on_device.ts";

interface Case {
	losses: number[];
	hidden: string;
	mean?: number;
}

const fixtures = new URL("../../fixtures", import.meta.url).pathname;
const cases: Record<string, Case> = JSON.parse(
	Deno.readTextFileSync(`${fixtures}/interventions.json`),
);
const sequences: number[][] = JSON.parse(
	Deno.readTextFileSync(`${fixtures}/families/sequences.json`),
);

const DOWN = "layers.1.mlp.down.weight", X = "layers.0.mlp.down.input", H = "layers.0.output";
const KEYS: Record<string, number> = { llama: 1, mistral: 0, phi: 3, opt: 2, mixtral: 1 };

/** What each case changes. */
function interventionOf(what: string, family: string): Intervention[] {
	switch (what) {
		case "entries of W_down":
			return [{ tap: DOWN, entries: [[5, 7]] }, { tap: DOWN, entries: [[9, 3], [9, 3]] }];
		case "columns of W_down":
			return [{ tap: DOWN, columns: [2, 11] }];
		case "x_down clipped":
			return [{ tap: X, columns: [4], replace: { clip: 0.25 } }];
		case "x_down of a token":
			return [{ tap: X, rows: [1] }];
		case "h":
			return [{ tap: H, entries: [[0, 6], [3, 1]], replace: { value: 0 } }];
		case "h to its mean":
			return [{ tap: H, entries: [[2, 7]], replace: "mean" }];
		case "h of token 9 to its mean":
			return [{ tap: H, rows: [9], columns: [7], replace: "mean" }];
		case "attention to a key": // is the same as zeroing its value
			return [{ tap: "layers.1.attn.v", heads: [KEYS[family]!], rows: [2] }];
	}
	throw new Error(what);
}

/** The last hidden state of the first sequence, with interventions. */
async function hiddenWith(
	model: Transformer,
	interventions: readonly Intervention[],
): Promise<Float32Array> {
	const forward = async (probe: Probe) => {
		const hidden = await model.forward(sequences, { probes: [probe] });
		const data = hidden[0]!.dataSync();
		for (const h of hidden) h.dispose();
		return data;
	};
	const survey = new Survey(interventions);
	await forward(survey);
	await survey.finish();
	return await forward(new Edit(interventions, survey));
}

for (const [name, recorded] of Object.entries(cases)) {
	const [family, what] = name.split(": ") as [string, string];
	if (what === undefined) continue;
	for (const resident of [false, "float32"] as const) {
		deviceTest(
			`${name} changed${resident ? " in memory" : ""} does what it does in PyTorch`,
			async () => {
				using model = await loadModel(
					`${fixtures}/families/${family}`,
					resident ? { resident } : {},
				);
				const interventions = interventionOf(what, family);
				const hidden = await hiddenWith(model, interventions);
				const bytes = Uint8Array.from(atob(recorded.hidden), (char) => char.charCodeAt(0));
				const expected = new Float32Array(bytes.buffer);
				const { largest } = difference(hidden, expected);
				assert(largest <= 2e-5, `the hidden state is off by ${largest}`);
				const { ablated, effect, clean } = await ablate(model, sequences, {
					interventions,
					controls: 0,
				});
				for (const [i, loss] of recorded.losses.entries()) {
					assertAlmostEquals(ablated.losses[i]!, loss, 2e-5 * loss);
				}
				// One sequence alone has a token 9, whose mean is itself.
				assertEquals(effect!.mean === 0, what.includes("token 9"));
				const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
				assertAlmostEquals(effect!.mean, mean(ablated.losses) - mean(clean.losses), 1e-9);
				assertAlmostEquals(Math.log(ablated.perplexity!), mean(recorded.losses), 1e-3);
			},
		);
	}
}

deviceTest("the recorded clean losses are the clean ones", async () => {
	using model = await loadModel(`${fixtures}/families/llama`);
	const { clean } = await ablate(model, sequences, {
		interventions: [{ tap: H, rows: [0] }],
		controls: 0,
	});
	for (const [i, loss] of cases["clean llama"]!.losses.entries()) {
		assertAlmostEquals(clean.losses[i]!, loss, 2e-5);
	}
});

const family = (name: string) => loadModel(`${fixtures}/families/${name}`);

/** Whether two conditions are the same but for how they were counted. */
function assertSame(actual: Ablation["clean"], expected: Ablation["clean"]): void {
	const { entries: _, change: __, ...rest } = actual;
	const { entries: ___, change: ____, ...clean } = expected;
	assertEquals(rest, clean);
}

deviceTest("an intervention that changes nothing has no effect at all", async () => {
	using model = await family("mixtral");
	for (
		const intervention of [
			{ tap: "layers.*.output", columns: [3], replace: { clip: 1e9 } },
			{ tap: "layers.*.mlp.experts.*.down.input", above: 1e9 },
			{ tap: "layers.0.attn.output.weight", rows: [1, 2], replace: { clip: 1e9 } },
		] satisfies Intervention[]
	) {
		const { clean, ablated, effect } = await ablate(model, sequences, {
			interventions: [intervention],
			controls: 0,
		});
		assertSame(ablated, clean);
		assertEquals([effect!.mean, effect!.interval, ablated.change!.mean], [0, [0, 0], 0]);
	}
});

/** What is in a tensor before and after an edit: a probe before and behind it. */
class Before implements Probe {
	readonly edits = true;
	readonly data = new Map<string, Float32Array>();
	constructor(readonly taps: readonly string[]) {}
	receive(tensor: Tensor<"float32">, { name, sequence }: { name: string; sequence: number }): void {
		this.data.set(`${sequence} ${name}`, tensor.dataSync());
	}
}
class After extends Before {
	override readonly edits = false as true;
}

deviceTest(
	"the largest, those above a limit, and controls of every form are what they say",
	async () => {
		using model = await family("llama");
		const ids = [Array.from({ length: 20 }, () => Math.floor(random() * 61)), sequences[1]!];
		const cases: [
			Intervention,
			expected: (before: Float32Array) => number | null,
			byTensor: boolean,
		][] = [
			[{ tap: "layers.*.output", largest: 3 }, () => 3, true],
			[{ tap: "layers.1.mlp.down.weight", largest: 5, replace: "mean" }, () => 5, true],
			[{ tap: "layers.*.mlp.down.input", above: 4 }, (x) => {
				const mean = x.reduce((sum, value) => sum + Math.abs(value), 0) / x.length;
				return x.filter((value) => Math.abs(value) > 4 * mean).length;
			}, true],
			[{ tap: "layers.0.mlp.down.weight", columns: [1, 4, 4] }, (x) => 2 * x.length / 48, false],
			[{ tap: "layers.0.attn.key.weight", rows: [0] }, () => 32, false],
			[{ tap: "layers.*.attn.v", rows: [0, 3] }, () => 2 * 2 * 8, false],
			[{ tap: "layers.*.attn.v", heads: [1], rows: [2] }, () => 8, false],
			[{ tap: "layers.*.attn.q_rotated", entries: [[3, 1, 7], [0, 2, 0]] }, () => 2, false],
			[{ tap: "layers.0.attn.norm.weight", columns: [4] }, () => 1, false],
			[{ tap: "embed", entries: [[12, 0], [1, 1]] }, (x) => x.length === 20 * 32 ? 2 : 1, false],
		];
		for (const [intervention, expected, byTensor] of cases) {
			const survey = new Survey([intervention]);
			for (const h of await model.forward(ids, { probes: [survey] })) h.dispose();
			await survey.finish();
			survey.check();
			const drawn: string[] = [];
			for (const draw of [null, 0, 1]) {
				const edit = new Edit(
					[intervention],
					survey,
					draw === null ? null : { limit: 100, seed: 5, draw },
				);
				const before = new Before([intervention.tap]), after = new After([intervention.tap]);
				for (const h of await model.forward(ids, { probes: [before, edit, after] })) h.dispose();
				let total = 0;
				const places: string[] = [];
				for (const [key, x] of before.data) {
					const y = after.data.get(key)!;
					const changed = [...x.keys()].filter((i) => x[i] !== y[i]);
					// In layers behind the first change, entries may be among the largest no more; how many are changed is the same.
					if (key.includes("0 layers.0") || !byTensor) {
						assertEquals(changed.length, expected(x), `${key} of ${intervention.tap}`);
					}
					total += changed.length;
					places.push(`${key}: ${changed}`);
					if (byTensor && draw === null && key === "0 layers.0.output") {
						const least = Math.min(...changed.map((i) => Math.abs(x[i]!)));
						assert(x.every((value, i) => changed.includes(i) || Math.abs(value) <= least));
					}
					if (intervention.replace === "mean") {
						const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
						for (const i of changed) assertAlmostEquals(y[i]!, mean, 1e-6);
					} else for (const i of changed) assertEquals(y[i], 0);
				}
				assertEquals(edit.changed, total);
				drawn.push(places.join("; "));
			}
			assertEquals(new Set(drawn).size, 3, `${intervention.tap}: draws are the same`);
			const chosen = drawn[0]!.match(/\d+/g)!;
			assert(chosen.length > 0);
		}
	},
);

deviceTest(
	"a control is neither chosen nor an outlier, and the same for the same seed",
	async () => {
		const contents = randomContents({}, (name, data, columns) => {
			// All but two columns hold an outlier, and one of the two is chosen.
			if (name !== "blk.1.ffn_down.weight") return;
			for (let c = 0; c < columns; c++) if (c !== 5 && c !== 7) data[3 * columns + c] = 1e3 + c;
		});
		await withModel(contents, async (model) => {
			const intervention: Intervention = { tap: "layers.1.mlp.down.weight", columns: [5] };
			const ids = [model.tokenizer.encode("xyzuvw")];
			const survey = new Survey([intervention]);
			for (const h of await model.forward(ids, { probes: [survey] })) h.dispose();
			await survey.finish();
			for (const draw of [0, 1, 2]) {
				const before = new Before(survey.taps), after = new After(survey.taps);
				const edit = new Edit([intervention], survey, { limit: 2, seed: 1, draw });
				for (const h of await model.forward(ids, { probes: [before, edit, after] })) h.dispose();
				const [x] = [...before.data.values()], [y] = [...after.data.values()];
				const columns = [...x!.keys()].filter((i) => x![i] !== y![i]).map((i) => i % 24);
				assertEquals([...new Set(columns)], [7]);
			}
			const options: AblateOptions = {
				interventions: [intervention],
				controls: 2,
				seed: 9,
				controlLimit: 2,
			};
			assertEquals(await ablate(model, ids, options), await ablate(model, ids, options));
			await assertRejects(
				() =>
					ablate(model, ids, { ...options, interventions: [{ ...intervention, columns: [5, 7] }] }),
				RangeError,
				"Cannot draw a control for layers.1.mlp.down.weight [16,24]: of 24 there are not 2",
			);
		});
	},
);

deviceTest("a planted weight is what makes the outlier, and a control is not", async () => {
	const contents = randomContents({ layers: 3, width: 32, hidden: 64 }, (name, data, columns) => {
		if (/^blk\.1\.ffn_(gate|up)/.test(name)) {
			for (let c = 0; c < columns; c++) data[40 * columns + c]! *= 20;
		} else if (name === "blk.1.ffn_down.weight") data[9 * columns + 40] = 1000;
	});
	await withModel(contents, async (model) => {
		const { clean, ablated, controls, ...found } = await ablate(
			model,
			[model.tokenizer.encode("xyzuvw quick brown fox"), model.tokenizer.encode("quick")],
			{ interventions: [{ tap: "layers.1.mlp.down.weight", entries: [[9, 40]] }], controls: 4 },
		);
		const peak = ({ layers }: Ablation["clean"]) => layers[1]!.hiddenState;
		assertEquals(peak(clean).feature, 9);
		assert(peak(ablated).max.mean < peak(clean).max.mean / 20);
		for (const control of controls) {
			assertEquals(control.entries, 1);
			assert(peak(control).max.mean > 0.9 * peak(clean).max.mean);
			assert(control.change!.mean < ablated.change!.mean);
		}
		assertEquals([found.effect!.count, found.beyondControl!.count], [2, 2]);
		assertEquals(JSON.parse(JSON.stringify(found)), found); // plain data
		assertEquals(clean.change, null);
		assertEquals([clean.entries, ablated.entries], [0, 1]);
	});
});

deviceTest(
	"experts that get other tokens once something changed are edited where they can be",
	async () => {
		using model = await family("mixtral");
		const x = "layers.*.mlp.experts.*.down.input";
		for (
			const intervention of [
				{ tap: x, largest: 7 },
				{ tap: x, above: 2 },
				{ tap: x, rows: [1, 3], replace: "mean" },
				{ tap: x, entries: [[2, 4], [4, 4]] },
			] satisfies Intervention[]
		) {
			const { ablated, controls } = await ablate(model, sequences, {
				// Other tokens go to other experts when the stream's features are gone.
				interventions: [{ tap: "embed", columns: [0, 1, 2, 3, 4, 5, 6, 7] }, intervention],
				controls: 1,
				controlLimit: 1e3,
			});
			for (const { entries, loss } of [ablated, ...controls]) {
				assert(entries > 8 * 18 && Number.isFinite(loss!.mean));
			}
		}
	},
);

deviceTest("an encoder and sequences of one token have no loss", async () => {
	for (const [name, ids] of [["bert", [1, 2, 3]], ["llama", [4]]] as const) {
		using model = await family(name);
		const result = await ablate(model, [ids], { interventions: [{ tap: H, columns: [1] }] });
		const { ablated, effect, beyondControl } = result;
		assertEquals(
			[ablated.loss, ablated.perplexity, effect, beyondControl],
			[null, null, null, null],
		);
		assertEquals(ablated.change === null, name === "llama"); // its only token is the watched one
	}
});

deviceTest("what cannot be changed is refused, in words", async () => {
	using model = await family("llama");
	const tap = "layers.0.mlp.down.weight";
	const refused: [Partial<AblateOptions>, string][] = [
		[{ interventions: [] }, "there is no intervention"],
		[{ interventions: [{ tap }] }, `Cannot change ${tap}: name what to change by one of`],
		[{ interventions: [{ tap, rows: [1], largest: 2 }] }, "name what to change by one of"],
		[{ interventions: [{ tap, largest: 0 }] }, "the 0 largest cannot be found, 1 to 256 can"],
		[{ interventions: [{ tap, above: NaN }] }, "NaN times the mean is no limit"],
		[{ interventions: [{ tap, rows: [1], replace: { clip: -1 } }] }, "-1 is no number"],
		[{ interventions: [{ tap, rows: [32] }] }, `Cannot change ${tap} at [32,0]: ${tap} is [32,48]`],
		[{ interventions: [{ tap, entries: [[1]] }] }, "has 2 axes, [32,48]"],
		[{ interventions: [{ tap, heads: [1] }] }, "a tensor of 2 axes has no heads"],
		[{ interventions: [{ tap: H, entries: [[0, 99]] }] }, "layers.0.output is [13,32]"],
		[
			{ interventions: [{ tap: H, above: 0.01 }] },
			"more than 256 entries of layers.0.output exceed",
		],
		[{ interventions: [{ tap: H, above: 3, replace: "mean" }] }, "must be named by indices"],
		[{ interventions: [{ tap: "layers.7.output", rows: [0] }] }, "the model has no such tap"],
		[{ interventions: [{ tap: "layers.0.attn.weights", rows: [0] }] }, "edit attn.v"],
		[{ interventions: [{ tap, rows: [1] }], controls: -1 }, "Cannot run -1 controls"],
		[{ interventions: [{ tap, rows: [1] }], controlLimit: 0 }, "Cannot use 0 as controlLimit"],
	];
	for (const [options, words] of refused) {
		const all = { interventions: [], ...options };
		await assertRejects(() => ablate(model, sequences, all), RangeError, words);
	}
});
