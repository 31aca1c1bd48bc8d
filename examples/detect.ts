// Finds the outliers of SmolLM2 on the paper's sentence and prints where they are.

import { detectOutliers, loadModel } from "../mod.ts";

using model = await loadModel("smollm2");
const { summary } = await detectOutliers(model, { texts: ["Summer is warm. Winter is cold."] });
const { ratio, value, layer, token, feature } = summary.hiddenState.largestRatio;
console.log(
  `Layers with hidden-state outliers: ${summary.hiddenState.layers.join(", ") || "none"}`,
);
console.log(
  `Largest: ${value} = ${ratio} × mean, layer ${layer}, token ${token}, feature ${feature}`,
);
