// Activation outliers planted in tensors that are otherwise even: found with place, sign and count, by
// layer and sequence; none where there is none.

import { assert, assertEquals } from "@std/assert";
import { ACTIVATION_TAPS, ActivationOutlierProbe, Tensor } from "../../mod.ts";
import { device, deviceTest, random } from "../tensor/on_device.ts";

/** A tensor of ±0.5 with the given entries [token, feature, value]. */
function even(rows: number, columns: number, planted: [number, number, number][] = []) {
	const data = Float32Array.from({ length: rows * columns }, () => random() < 0.5 ? -0.5 : 0.5);
	for (const [token, feature, value] of planted) data[token * columns + feature] = value;
	return Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);
}

async function detect(tensors: Tensor<"float32", 2>[], tau: number, layer = 0) {
	const probe = new ActivationOutlierProbe(ACTIVATION_TAPS.hiddenState, tau);
	for (const [sequence, tensor] of tensors.entries()) {
		using x = tensor; // the model frees it as soon as it was received
		probe.receive(x, { name: `layers.${layer}.output`, layer, sequence });
	}
	return (await probe.result()).layers;
}

deviceTest("planted outliers are found exactly", async () => {
	const planted: [number, number, number][] = [[0, 7, -3000], [3, 7, 2000], [3, 60, 1500]];
	const [{ layer, sequences: [found] }] = await detect([even(40, 100, planted)], 100, 4);
	assertEquals([layer, found.sequence, found.outlierCount], [5, 0, 3]);
	const expected = planted.map(([token, feature, value]) => ({ value, token, feature }));
	assertEquals(found.outliers, expected);
	assertEquals(found.top.slice(0, 3), expected);
	assertEquals(found.top.length, 10);
	const mean = (3997 * 0.5 + 6500) / 4000;
	assertEquals([found.mean, found.median], [Math.fround(mean), 0.5]);
	assertEquals(found.topFeatures.slice(0, 2), [
		{ feature: 7, value: 3000, token: 0 },
		{ feature: 60, value: 1500, token: 3 },
	]);
	assertEquals(found.tokenMaxima, [3000, 0.5, 0.5, 2000, ...Array(36).fill(0.5)]);
});

deviceTest(
	"where all is even, nothing is an outlier, and nothing just at the threshold",
	async () => {
		const [{ sequences: [none] }] = await detect([even(9, 31)], 1.001);
		assertEquals([none.outlierCount, none.outliers], [0, []]);
		// One entry of 16 among 16 entries, the rest 0: the mean is 1, the ratio exactly 16.
		const spike = () => {
			const data = new Float32Array(16);
			data[5] = -16;
			return Tensor.from<"float32", 2>(device, "float32", [4, 4], data);
		};
		assertEquals((await detect([spike()], 16))[0].sequences[0].outlierCount, 0);
		const [{ sequences: [over] }] = await detect([spike()], 15.99);
		assertEquals(over.outliers, [{ value: -16, token: 1, feature: 1 }]);
	},
);

deviceTest("of many outliers all are counted and the 256 largest listed", async () => {
	const planted = Array.from({ length: 300 }, (_, i): [number, number, number] => [i, 2, 1000 + i]);
	const [{ sequences: [found] }] = await detect([even(400, 200, planted)], 50);
	assertEquals([found.outlierCount, found.outliers.length], [300, 256]);
	assertEquals(found.outliers[0], { value: 1299, token: 299, feature: 2 });
	assertEquals(found.outliers[255], { value: 1044, token: 44, feature: 2 });
	assertEquals(found.tokenMaxima.length, 64);
});

deviceTest("layers and sequences come in order, however they arrive", async () => {
	const probe = new ActivationOutlierProbe("layers.*.mlp.down.input", 10);
	assertEquals(probe.taps, ["layers.*.mlp.down.input", "layers.*.mlp.experts.*.down.input"]);
	for (const [layer, sequence] of [[2, 1], [0, 1], [2, 0], [0, 0]]) {
		using x = even(2, 3);
		probe.receive(x, { name: "", layer, sequence });
	}
	const { layers } = await probe.result();
	assertEquals(layers.map(({ layer }) => layer), [1, 3]);
	for (const { sequences } of layers) {
		assertEquals(sequences.map(({ sequence }) => sequence), [0, 1]);
	}
});

deviceTest("one token of one feature has its value everywhere", async () => {
	using x = Tensor.from<"float32", 2>(device, "float32", [1, 1], [-7]);
	const [{ sequences: [found] }] = await detect([x], 1000);
	const at = { value: -7, token: 0, feature: 0 };
	assertEquals(found, {
		sequence: 0,
		mean: 7,
		median: 7,
		top: [at],
		outlierCount: 0,
		outliers: [],
		tokenMaxima: [7],
		topFeatures: [{ feature: 0, value: 7, token: 0 }],
	});
});

deviceTest("without a run there is nothing", async () => {
	const probe = new ActivationOutlierProbe(ACTIVATION_TAPS.downInput, 1000);
	assert((await probe.result()).layers.length === 0);
});
