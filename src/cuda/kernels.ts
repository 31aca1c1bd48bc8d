// The kernel sources of this library. A kernel's signature is read from its source.

import type { KernelSource } from "./compile.ts";
import attention from "./kernels/attention.cu" with { type: "text" };
import cast from "./kernels/cast.cu" with { type: "text" };
import copy from "./kernels/copy.cu" with { type: "text" };
import crossEntropy from "./kernels/cross_entropy.cu" with { type: "text" };
import dequantize from "./kernels/dequantize.cu" with { type: "text" };
import find from "./kernels/find.cu" with { type: "text" };
import gather from "./kernels/gather.cu" with { type: "text" };
import masks from "./kernels/masks.cu" with { type: "text" };
import losses from "./kernels/losses.cu" with { type: "text" };
import norm from "./kernels/norm.cu" with { type: "text" };
import normBackward from "./kernels/norm_backward.cu" with { type: "text" };
import random from "./kernels/random.cu" with { type: "text" };
import reduce from "./kernels/reduce.cu" with { type: "text" };
import rotary from "./kernels/rotary.cu" with { type: "text" };
import scan from "./kernels/scan.cu" with { type: "text" };
import scatter from "./kernels/scatter.cu" with { type: "text" };
import softmax from "./kernels/softmax.cu" with { type: "text" };
import sort from "./kernels/sort.cu" with { type: "text" };
import spread from "./kernels/spread.cu" with { type: "text" };
import statistics from "./kernels/statistics.cu" with { type: "text" };
import swapAxes from "./kernels/swap_axes.cu" with { type: "text" };
import swiglu from "./kernels/swiglu.cu" with { type: "text" };

const texts = {
  "attention.cu": attention,
  "cast.cu": cast,
  "copy.cu": copy,
  "cross_entropy.cu": crossEntropy,
  "dequantize.cu": dequantize,
  "find.cu": find,
  "gather.cu": gather,
  "masks.cu": masks,
  "losses.cu": losses,
  "norm.cu": norm,
  "norm_backward.cu": normBackward,
  "random.cu": random,
  "reduce.cu": reduce,
  "rotary.cu": rotary,
  "scan.cu": scan,
  "scatter.cu": scatter,
  "softmax.cu": softmax,
  "sort.cu": sort,
  "spread.cu": spread,
  "statistics.cu": statistics,
  "swap_axes.cu": swapAxes,
  "swiglu.cu": swiglu,
};

/** Every kernel source. */
export const kernelSources: KernelSource[] = Object.entries(texts)
  .map(([name, text]) => ({ name, text }));
