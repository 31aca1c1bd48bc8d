// Finds the outliers of SmolLM2 on the paper's sentence and prints where they are.

import { detectOutliers, loadModel } from "../mod.ts";

using model = await loadModel("smollm2");
const { summary } = await detectOutliers(model, { texts: ["Summer is warm. Winter is cold."] });
const { layers, features, largestRatio } = summary.hiddenState;
console.log(`Hidden-state outliers in layers ${layers.join(", ") || "none"}`);
console.log(`Features ${features.map(({ feature }) => feature).join(", ") || "none"}`);
const { ratio, value, layer, token } = largestRatio;
console.log(
	`Largest ${value.toFixed(0)} = ${ratio.toFixed(0)} × mean, layer ${layer}, token ${token}`,
);
