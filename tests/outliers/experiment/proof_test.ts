// The claim in small: on the copy task softmax attention forms a sink with a drained value; with a context-aware scale, and
// with sigmoid weights, it does not. Trained here, from scratch. (The peak in the start token's embedding takes longer.)

import { assert } from "@std/assert";
import {
	compareAttentions,
	contextScaling,
	copyTask,
	experimentPresets,
	sigmoidVariant,
	softmaxVariant,
} from "../../../mod.ts";
import { inDirectory } from "../../subprocess.ts";
import { deviceTest } from "../../tensor/on_device.ts";

deviceTest(
	"softmax forms a sink and drains its value where scaling and sigmoid attention do not",
	() =>
		inDirectory(async (folder) => {
			const { pieces } = await compareAttentions({
				setting: {
					...experimentPresets.copy,
					contextLength: 64,
					hiddenSize: 64,
					steps: 300,
					batchSize: 16,
					learningRate: 4e-3,
					warmUp: 20,
					measurements: 2,
				},
				attentions: [softmaxVariant(), contextScaling(), sigmoidVariant()],
				seeds: [1],
				data: (seed) => copyTask({ seed }),
				folder,
			});
			const text = JSON.stringify(
				pieces.map(({ variant, measurements }) => [variant, measurements]),
			);
			const [softmax, ...others] = pieces.map(({ measurements }) => measurements.at(-1)!);
			assert(softmax!.headline.gatedSinkRate > 0.5, text);
			for (const other of others) {
				assert(other.headline.gatedSinkRate < 0.1, text);
				assert(softmax!.headline.valueRatio < 0.5 * other.headline.valueRatio, text);
				assert(Math.abs(softmax!.loss - other.loss) < 0.1, text); // all have learned the task
			}
		}),
);
