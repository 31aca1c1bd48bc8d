// The kernel sources of this library, and which kernels each has. A kernel's signature is read from its source.

import type { KernelSource } from "./compile.ts";
import { parseKernels } from "./kernel_source.ts";
import activation from "./kernels/activation.cu" with { type: "text" };
import attention from "./kernels/attention.cu" with { type: "text" };
import binary from "./kernels/binary.cu" with { type: "text" };
import cast from "./kernels/cast.cu" with { type: "text" };
import compare from "./kernels/compare.cu" with { type: "text" };
import copy from "./kernels/copy.cu" with { type: "text" };
import crossEntropy from "./kernels/cross_entropy.cu" with { type: "text" };
import dequantize from "./kernels/dequantize.cu" with { type: "text" };
import dequantizeGrid from "./kernels/dequantize_grid.cu" with { type: "text" };
import dequantizeI from "./kernels/dequantize_i.cu" with { type: "text" };
import dequantizeK from "./kernels/dequantize_k.cu" with { type: "text" };
import find from "./kernels/find.cu" with { type: "text" };
import gated from "./kernels/gated.cu" with { type: "text" };
import gather from "./kernels/gather.cu" with { type: "text" };
import inPlace from "./kernels/in_place.cu" with { type: "text" };
import masks from "./kernels/masks.cu" with { type: "text" };
import losses from "./kernels/losses.cu" with { type: "text" };
import norm from "./kernels/norm.cu" with { type: "text" };
import normBackward from "./kernels/norm_backward.cu" with { type: "text" };
import optimizer from "./kernels/optimizer.cu" with { type: "text" };
import random from "./kernels/random.cu" with { type: "text" };
import reduce from "./kernels/reduce.cu" with { type: "text" };
import rotary from "./kernels/rotary.cu" with { type: "text" };
import scan from "./kernels/scan.cu" with { type: "text" };
import scatter from "./kernels/scatter.cu" with { type: "text" };
import select from "./kernels/select.cu" with { type: "text" };
import softmax from "./kernels/softmax.cu" with { type: "text" };
import sort from "./kernels/sort.cu" with { type: "text" };
import spread from "./kernels/spread.cu" with { type: "text" };
import statistics from "./kernels/statistics.cu" with { type: "text" };
import swapAxes from "./kernels/swap_axes.cu" with { type: "text" };
import unary from "./kernels/unary.cu" with { type: "text" };

const texts = {
	"activation.cu": activation,
	"attention.cu": attention,
	"binary.cu": binary,
	"cast.cu": cast,
	"compare.cu": compare,
	"copy.cu": copy,
	"cross_entropy.cu": crossEntropy,
	"dequantize.cu": dequantize,
	"dequantize_grid.cu": dequantizeGrid,
	"dequantize_i.cu": dequantizeI,
	"dequantize_k.cu": dequantizeK,
	"find.cu": find,
	"gated.cu": gated,
	"gather.cu": gather,
	"in_place.cu": inPlace,
	"masks.cu": masks,
	"losses.cu": losses,
	"norm.cu": norm,
	"norm_backward.cu": normBackward,
	"optimizer.cu": optimizer,
	"random.cu": random,
	"reduce.cu": reduce,
	"rotary.cu": rotary,
	"scan.cu": scan,
	"scatter.cu": scatter,
	"select.cu": select,
	"softmax.cu": softmax,
	"sort.cu": sort,
	"spread.cu": spread,
	"statistics.cu": statistics,
	"swap_axes.cu": swapAxes,
	"unary.cu": unary,
};

/** Every kernel source. */
export const kernelSources: KernelSource[] = Object.entries(texts)
	.map(([name, text]) => ({ name, text }));

let byKernel: Map<string, KernelSource> | undefined;

/** The source that has the kernel of this name, if one has. */
export function sourceOf(kernel: string): KernelSource | undefined {
	byKernel ??= new Map(
		kernelSources.flatMap((source) => parseKernels(source.text).map(({ name }) => [name, source])),
	);
	return byKernel.get(kernel);
}
