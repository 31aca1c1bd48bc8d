// Weight outliers planted in matrices that are otherwise even, found with place, sign, ratio and count;
// extremal ratios of rows and columns against plain loops in float64.

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Tensor, WeightOutlierProbe } from "../../mod.ts";
import { device, deviceTest, normal } from "../tensor/on_device.ts";

async function detect(rows: number, columns: number, data: ArrayLike<number>, tau: number) {
	const probe = new WeightOutlierProbe(tau);
	{
		using w = Tensor.from<"float32", 2>(device, "float32", [rows, columns], data);
		probe.receive(w, { name: "layers.1.mlp.down.weight", layer: 1, sequence: -1 });
	}
	const [found] = await probe.result();
	return found;
}

deviceTest("a planted weight is found by its row's mean", async () => {
	// Row 2 is a thousand times smaller, so that only the row-wise mean makes its weight an outlier.
	const columns = 64;
	const data = new Float32Array(5 * columns).fill(1);
	data.fill(2 ** -10, 2 * columns, 3 * columns);
	data[2 * columns + 17] = -0.5;
	const found = await detect(5, columns, data, 50);
	const mean = (63 * 2 ** -10 + 0.5) / 64;
	assertEquals([found.layer, found.projection, found.shape], [2, "down", [5, 64]]);
	assertEquals([found.outlierCount, found.outliers.length], [1, 1]);
	const [outlier] = found.outliers;
	assertEquals([outlier.row, outlier.column], [2, 17]);
	assertAlmostEquals(outlier.value, -0.5, 1e-7);
	assertAlmostEquals(outlier.ratio, 0.5 / mean, 1e-5);
	assertEquals(found.top[0], outlier);
	assertEquals(found.top.length, 5);
	assertEquals(found.topRows[0].index, 2);
	assertAlmostEquals(found.topRows[0].ratio, 0.5 / mean, 1e-5);
	assertAlmostEquals(found.mean, (4 + mean) / 5, 1e-7);
});

deviceTest("even weights have no outlier, and one of exactly τ · mean is none", async () => {
	assertEquals((await detect(3, 8, Array(24).fill(-2), 1)).outlierCount, 0);
	// Mean 1 with one entry of 8: the ratio is 8, as far as a row of 8 can go.
	const spike = [0, 0, 8, 0, 0, 0, 0, 0];
	assertEquals((await detect(1, 8, spike, 8)).outlierCount, 0);
	assertEquals((await detect(1, 8, spike, 7.99)).outlierCount, 1);
});

deviceTest(
	"rows and columns are ranked by max/mean, with the lower median over columns",
	async () => {
		const [rows, columns] = [37, 53];
		const data = normal(rows * columns);
		data[11 * columns + 5] = 40;
		data[30 * columns + 6] = -30;
		const found = await detect(rows, columns, data, 15);
		const ratio = (values: number[]) =>
			Math.max(...values.map(Math.abs)) /
			(values.reduce((sum, x) => sum + Math.abs(x), 0) / values.length);
		const line = (count: number, at: (i: number) => number) =>
			Array.from({ length: count }, (_, i) => at(i));
		const byRow = line(rows, (r) => ratio(line(columns, (c) => data[r * columns + c])));
		const byColumn = line(columns, (c) => ratio(line(rows, (r) => data[r * columns + c])));
		for (const [list, all] of [[found.topRows, byRow], [found.topColumns, byColumn]] as const) {
			const order = [...all.keys()].sort((a, b) => all[b] - all[a]).slice(0, 5);
			assertEquals(list.map(({ index }) => index), order);
			list.forEach(({ ratio, index }) => assertAlmostEquals(ratio, all[index], 1e-5 * all[index]));
		}
		const median = byColumn.toSorted((a, b) => a - b)[26];
		assertAlmostEquals(found.medianColumnRatio, median, 1e-5 * median);
		assertEquals(found.outliers.map(({ row, column }) => [row, column]), [[11, 5], [30, 6]]);
	},
);

deviceTest("zeros have no ratio: 0 everywhere, no NaN", async () => {
	const found = await detect(2, 3, Array(6).fill(0), 1000);
	assertEquals([found.mean, found.outlierCount, found.medianColumnRatio], [0, 0, 0]);
	assertEquals(found.top.every(({ value, ratio }) => value === 0 && ratio === 0), true);
	assertEquals([...found.topRows, ...found.topColumns].every(({ ratio }) => ratio === 0), true);
});

deviceTest("matrices come by layer and in the order of a block, however they arrive", async () => {
	const probe = new WeightOutlierProbe(1000);
	const all = probe.taps.map((tap) => tap.replace("layers.*.", ""));
	const names = all.filter((name) => !name.includes("experts"));
	assertEquals([names.length, all.length - names.length], [7, 3]);
	for (const layer of [1, 0]) {
		for (const name of names.toReversed()) {
			using w = Tensor.from<"float32", 2>(device, "float32", [1, 2], [1, 2]);
			probe.receive(w, { name: `layers.${layer}.${name}`, layer, sequence: -1 });
		}
	}
	const order = ["query", "key", "value", "output", "gate", "up", "down"];
	const found = (await probe.result()).map(({ layer, projection }) => `${layer} ${projection}`);
	assertEquals(found, [1, 2].flatMap((layer) => order.map((name) => `${layer} ${name}`)));
});

deviceTest("matrices of experts come expert by expert", async () => {
	const probe = new WeightOutlierProbe(1000);
	for (const [expert, name] of [[1, "down"], [0, "down"], [1, "gate"], [0, "gate"]]) {
		using w = Tensor.from<"float32", 2>(device, "float32", [1, 2], [1, 2]);
		probe.receive(w, {
			name: `layers.0.mlp.experts.${expert}.${name}.weight`,
			layer: 0,
			sequence: -1,
		});
	}
	const found = (await probe.result()).map(({ expert, projection }) => [expert, projection]);
	assertEquals(found, [[0, "gate"], [0, "down"], [1, "gate"], [1, "down"]]);
});
