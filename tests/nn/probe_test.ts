// Taps by name: a probe gets those it names, of one layer or of any, and may change what the model computes with.
// What changes do is compared with PyTorch in outliers/interventions/ablate_test.ts.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
	loadModel,
	mulInPlace,
	noGrad,
	type Probe,
	type TapContext,
	Tensor,
	type Transformer,
} from "../../mod.ts";
import { Probes } from "../../src/nn/probe.ts";
import { device, deviceTest } from "../tensor/on_device.ts";

class Names implements Probe {
	readonly seen: TapContext[] = [];
	constructor(readonly taps: readonly string[]) {}
	receive(_: Tensor<"float32">, context: TapContext): void {
		this.seen.push(context);
	}
}

deviceTest("a tap goes to the probes that name it, by layer or by `*`", () => {
	using tensor = Tensor.zeros<"float32", 1>(device, "float32", [1]);
	const any = new Names(["layers.*.output", "embed"]);
	const one = new Names(["layers.12.output"]);
	const other = new Names(["layers.*.mlp.down.input"]);
	const probes = new Probes([any, one, other]);
	probes.emit("embed", tensor, -1, 3);
	probes.emit("output", tensor, 1, 0);
	probes.emit("output", tensor, 12, 2);
	assertEquals(any.seen, [
		{ name: "embed", layer: -1, sequence: 3 },
		{ name: "layers.1.output", layer: 1, sequence: 0 },
		{ name: "layers.12.output", layer: 12, sequence: 2 },
	]);
	assertEquals(one.seen, [{ name: "layers.12.output", layer: 12, sequence: 2 }]);
	assertEquals(other.seen, []);
});

Deno.test("wants() says whether a tap is worth computing", () => {
	const probes = new Probes([new Names(["layers.*.attn.v", "layers.3.output", "embed"])]);
	assertEquals([0, 3, 12].map((layer) => probes.wants("attn.v", layer)), [true, true, true]);
	assertEquals([2, 3, 30].map((layer) => probes.wants("output", layer)), [false, true, false]);
	assertEquals([probes.wants("embed"), probes.wants("embed", 0)], [true, false]);
	assertEquals(new Probes([]).wants("embed"), false);
});

/** Multiplies what it gets. */
class Factor implements Probe {
	readonly edits = true;
	calls = 0;
	constructor(readonly taps: readonly string[], readonly factor: number) {}
	receive(tensor: Tensor<"float32">): void {
		this.calls++;
		noGrad(() => mulInPlace(tensor, this.factor));
	}
}

/** The sums of |x| of what it gets. */
class Sizes implements Probe {
	readonly sizes: number[] = [];
	constructor(readonly taps: readonly string[]) {}
	receive(tensor: Tensor<"float32">): void {
		this.sizes.push(tensor.dataSync().reduce((sum, x) => sum + Math.abs(x), 0));
	}
}

const family = (name: string) => new URL(`../fixtures/families/${name}`, import.meta.url).pathname;

async function lastHidden(
	model: Transformer,
	probes: readonly Probe[],
	dtype: "float32" | "bfloat16",
): Promise<Float32Array> {
	const [h] = await model.forward([[5, 9, 1, 30, 7]], { probes, dtype });
	using hidden = h!;
	return hidden.dataSync();
}

/** Taps whose tensors the model computes with. */
const EDITABLE = [
	...["attn.input", "attn.qkv", "attn.q_rotated", "attn.k_rotated", "attn.v", "attn.context"],
	...["attn.output", "middle", "mlp.input", "mlp.output", "output"],
	...["attn.query.weight", "attn.key.weight", "attn.value.weight", "attn.output.weight"],
].map((tap) => `layers.1.${tap}`);
const GATED = ["gate_up", "down.input", "gate.weight", "up.weight", "down.weight"]
	.map((tap) => `layers.1.mlp.${tap}`);
const PLAIN = ["up", "down.input", "up.weight", "down.weight"].map((tap) => `layers.1.mlp.${tap}`);
const EXPERTS = GATED.map((tap) => tap.replace(".mlp.", ".mlp.experts.*."));

const TAPS: Record<string, string[]> = {
	llama: [...EDITABLE, ...GATED],
	qwen2: [...EDITABLE, ...GATED],
	gpt2: [...EDITABLE, ...PLAIN],
	falcon_7b: [...EDITABLE.filter((tap) => !tap.endsWith(".middle")), ...PLAIN], // a parallel block
	mixtral: [...EDITABLE.filter((tap) => !tap.includes("mlp.")), "layers.1.mlp.router", ...EXPERTS],
	bert: [...EDITABLE, ...PLAIN],
};

for (const [name, taps] of Object.entries(TAPS)) {
	for (const resident of [false, "float32"] as const) {
		deviceTest(
			`${name}${resident ? " in memory" : ""}: an edit of each tap is what the model computes with`,
			async () => {
				using model = await loadModel(family(name), resident ? { resident } : {});
				const before = resident
					? [...model.parameters.values()].map((parameter) => parameter.dataSync())
					: [];
				for (const dtype of ["float32", "bfloat16"] as const) {
					for (const tap of ["embed", ...taps]) {
						// A watcher of the same tap makes both runs take the same path.
						const clean = await lastHidden(model, [new Sizes([tap])], dtype);
						const same = new Factor([tap], 1);
						assertEquals(await lastHidden(model, [same], dtype), clean, `${tap} is not left alone`);
						assert(same.calls > 0, `${tap} was not given`);
						// Named first, and for any layer; it still comes behind what edits.
						const seen = new Sizes([tap.replace(/\d+/, "*")]);
						const changed = await lastHidden(model, [seen, new Factor([tap], 0)], dtype);
						assert(changed.some((x, i) => x !== clean[i]), `${tap} has no effect in ${dtype}`);
						const zeros = seen.sizes.filter((size) => size === 0).length;
						assert(zeros >= (tap.includes("experts") ? 1 : seen.sizes.length / 2), tap);
						assert(changed.every(Number.isFinite), tap);
					}
				}
				if (!resident) return;
				const after = [...model.parameters.values()].map((parameter) => parameter.dataSync());
				assertEquals(after, before);
			},
		);
	}
}

deviceTest(
	"an edit of a tap leaves the tensor of another alone, where the two are one",
	async () => {
		using model = await loadModel(family("opt_post")); // norms behind: attention reads the residual stream itself
		const clean = new Sizes(["embed"]), edited = new Sizes(["layers.0.attn.output"]);
		await lastHidden(model, [clean], "float32");
		const changed = await lastHidden(
			model,
			[edited, new Factor(["layers.0.attn.input"], 0)],
			"float32",
		);
		const none = new Factor(["layers.0.attn.output"], 0);
		// Attention of nothing adds its biases; without them the stream goes on as if attention were not there.
		const skipped = await lastHidden(
			model,
			[new Factor(["layers.0.attn.input"], 0), none],
			"float32",
		);
		const alone = await lastHidden(model, [none], "float32");
		assertEquals(skipped, alone);
		assert(changed.some((x, i) => x !== alone[i]));
	},
);

deviceTest("what the model does not compute with, or is recorded, cannot be edited", async () => {
	using model = await loadModel(family("llama"), { resident: "float32" });
	for (const tap of ["attn.cumulative", "attn.weights"]) {
		await assertRejects(
			() => lastHidden(model, [new Factor([`layers.*.${tap}`], 0)], "float32"),
			RangeError,
			`Cannot edit layers.0.${tap}: the model does not compute with it; edit attn.v`,
		);
	}
	using ids = Tensor.from<"int32", 2>(device, "int32", [1, 3], [1, 2, 3]);
	assertThrows(
		() => model.loss(ids, ids, { probes: [new Factor(["embed"], 0)] }),
		RangeError,
		"only a forward pass can be edited",
	);
	class Failing extends Factor {
		override receive(): void {
			throw new Error("the probe's own");
		}
	}
	for (const tap of ["embed", "layers.1.mlp.down.weight", "layers.1.attn.v", "layers.0.output"]) {
		await assertRejects(
			() => lastHidden(model, [new Failing([tap], 0)], "float32"),
			Error,
			"the probe's own",
		);
	}
});
