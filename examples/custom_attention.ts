// An attention of one's own, in the same comparison as the library's: softmax attention whose heads each learn one
// number that says how much they add. It is an ordinary object; nothing is registered.
//
//   deno run -A examples/custom_attention.ts [STEPS] [FOLDER]

import {
	type Attention,
	compareAttentions,
	copyTask,
	experimentPresets,
	mul,
	scope,
	softmaxVariant,
	type Tensor,
	writeComparison,
} from "../mod.ts";

const softmax = softmaxVariant();

const headVolume: Attention = {
	name: "head-volume",
	parameters: ({ heads }) => [
		{ name: "volume", shape: [heads], initialize: { constant: 1 }, decay: false },
	],
	attend: (inputs, { volume }) =>
		scope(() => {
			const context = softmax.attend(inputs, {}) as Tensor<"float32", 2>; // as the setting says
			const [rows, width] = context.shape, [heads] = volume!.shape as readonly [number];
			const factors = volume!.reshape([1, heads, 1]) as Tensor<"float32", 3>;
			const scaled = mul(context.reshape([rows, heads, width / heads]), factors);
			return scaled.reshape([rows, width]) as never;
		}),
};

const steps = Number(Deno.args[0] ?? 1000), folder = Deno.args[1] ?? "out/custom_attention";
const results = await compareAttentions({
	setting: { ...experimentPresets.copy, steps, dtype: "float32" },
	attentions: [softmax, headVolume],
	seeds: [1],
	data: (seed) => copyTask({ seed }),
	folder,
});
for (const { variant, parameters, measurements } of results.pieces) {
	const { loss, headline } = measurements.at(-1)!;
	console.log(
		`${variant}: ${parameters} parameters, loss ${loss.toFixed(3)}, value ratio ` +
			`${headline.valueRatio.toFixed(2)}`,
	);
}
await writeComparison(results, folder);
console.log(`Report: ${folder}/report.html`);
