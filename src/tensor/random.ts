// Random tensors. Each draw takes a number from a generator, and each element is a function of the generator's
// seed, that number and its index, so the values are the same on any device.

import { Device } from "../cuda/device.ts";
import { defineOp } from "./autograd/define_op.ts";
import { noteAdvance } from "./autograd/recording.ts";
import { contiguous } from "./contiguous.ts";
import type { PlaceOptions } from "./create.ts";
import type { FloatType } from "./dtype.ts";
import { drawBlock } from "./philox.ts";
import { type Shape, Tensor } from "./tensor.ts";

/** Where a {@linkcode Generator} is: what it was seeded with, and how many draws were made since. */
export interface GeneratorState {
	/** From 0 to 2⁵³ - 1. */
	seed: number;
	/** From 0 to 2⁵³ - 1. */
	offset: number;
}

/**
 * A source of random tensors: the same seed gives the same tensors in the same order, on any device.
 *
 * @example Repeat a draw
 * ```ts
 * import { Device, Generator, normal } from "@outlierscope/outlierscope";
 * await Device.open();
 * const generator = new Generator(7);
 * const { state } = generator;
 * using a = normal([2, 3], { generator });
 * generator.state = state;
 * using b = normal([2, 3], { generator });
 * console.log(await a.data(), await b.data()); // the same numbers twice
 * ```
 */
export class Generator {
	#seed = 0;
	#offset = 0;

	/**
	 * Starts at the first draw.
	 *
	 * @param seed a whole number from 0 to 2⁵³ - 1; by default one that nobody knows
	 */
	constructor(seed: number = crypto.getRandomValues(new Uint32Array(1))[0]!) {
		this.manualSeed(seed);
	}

	/** Starts over with another seed. */
	manualSeed(seed: number): this {
		this.state = { seed, offset: 0 };
		return this;
	}

	/** What it was seeded with. */
	get seed(): number {
		return this.#seed;
	}

	/** Where it is. Setting it repeats the draws that were made from there. */
	get state(): GeneratorState {
		return { seed: this.#seed, offset: this.#offset };
	}
	set state({ seed, offset }: GeneratorState) {
		for (const [name, value] of Object.entries({ seed, offset })) {
			if (!Number.isSafeInteger(value) || value < 0) {
				throw new RangeError(
					`Cannot use ${value} as a generator's ${name}: it must be whole, from 0 to 2⁵³ - 1`,
				);
			}
		}
		this.#seed = seed;
		this.#offset = offset;
	}

	/** The seed and the number of the next draw, which then counts as made. */
	draw(): GeneratorState {
		noteAdvance(this);
		const { state } = this;
		this.#offset++;
		return state;
	}
}

/** The generator of draws that name none. */
export const defaultGenerator: Generator = new Generator();

/** Seeds the {@linkcode defaultGenerator}. */
export function manualSeed(seed: number): Generator {
	return defaultGenerator.manualSeed(seed);
}

/** Options of random tensors. */
export interface RandomOptions extends Pick<PlaceOptions, "device"> {
	/** Where the numbers come from; by default {@linkcode defaultGenerator}. */
	generator?: Generator;
}

/** Options of random tensors of real numbers. */
export interface RealOptions<D extends FloatType> extends RandomOptions, PlaceOptions {
	/** Element type; by default `float32`. */
	dtype?: D;
}

/** Options of {@linkcode uniform}. */
export interface UniformOptions<D extends FloatType> extends RealOptions<D> {
	/** The smallest value; by default 0. */
	low?: number;
	/** What values stay below; by default 1. */
	high?: number;
}

/** Options of {@linkcode normal}. */
export interface NormalOptions<D extends FloatType> extends RealOptions<D> {
	/** The mean; by default 0. */
	mean?: number;
	/** The standard deviation; by default 1. */
	std?: number;
}

/** Options of {@linkcode truncatedNormal}. */
export interface TruncatedNormalOptions<D extends FloatType> extends NormalOptions<D> {
	/** The smallest value; by default -2. */
	low?: number;
	/** The largest value; by default 2. */
	high?: number;
}

const float = new Float32Array(1), bits = new Uint32Array(float.buffer);

/** The largest number of a type that is below `value`, or with `included`, not above it. */
function largestBelow(value: number, dtype: FloatType, included = false): number {
	const places = dtype === "bfloat16" ? 16 : 0;
	const good = (x: number) => included ? x <= value : x < value;
	float[0] = value;
	bits[0] = bits[0]! >>> places << places;
	if (good(float[0])) return float[0];
	// The neighbour below: of positive numbers that with the next smaller bits, of negative ones the next larger.
	if (float[0] === 0) bits[0] = 0x80000000;
	bits[0] = float[0] > 0 ? bits[0]! - (1 << places) : bits[0]! + (1 << places);
	return float[0];
}

/** A warp takes 128 elements at a time. */
const tiles = (size: number) => Math.ceil(size / 128);

function make<D extends FloatType | "int32" | "uint8", S extends readonly number[]>(
	kernel: string,
	dtype: D,
	shape: S,
	options: RandomOptions & PlaceOptions,
	...args: number[]
): Tensor<D, S["length"]> {
	const { generator = defaultGenerator, device = Device.current, requiresGrad = false } = options;
	const y = Tensor.empty<D, S["length"]>(device, dtype, shape as Shape<S["length"]>);
	const { seed, offset } = generator.draw();
	if (y.size > 0) {
		device.kernel(kernel).overRows(tiles(y.size), y.pointer, y.size, seed, offset, ...args);
	}
	return requiresGrad ? y.requireGrad() : y;
}

/**
 * Uniformly distributed numbers: multiples of 2⁻²⁴ from 0 to 1, not included, stretched to [low, high).
 *
 * @throws {RangeError} unless low < high and both are finite
 *
 * @example Noise
 * ```ts
 * import { Device, uniform } from "@outlierscope/outlierscope";
 * await Device.open();
 * using x = uniform([2, 3], { low: -1, high: 1 });
 * ```
 */
export function uniform<const S extends readonly number[], D extends FloatType = "float32">(
	shape: S,
	{ low = 0, high = 1, dtype = "float32" as D, ...options }: UniformOptions<D> = {},
): Tensor<D, S["length"]> {
	if (!(low < high && high - low < 2 ** 128)) {
		throw new RangeError(`Cannot draw from ${low} to ${high}: the first must be less, both finite`);
	}
	const largest = largestBelow(high, dtype);
	return make(`uniform_${dtype}`, dtype, shape, options, low, (high - low) / 2 ** 24, largest);
}

function checkNormal(mean: number, std: number): void {
	if (!(Number.isFinite(mean) && Number.isFinite(std) && std >= 0)) {
		throw new RangeError(
			`Cannot draw with mean ${mean} and standard deviation ${std}: ` +
				"both must be finite, the second not negative",
		);
	}
}

/**
 * Normally distributed numbers, by Box and Muller's transform; the farthest are 6.7 deviations from the mean.
 *
 * @throws {RangeError} unless mean and std are finite and std is not negative
 */
export function normal<const S extends readonly number[], D extends FloatType = "float32">(
	shape: S,
	{ mean = 0, std = 1, dtype = "float32" as D, ...options }: NormalOptions<D> = {},
): Tensor<D, S["length"]> {
	checkNormal(mean, std);
	return make(`normal_${dtype}`, dtype, shape, options, mean, std);
}

/** What lies above z of the standard normal distribution, in float64: a series, or a continued fraction far out. */
function above(z: number): number {
	if (z < 0) return 1 - above(-z);
	const density = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
	if (z > 3) {
		let fraction = 0;
		for (let k = 100; k > 0; k--) fraction = k / (z + fraction);
		return density / (z + fraction);
	}
	let term = z, sum = z;
	for (let k = 3; k < 100; k += 2) sum += term *= z * z / k;
	return 0.5 - density * sum;
}

/**
 * Normally distributed numbers of which those outside of [low, high] are left out, as weights are initialized; by
 * the inverse distribution function.
 *
 * @throws {RangeError} unless low < high, mean and std are finite, std is positive, and one of low and high is
 *   within 6 deviations of the mean, or they are on both sides of it
 */
export function truncatedNormal<
	const S extends readonly number[],
	D extends FloatType = "float32",
>(
	shape: S,
	{ mean = 0, std = 1, low = -2, high = 2, dtype = "float32" as D, ...options }:
		TruncatedNormalOptions<D> = {},
): Tensor<D, S["length"]> {
	checkNormal(mean, std);
	const a = (low - mean) / std, b = (high - mean) / std;
	if (!(std > 0 && a < b && a < 6 && b > -6)) {
		throw new RangeError(
			`Cannot draw from ${low} to ${high} with mean ${mean} and standard deviation ${std}: the range ` +
				"must not be empty, and reach within 6 deviations of the mean",
		);
	}
	// The mass in between from that of the tail that is smaller: the difference of two large ones has no digits.
	const between = a > 0 ? above(a) - above(b) : above(-b) - above(-a);
	return make(
		`truncated_normal_${dtype}`,
		dtype,
		shape,
		options,
		mean,
		std,
		above(-a),
		above(b),
		Math.abs(between),
		-largestBelow(-low, dtype, true),
		largestBelow(high, dtype, true),
	);
}

/** The number of words of 2³² that are below p · 2³². */
function threshold(operation: string, p: number): number {
	if (!(p >= 0 && p <= 1)) {
		throw new RangeError(`Cannot compute ${operation} with probability ${p}: not from 0 to 1`);
	}
	return Math.round(p * 2 ** 32);
}

/**
 * A mask whose elements are 1 with probability p, else 0.
 *
 * @throws {RangeError} if p is not from 0 to 1
 */
export function bernoulli<const S extends readonly number[]>(
	shape: S,
	p: number,
	options: RandomOptions = {},
): Tensor<"uint8", S["length"]> {
	const below = threshold("bernoulli", p);
	const mask = make("bernoulli", "uint8", shape, options, below % 2 ** 32);
	// The one threshold that has no room in 32 bits.
	if (below === 2 ** 32 && mask.size > 0) mask.device.fill(mask.pointer, 1, mask.byteLength);
	return mask;
}

/**
 * Whole numbers from low to high, not included, each as likely as the others within a part in 2³².
 *
 * @throws {RangeError} unless low < high and both are int32
 */
export function randint<const S extends readonly number[]>(
	shape: S,
	low: number,
	high: number,
	options: RandomOptions = {},
): Tensor<"int32", S["length"]> {
	if ((low | 0) !== low || (high | 0) !== high || low >= high) {
		throw new RangeError(
			`Cannot draw whole numbers from ${low} to ${high}: both must be int32, the first less`,
		);
	}
	return make("random_integers", "int32", shape, options, low, high - low);
}

/**
 * The numbers from 0 to count - 1 in random order, each order as likely as the others (Fisher and Yates's shuffle,
 * on the CPU).
 *
 * @returns [count]
 */
export function permutation(
	count: number,
	{ generator = defaultGenerator, device = Device.current }: RandomOptions = {},
): Tensor<"int32", 1> {
	if (!((count | 0) === count && count >= 0)) {
		throw new RangeError(`Cannot permute ${count} numbers: the count must be int32, not negative`);
	}
	const order = Int32Array.from({ length: count }, (_, i) => i), draw = generator.draw();
	for (let i = count - 1; i > 0; i--) {
		const [high, low] = drawBlock(draw, i) as [number, number];
		const other = Math.floor((high * 2 ** 21 + (low >>> 11)) / 2 ** 53 * (i + 1));
		[order[i], order[other]] = [order[other]!, order[i]!];
	}
	return Tensor.from<"int32", 1>(device, "int32", [count], order);
}

const dropoutOp = defineOp(
	"dropout",
	(x: Tensor<FloatType>, below: number, scale: number, { seed, offset }: GeneratorState) => {
		const masked = (x: Tensor<FloatType>): Tensor<FloatType> => {
			if (below === 2 ** 32) return Tensor.zeros(x.device, x.dtype, x.shape);
			const from = contiguous(x), y = Tensor.empty(x.device, x.dtype, x.shape);
			if (y.size > 0) {
				x.device.kernel(`dropout_${x.dtype}`).overRows(
					tiles(y.size),
					y.pointer,
					from.pointer,
					y.size,
					seed,
					offset,
					below,
					scale,
				);
			}
			return y;
		};
		// The mask of the gradient is computed again: no memory holds it.
		return { result: masked(x), inputs: [x], backward: (gradient) => [masked(gradient)] };
	},
);

/**
 * x with each element replaced by 0 with probability p, and the others divided by 1 - p, so that the mean stays
 * (Srivastava et al. 2014, "Dropout").
 *
 * @param p by default 0.5
 * @throws {RangeError} if p is not from 0 to 1
 *
 * @example One in ten
 * ```ts
 * import { Device, dropout, ones } from "@outlierscope/outlierscope";
 * await Device.open();
 * using x = ones([2, 3]), y = dropout(x, 0.1);
 * console.log(await y.data()); // 0 or 1.11...
 * ```
 */
export function dropout<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	p = 0.5,
	{ generator = defaultGenerator }: Pick<RandomOptions, "generator"> = {},
): Tensor<D, R> {
	return dropoutOp(x, threshold("dropout", p), 1 / (1 - p), generator.draw()) as Tensor<D, R>;
}
