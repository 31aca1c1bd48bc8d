// Outliers of activations: of the hidden states h and of the down-projection inputs x_down.

import type { Probe, TapContext } from "../nn/probe.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ActivationAnalysis, ActivationStatistics, ActivationValue } from "./analysis.ts";
import {
  checkFinite,
  columnMagnitudes,
  type Entry,
  magnitudes,
  rowMagnitudes,
} from "./magnitudes.ts";
import { largestIndices } from "./ranking.ts";
import { Reading } from "./reading.ts";

/** How many of the largest values and features are reported a layer and sequence. */
const TOP = 10;
/** For how many first tokens the maximum is reported. */
const FIRST_TOKENS = 64;

/** Places of a model where the paper finds activation outliers, and their taps. */
export const ACTIVATION_TAPS = {
  hiddenState: "layers.*.output",
  downInput: "layers.*.mlp.down.input",
} as const;

function activationValue({ value, row, column }: Entry): ActivationValue {
  return { value, token: row, feature: column };
}

/**
 * Finds activation outliers: entries with |x| > τ · mean|x|, the mean over all T · C entries of a layer
 * and sequence (paper §3.1). Give it to a model's forward pass, then ask for the result.
 */
export class ActivationOutlierProbe implements Probe {
  /** The tap it takes. */
  readonly taps: readonly string[];
  readonly #tau: number;
  readonly #reading = new Reading();
  readonly #layers = new Map<number, ActivationStatistics[]>();

  /**
   * Makes a probe for one run.
   *
   * @param tap such as `ACTIVATION_TAPS.hiddenState`
   * @param tau τ
   */
  constructor(tap: string, tau: number) {
    this.taps = [tap];
    this.#tau = tau;
  }

  /** Queues the statistics of one tensor, [T, C]. */
  receive(x: Tensor<"float32">, { name, layer, sequence }: TapContext): void {
    const matrix = x as Tensor<"float32", 2>;
    const all = magnitudes(matrix, this.#tau);
    using first = matrix.slice(0, Math.min(FIRST_TOKENS, matrix.shape[0]));
    const tokens = rowMagnitudes(first);
    const features = columnMagnitudes(matrix);
    this.#reading.after(x.device, () => {
      const found = all.read();
      checkFinite(found, `${name} of sequence ${sequence}`);
      const { mean, median, over, largest } = found;
      const { maxima, rows } = features.read();
      const statistics: ActivationStatistics = {
        sequence,
        mean,
        median,
        top: largest.slice(0, TOP).map(activationValue),
        outlierCount: over,
        outliers: largest.slice(0, over).map(activationValue),
        tokenMaxima: [...tokens.read().maxima],
        topFeatures: largestIndices(maxima, TOP)
          .map((feature) => ({ feature, value: maxima[feature]!, token: rows[feature]! })),
      };
      this.#layers.set(layer, [...this.#layers.get(layer) ?? [], statistics]);
    });
  }

  /** What was found, once the forward pass is over. */
  async result(): Promise<ActivationAnalysis> {
    await this.#reading.finish();
    const layers = [...this.#layers].sort(([a], [b]) => a - b).map(([layer, sequences]) => ({
      layer: layer + 1,
      sequences: sequences.sort((a, b) => a.sequence - b.sequence),
    }));
    return { layers };
  }
}
