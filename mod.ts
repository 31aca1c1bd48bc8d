// Everything that users import: what each entry point lists, and nothing beside it.
/**
 * Find and explain systematic outliers in Transformers: a few extreme values in weights, activations and
 * attention that occur together, on the same tokens and in the same features.
 *
 * Everything runs on an NVIDIA GPU through the CUDA driver, and where there is none, by the same code, on
 * the CPU.
 *
 * @example Find the outliers of a model
 * ```ts ignore
 * import { detectOutliers, loadModel } from "@outlierscope/outlierscope";
 * using model = await loadModel("model.gguf");
 * const { summary } = await detectOutliers(model, { texts: ["Summer is warm. Winter is cold."] });
 * console.log(summary.hiddenState);
 * ```
 *
 * @module
 */

export * from "./src/tensor/mod.ts";
export * from "./src/formats/mod.ts";
export * from "./src/nn/mod.ts";
export * from "./src/outliers/mod.ts";
