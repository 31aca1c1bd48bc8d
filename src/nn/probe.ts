// Taps and probes: a model announces named tensors as it runs, and a probe takes the ones it wants while
// they exist. Names follow the modules of Hugging Face's checkpoints, layers counting from 0:
//
//   embed                         [T, H]   token embeddings
//   layers.N.attn.q_rotated       [n, T, d]   queries after rotary positions (k_rotated, v: [kv, T, d])
//   layers.N.attn.cumulative      [n, T]   cumulative attention of each head
//   layers.N.mlp.gate_up          [T, 2I]  gate and up projections, side by side
//   layers.N.mlp.down.input       [T, I]   x_down
//   layers.N.output               [T, H]   h, the hidden state
//   layers.N.attn.query.weight    [out, in]   likewise key, value, output; mlp.gate, mlp.up, mlp.down

import type { Tensor } from "../tensor/tensor.ts";

/** What a probe is told beside the tensor. */
export interface TapContext {
  /** The tap's name. */
  name: string;
  /** Layer, 0-based; -1 outside the layers. */
  layer: number;
  /** Index of the sequence; -1 for weights. */
  sequence: number;
}

/** Takes tensors from a running model. */
export interface Probe {
  /** Names of taps; `*` stands for any layer, as in `layers.*.output`. */
  readonly taps: readonly string[];
  /**
   * Called when a tap's tensor exists. The model frees or overwrites it afterwards: queue what shall be
   * computed from it, or copy it, before returning.
   */
  receive(tensor: Tensor<"float32">, context: TapContext): void;
}

/** The probes of one run, by tap. */
export class Probes {
  readonly #byTap = new Map<string, Probe[]>();

  constructor(probes: readonly Probe[]) {
    for (const probe of probes) {
      for (const tap of probe.taps) {
        this.#byTap.set(tap, [...this.#byTap.get(tap) ?? [], probe]);
      }
    }
  }

  #listeners(tap: string, layer: number): Probe[] {
    const any = this.#byTap.get(layer < 0 ? tap : `layers.*.${tap}`) ?? [];
    const one = layer < 0 ? [] : this.#byTap.get(`layers.${layer}.${tap}`) ?? [];
    return [...any, ...one];
  }

  /** Whether some probe takes this tap (`tap` without the `layers.N.` of a layer's). */
  wants(tap: string, layer = -1): boolean {
    return this.#listeners(tap, layer).length > 0;
  }

  /** Hands a tensor to the probes that want it; `tap` as in {@linkcode wants}. */
  emit(tap: string, tensor: Tensor<"float32">, layer = -1, sequence = -1): void {
    const name = layer < 0 ? tap : `layers.${layer}.${tap}`;
    for (const probe of this.#listeners(tap, layer)) {
      probe.receive(tensor, { name, layer, sequence });
    }
  }
}
