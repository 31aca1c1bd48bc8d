// Which attention causes outliers: trains the same small model with three attentions on the copy task and writes a
// report. Called again, it goes on where it was interrupted.
//
//   deno run -A examples/compare_attention.ts [STEPS] [FOLDER]

import {
	compareAttentions,
	contextScaling,
	copyTask,
	experimentPresets,
	sigmoidVariant,
	softmaxVariant,
	writeComparison,
} from "../mod.ts";

const steps = Number(Deno.args[0] ?? 1000), folder = Deno.args[1] ?? "out/compare_attention";
const results = await compareAttentions({
	setting: { ...experimentPresets.copy, steps },
	attentions: [softmaxVariant(), contextScaling(), sigmoidVariant()],
	seeds: [1],
	data: (seed) => copyTask({ seed }),
	folder,
	onProgress: ({ variant, done, total, loss }) =>
		done % 50 === 0 && console.log(`${variant}: loss ${loss.toFixed(3)}, ${done} of ${total}`),
});
for (const { variant, measurements } of results.pieces) {
	const { loss, headline: { gatedSinkRate, valueRatio } } = measurements.at(-1)!;
	console.log(
		`${variant}: loss ${loss.toFixed(3)}, ${Math.round(100 * gatedSinkRate)} % sinks, ` +
			`value ratio ${valueRatio.toFixed(2)}`,
	);
}
await writeComparison(results, folder);
console.log(`Report: ${folder}/report.html`);
