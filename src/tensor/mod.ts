// What users import of devices and tensors alone.
/**
 * Devices and tensors alone: memory, streams and kernels on an NVIDIA GPU or, by the same code, the CPU; functions of
 * tensors; gradients; random numbers.
 *
 * @example A gradient
 * ```ts
 * import { Device, mul, sum, type Tensor, tensor, valueAndGrad } from "jsr:@outlierscope/outlierscope/tensor";
 *
 * await Device.open();
 * using x = tensor([1, 2, 3]);
 * const { value, gradients: [slope] } = valueAndGrad((x: Tensor<"float32", 1>) => sum(mul(x, x)))(x);
 * console.log(value.item(), slope?.toArray()); // 14 [ 2, 4, 6 ]
 * ```
 *
 * @module
 */

export { type KernelSource } from "../cuda/compile.ts";
export { Device, type DeviceOptions } from "../cuda/device.ts";
export { type DeviceInfo } from "../cuda/device_list.ts";
export { Event } from "../cuda/event.ts";
export { Graph } from "../cuda/graph.ts";
export { type Holder } from "../cuda/memory.ts";
export { PinnedMemory } from "../cuda/pinned_memory.ts";
export { Lanes } from "../cuda/lanes.ts";
export { Stream } from "../cuda/stream.ts";
export { Kernel } from "../cuda/kernel.ts";
export {
	type KernelParameter,
	type KernelSignature,
	type ParameterKind,
} from "../cuda/kernel_source.ts";
export { CompileError, CudaError, type OutOfMemory, OutOfMemoryError } from "../cuda/errors.ts";
export { ParallelError, type Patience } from "../parallel/channel.ts";
export { type Launch, readLaunch } from "../cuda/launch.ts";
export { ProcessGroup, type Values } from "../parallel/process_group.ts";
export { type CommunicatedType, Communicator, type Reduction } from "../cuda/communicator.ts";
export { LibraryError } from "../ffi/libraries.ts";
export { HostBuildError } from "../host/build.ts";
export {
	arange,
	type ArangeOptions,
	type CreateOptions,
	eye,
	full,
	fullLike,
	linspace,
	type NestedNumbers,
	ones,
	onesLike,
	type PlaceOptions,
	type RankOf,
	tensor,
	zeros,
	zerosLike,
} from "./create.ts";
export { type NestedArray, type NestedNumberArray } from "./print.ts";
export * from "./random.ts";
export { type DataOf, type DType, type FloatType } from "./dtype.ts";
export { keep, type Owned, scope } from "./scope.ts";
export { type Shape, Tensor } from "./tensor.ts";
export { type MaxRank, type Minus, type Minus1, type Plus1 } from "./rank.ts";
export { type BackwardOptions } from "./autograd/backward.ts";
export { checkpoint } from "./autograd/checkpoint.ts";
export { type Computed, defineOp, type GradientOf } from "./autograd/define_op.ts";
export { grad, gradients, valueAndGrad, type ValueAndGradients } from "./autograd/grad.ts";
export { type Backward, type Edge, type GradientHook, GraphNode } from "./autograd/graph.ts";
export { enableGrad, noGrad } from "./autograd/recording.ts";
export {
	type Activation,
	biasActivation,
	geglu,
	gelu,
	type GeluOptions,
	glu,
	reglu,
	relu,
	silu,
	softplus,
	swiglu,
} from "./activation.ts";
export {
	add,
	addInPlace,
	type Binary,
	div,
	maximum,
	minimum,
	mul,
	mulInPlace,
	type NumberType,
	pow,
	sub,
} from "./arithmetic.ts";
export { cast } from "./cast.ts";
export {
	type ComparedType,
	type Comparison,
	equal,
	greater,
	greaterEqual,
	isFinite,
	isNaN,
	less,
	lessEqual,
	type Logical,
	logicalAnd,
	logicalNot,
	logicalOr,
	notEqual,
} from "./compare.ts";
export { contiguous, copyInto } from "./contiguous.ts";
export {
	abs,
	clamp,
	type ClampOptions,
	cos,
	erf,
	exp,
	expm1,
	floor,
	log,
	log1p,
	neg,
	reciprocal,
	round,
	rsqrt,
	sigmoid,
	sign,
	sin,
	sqrt,
	square,
	tanh,
	type Unary,
} from "./unary.ts";
export { type ChosenType, where } from "./where.ts";
export { type Axes, type OverAxes, type ReducedRank, type ReduceOptions } from "./axes.ts";
export { cumulativeSum, mean, prod, sum } from "./sums.ts";
export { sumTo } from "./sum_to.ts";
export { all, any, argmax, argmin, type IndexAlong, max, min } from "./extrema.ts";
export {
	logSumExp,
	norm,
	std,
	variance,
	type VarianceOptions,
	type VectorNormOptions,
} from "./moments.ts";
export {
	median,
	quantile,
	sort,
	type Sorted,
	type SortOptions,
	topK,
	type TopKOptions,
} from "./order.ts";
export { logSoftmax, softmax, type SoftmaxOptions } from "./softmax.ts";
export { crossEntropy, type CrossEntropyOptions, type LossReduction } from "./cross_entropy.ts";
export { embedding, gatherRows, indexSelect, oneHot, scatterAdd, takeAlongAxis } from "./gather.ts";
export { concatenate, pad, type Padding, repeat, split, stack, tile } from "./join.ts";
export {
	binaryCrossEntropyWithLogits,
	klDivergence,
	type LossOptions,
	type LossRank,
	mseLoss,
} from "./losses.ts";
export {
	addLinear,
	linear,
	type LinearOptions,
	type MixedLinearOptions,
	type Rows,
	type Weight,
} from "./linear.ts";
export {
	addLayerNorm,
	addRmsNorm,
	layerNorm,
	type LayerNormOptions,
	type NormOptions,
	rmsNorm,
} from "./norm.ts";
export {
	alibiBias,
	type AlibiBiasOptions,
	alibiSlopes,
	causalMask,
	type CausalMaskOptions,
} from "./masks.ts";
export { rotary, type RotaryAngles, type RotaryOptions } from "./rotary.ts";
export { matmul, type MatmulOptions, type MatmulRank } from "./matmul.ts";
export { expand, permute, reshape, slice, squeeze, transpose, unsqueeze } from "./views.ts";
