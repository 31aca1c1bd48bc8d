// A comparison of a few updates, for tests of what is around the training.

import { copyTask, experimentPresets, type ExperimentSetting } from "../../../mod.ts";

/** Two layers of two heads. */
export const toySetting: ExperimentSetting = {
	...experimentPresets.copy,
	layers: 2,
	heads: 2,
	hiddenSize: 16,
	contextLength: 12,
	steps: 6,
	batchSize: 2,
	warmUp: 2,
	dtype: "float32",
	measurements: 3,
	sequences: 2,
};

/** Its data. */
export const toyData = (seed: number) => copyTask({ seed });
