// What several families read alike: Hugging Face's names of activation functions, switches that must be off or on.

import type { ConfigJson } from "../../formats/config_json.ts";
import type { MlpActivation } from "../config.ts";

const ACTIVATIONS: Record<string, MlpActivation> = {
  silu: "silu",
  swish: "silu",
  relu: "relu",
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
};

/** The activation function that a setting names. */
export function readActivation(json: ConfigJson, key: string, otherwise: string): MlpActivation {
  const name = json.string(key, otherwise), activation = ACTIVATIONS[name];
  if (activation) return activation;
  const known = Object.keys(ACTIVATIONS).join(", ");
  throw json.error(`its "${key}" is "${name}"; what is known is ${known}`);
}

/** Throws if one of these settings is true. */
export function refuseSettings(json: ConfigJson, keys: readonly string[]): void {
  for (const key of keys) {
    if (json.boolean(key, false)) {
      throw json.error(`its ${json.nameOf(key)} is true, which is not supported`);
    }
  }
}

/** Throws if one of these settings is false. */
export function requireSettings(json: ConfigJson, keys: readonly string[]): void {
  for (const key of keys) {
    if (!json.boolean(key, true)) {
      throw json.error(`its ${json.nameOf(key)} is false, which is not supported`);
    }
  }
}
