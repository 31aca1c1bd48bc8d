// What chance gives: every criterion on models that have learned nothing, or whose weights have lost their places. They
// are made of the model's own parameters as these are read, so that only one model is in memory.

import { changeWeights, type Transformer, type WeightChange } from "../nn/mod.ts";
import { parameterSpecs } from "../nn/parameters.ts";
import { initialize } from "../nn/resident_weights.ts";
import {
	add,
	concatenate,
	Generator,
	indexSelect,
	keep,
	mean,
	mul,
	normal,
	permutation,
	sort,
	std,
	takeAlongAxis,
	Tensor,
} from "../tensor/mod.ts";
import { type Detection, type Detector, runDetectors } from "./detectors/detector.ts";
import type { PassOptions } from "./pass.ts";

/** Models to compare with. */
export type NullKind = "untrained" | "shuffled" | "matched";

/** What each of them is. */
export const NULL_DEFINITIONS: Readonly<Record<NullKind, string>> = {
	untrained:
		"the same architecture with first parameters as for training: normal with standard deviation 0.02, smaller " +
		"where branches join the residual stream, gains 1, biases 0",
	shuffled:
		"each parameter's values in random order, of embeddings each token's; every distribution of weights stays, " +
		"their places are lost",
	matched:
		"each parameter drawn from the normal distribution with its own mean and standard deviation, of embeddings " +
		"each token's; the scale stays, heavy tails are lost as well",
};

/** Tokens whose random numbers are drawn together. */
const TOKENS_TOGETHER = 4096;

/** A whole number of 32 bits that differs between names (FNV-1a). */
function hashOf(name: string): number {
	let hash = 0x811c9dc5;
	for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
	return hash >>> 0;
}

/** A generator that gives the same for a name whenever it is asked, and room for draws. */
function generatorOf(seed: number, name: string, draw = 0): Generator {
	const generator = new Generator(seed);
	generator.state = { seed, offset: hashOf(name) * 2 ** 20 + draw };
	return generator;
}

const int32 = ({ device }: Tensor, values: readonly number[]) =>
	Tensor.from<"int32", 1>(device, "int32", [values.length], values);

/** Standard normal numbers of tokens, [ids.length, width]: the same for a token wherever it is. */
function normalOfTokens(like: Tensor<"float32", 2>, ids: readonly number[], seed: number) {
	const [, width] = like.shape, { device } = like;
	const places: number[] = [], parts: Tensor<"float32", 2>[] = [];
	const positions = Map.groupBy(ids.keys(), (i) => Math.floor(ids[i]! / TOKENS_TOGETHER));
	for (const [together, some] of positions) {
		const generator = generatorOf(seed, "embed.weight", together);
		const table = normal([TOKENS_TOGETHER, width], { device, generator });
		parts.push(indexSelect(table, int32(like, some.map((i) => ids[i]! % TOKENS_TOGETHER))));
		places.push(...some);
	}
	const back = new Array<number>(ids.length);
	places.forEach((place, i) => back[place] = i);
	return indexSelect(concatenate(parts), int32(like, back));
}

/** As many numbers as the values have, normal with their mean and standard deviation along the last axis or over all. */
function likeNormal(z: Tensor<"float32">, values: Tensor<"float32">, axis?: number) {
	const options = { keepDims: true, correction: 0 };
	const scale = axis === undefined ? std(values, undefined, options) : std(values, axis, options);
	const center = axis === undefined
		? mean(values, undefined, options)
		: mean(values, axis, options);
	return add(mul(z, scale), center);
}

type Change = Omit<WeightChange, "description">;

function untrained(model: Transformer, seed: number): Change {
	const { outside, layer } = parameterSpecs(model.config, model.attention.parameters(model.config));
	const specs = new Map([...outside, ...layer].map((spec) => [spec.name, spec]));
	const how = (name: string) => specs.get(name.replace(/^layers\.\d+\./, ""))!.initialize;
	return {
		parameter: (name, { device, shape }) =>
			initialize(device, shape, how(name), generatorOf(seed, name)),
		embeddings(rows, ids) {
			const first = how("embed.weight");
			return normalOfTokens(rows, ids, seed).mul("normal" in first ? first.normal : 0);
		},
		[Symbol.dispose]() {},
	};
}

function shuffled(seed: number): Change {
	// One order for each number of values, begun at another place for each parameter.
	const orders = new Map<number, Tensor<"int32", 1>>();
	return {
		parameter(name, values) {
			const { size, device, shape } = values;
			const order = orders.get(size) ??
				keep(permutation(size, { device, generator: generatorOf(seed, `order of ${size}`) }));
			orders.set(size, order);
			const begin = hashOf(`${seed} ${name}`) % size, flat = values.reshape([size]);
			const turned = concatenate([flat.slice(begin, size), flat.slice(0, begin)]);
			return takeAlongAxis(turned, order, 0).reshape(shape) as Tensor<"float32">;
		},
		embeddings: (rows, ids) =>
			takeAlongAxis(rows, sort(normalOfTokens(rows, ids, seed), 1).indices, 1),
		[Symbol.dispose]() {
			for (const order of orders.values()) order.dispose();
		},
	};
}

function matched(seed: number): Change {
	return {
		parameter(name, values) {
			const { device, shape } = values;
			return likeNormal(normal(shape, { device, generator: generatorOf(seed, name) }), values);
		},
		embeddings: (rows, ids) =>
			likeNormal(normalOfTokens(rows, ids, seed), rows, 1) as Tensor<"float32", 2>,
		[Symbol.dispose]() {},
	};
}

/**
 * A model to compare with. It reads the parameters of the other, which must outlive it; free it with `using`.
 *
 * @param seed the same seed gives the same model, on any device
 */
export function nullModel(model: Transformer, kind: NullKind, seed: number): Transformer {
	if (!Object.hasOwn(NULL_DEFINITIONS, kind)) {
		const known = Object.keys(NULL_DEFINITIONS).join(", ");
		throw new RangeError(`Cannot make the null model "${kind}": there are ${known}`);
	}
	const change = kind === "untrained"
		? untrained(model, seed)
		: kind === "shuffled"
		? shuffled(seed)
		: matched(seed);
	const description = `${kind}, seed ${seed}`;
	return changeWeights(model, { ...change, description }, `${model.name} (${description})`);
}

/** Which models to compare with. */
export interface NullOptions {
	/** The kinds. @default {all three} */
	kinds?: readonly NullKind[];
	/** A model of each kind is made of each seed. @default {[1, 2, 3]} */
	seeds?: readonly number[];
}

/** A result of a null model. */
export interface NullResult<T> {
	/** Which kind. */
	kind: NullKind;
	/** Of which seed. */
	seed: number;
	/** What was found of it. */
	result: T;
}

/**
 * Does the same with a model and with models that have learned nothing, one after the other.
 *
 * @param run any analysis
 * @example Is the peak more than chance?
 * ```ts ignore
 * const { model: found, nulls } = await runWithNulls(model, (each) => headline(each));
 * console.log(found.activationPeak?.value, nulls.map(({ result }) => result.activationPeak?.value));
 * ```
 */
export async function runWithNulls<T>(
	model: Transformer,
	run: (model: Transformer) => Promise<T>,
	{ kinds = ["untrained", "shuffled", "matched"], seeds = [1, 2, 3] }: NullOptions = {},
): Promise<{ model: T; nulls: NullResult<T>[] }> {
	const result = await run(model), nulls: NullResult<T>[] = [];
	for (const kind of kinds) {
		for (const seed of seeds) {
			using other = nullModel(model, kind, seed);
			nulls.push({ kind, seed, result: await run(other) });
		}
	}
	return { model: result, nulls };
}

/** What chance gives by one criterion. */
export interface Chance {
	/** Which models. */
	kind: NullKind;
	/** The statistic of each seed's model; null where nothing could be measured. */
	values: (number | null)[];
	/** In how many of them the criterion finds something; null of a statistic without a threshold. */
	found: number | null;
	/** The criterion's further numbers, of each seed's model. */
	numbers: Record<string, number>[];
	/**
	 * (1 + how many of them are at least as extreme as the model) / (1 + how many there are): it cannot be smaller than
	 * 1 / (1 + seeds). Null where nothing could be measured.
	 */
	p: number | null;
}

/** A criterion beside what chance gives. */
export interface AgainstChance {
	/** What it says of the model. */
	detection: Detection;
	/** What it says of the others, by kind. */
	chance: Chance[];
}

/** Criteria beside what chance gives. */
export interface NullComparison {
	/** What the models to compare with are. */
	definitions: Partial<Record<NullKind, string>>;
	/** Their seeds. */
	seeds: number[];
	/** Each criterion, in the order they were given. */
	criteria: AgainstChance[];
}

function chanceOf(
	kind: NullKind,
	{ statistic: { of, value } }: Detection,
	others: readonly Detection[],
): Chance {
	const values = others.map(({ statistic }) => statistic.value);
	const measured = values.filter((each) => each !== null);
	const extreme = value === null
		? 0
		: measured.filter((each) => of === "smallest" ? each <= value : each >= value).length;
	return {
		kind,
		values,
		found: others.every(({ found }) => found === null)
			? null
			: others.filter(({ found }) => found).length,
		numbers: others.map(({ numbers }) => numbers),
		p: value === null || measured.length === 0 ? null : (1 + extreme) / (1 + measured.length),
	};
}

/**
 * What criteria say of a model, and what they say by chance: of the untrained network, of shuffled weights, and of weights
 * drawn to match the model's in mean and deviation.
 *
 * @param sequences token ids of each sequence
 */
export async function compareWithNulls(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	detectors: readonly Detector[],
	{ kinds = ["untrained", "shuffled", "matched"], seeds = [1, 2, 3], ...pass }:
		& NullOptions
		& PassOptions = {},
): Promise<NullComparison> {
	const run = (each: Transformer) => runDetectors(each, sequences, detectors, pass);
	const { model: found, nulls } = await runWithNulls(model, run, { kinds, seeds });
	return {
		definitions: Object.fromEntries(kinds.map((kind) => [kind, NULL_DEFINITIONS[kind]])),
		seeds: [...seeds],
		criteria: found.map((detection, i) => ({
			detection,
			chance: kinds.map((kind) => {
				const ofKind = nulls.filter((each) => each.kind === kind);
				return chanceOf(kind, detection, ofKind.map(({ result }) => result[i]!));
			}),
		})),
	};
}
