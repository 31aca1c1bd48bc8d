// Parameters that are read from a checkpoint when they are needed, one layer at a time, so that memory does
// not grow with a model's depth.

import {
	cast,
	copyInto,
	type Device,
	type FloatType,
	keep,
	scope,
	Stream,
	Tensor,
} from "../tensor/mod.ts";
import { type Checkpoint, Staging } from "../formats/mod.ts";
import { outsideScopes } from "../tensor/scope.ts";
import type { TransformerConfig } from "./config.ts";
import type { Family, Source, Sources, StoredPart } from "./family.ts";
import { WeightSet } from "./weight_set.ts";
import { type ParameterSpec, parameterSpecs, partsOf } from "./parameters.ts";
import { Probes } from "./probe.ts";
import { ResidentWeights } from "./resident_weights.ts";
import { emitWeight, wantsWeight } from "./weight_taps.ts";
import { finish, type Weights } from "./weights.ts";

/** Bytes that are read from a file at a time. */
const PIECE_BYTES = 2 ** 23;

/** A stored tensor, and the rows of a parameter that it fills. */
interface Piece {
	tensor: string;
	/** Extents of the rows. */
	shape: readonly number[];
	view?: StoredPart["view"];
	stored: readonly number[];
	/** Which part of the outermost axis it is, of a tensor with all experts. */
	expert?: number;
}

/** Finds the source of a parameter: under its own name, with `*` for numbers, or without `.weight`. */
function findSource(sources: Sources, name: string): Source | undefined {
	const pattern = name.replace(/\.\d+\./g, ".*.");
	const numbers = [...name.matchAll(/\.(\d+)\./g)].map(([, number]) => number!);
	const fill = (text: string) => {
		let next = 0;
		return text.replaceAll("*", () => numbers[next++]!);
	};
	const filled = (part: string | StoredPart, suffix: string) =>
		typeof part === "string"
			? fill(part) + suffix
			: { ...part, tensor: fill(part.tensor) + suffix };
	const suffix = /\.(weight|bias)$/.exec(name)?.[0] ?? "";
	const exact = sources[pattern], both = sources[pattern.slice(0, pattern.length - suffix.length)];
	const found = exact ?? both;
	if (found === undefined) return undefined;
	const end = exact === undefined ? suffix : "";
	return Array.isArray(found)
		? found.map((part) => filled(part, end))
		: filled(found as string | StoredPart, end);
}

/** The stored tensors that a parameter is made of. */
export function locate(
	sources: Sources,
	name: string,
	shape: readonly number[],
	config: TransformerConfig,
): Piece[] {
	const source = findSource(sources, name);
	if (source === undefined) {
		throw new Error(`The family ${config.family} has no source for ${name}`);
	}
	const parts = Array.isArray(source) ? source : [source as string | StoredPart];
	const base = name.replace(/^layers\.\d+\./, "").replace(/\.(weight|bias)$/, "");
	const rows = parts.length === 1 ? [shape[0]!] : partsOf(config, base).map((part) => part.rows);
	return parts.map((part, i): Piece => {
		const piece = [rows[i]!, ...shape.slice(1)];
		return typeof part === "string" ? { tensor: part, shape: piece, stored: piece } : {
			tensor: part.tensor,
			shape: piece,
			...part.stacked ? { expert: Number(/experts\.(\d+)/.exec(name)![1]) } : { view: part.view },
			stored: part.shape,
		};
	});
}

/** The parameters of a checkpoint. */
export class CheckpointWeights implements Weights {
	readonly #device: Device;
	readonly #checkpoint: Checkpoint;
	readonly #config: TransformerConfig;
	readonly #specs: ReturnType<typeof parameterSpecs>;
	readonly #pieces = new Map<string, Piece[]>();
	#staging: Staging | null = null;
	#stream: Stream | null = null;

	/**
	 * Checks that the checkpoint has every parameter with the shape that the configuration asks for, and no other.
	 *
	 * @param checkpoint it is closed when this is freed
	 * @param sources where it keeps the parameters
	 * @param options.ignored names of tensors that are no parameters
	 * @param options.prefix what comes before all names of the sources, if it does
	 * @param options.older the name that some files have for a tensor instead
	 */
	constructor(
		device: Device,
		checkpoint: Checkpoint,
		config: TransformerConfig,
		sources: Sources,
		{ ignored, prefix = "", older }: Pick<Family, "ignored" | "prefix" | "older"> = {},
	) {
		this.#device = device;
		this.#checkpoint = checkpoint;
		this.#config = config;
		this.#specs = parameterSpecs(config);
		const [embedding] = locate(sources, "embed.weight", [1], config);
		const names = [...checkpoint.tensors.keys()];
		const begin = names.some((name) => name === prefix + embedding!.tensor) ? prefix : "";
		const add = (name: string, shape: readonly number[]) => {
			const pieces = locate(sources, name, shape, config);
			this.#pieces.set(
				name,
				pieces.map((piece) => {
					const tensor = begin + piece.tensor, before = older?.(tensor) ?? tensor;
					return { ...piece, tensor: checkpoint.tensors.has(before) ? before : tensor };
				}),
			);
		};
		for (const spec of this.#specs.outside) add(spec.name, spec.shape);
		for (let layer = 0; layer < config.layers; layer++) {
			for (const { name, shape } of this.#specs.layer) {
				add(`layers.${layer}.${name}`, shape);
			}
		}
		const used = new Set<string>();
		for (const { tensor, stored } of [...this.#pieces.values()].flat()) {
			const found = checkpoint.tensor(tensor).shape;
			if (found.join() !== stored.join()) {
				throw checkpoint.error(`tensor "${tensor}" has shape [${found}], expected [${stored}]`);
			}
			used.add(tensor);
		}
		for (const name of names) {
			if (used.has(name) || ignored?.test(name)) continue;
			if ([...used].some((other) => checkpoint.isTied?.(name, other))) continue;
			throw checkpoint.error(`tensor "${name}" does not belong to a model of this family`);
		}
	}

	/** Closes the checkpoint. */
	[Symbol.dispose](): void {
		this.#staging?.[Symbol.dispose]();
		this.#stream?.[Symbol.dispose]();
		this.#checkpoint[Symbol.dispose]();
	}

	outside(names: readonly string[], dtype: FloatType): WeightSet {
		using stack = new DisposableStack();
		const tensors = new Map<string, Tensor<FloatType>>();
		for (const name of names) {
			const spec = this.#specs.outside.find((spec) => spec.name === name);
			if (!spec) continue;
			const type = spec.shape.length > 1 ? dtype : "float32";
			tensors.set(name, stack.use(this.#load(name, spec.shape, type)));
		}
		stack.move();
		return new WeightSet(tensors, true);
	}

	embed(
		ids: Tensor<"int32", 1>,
		list: readonly number[] = [...ids.dataSync()],
	): Tensor<"float32", 2> {
		const [piece] = this.#pieces.get("embed.weight")!;
		const rows = Tensor.empty<"float32", 2>(ids.device, "float32", [
			list.length,
			piece!.shape[1]!,
		]);
		this.#checkpoint.loadRows(rows, piece!.tensor, list);
		return rows;
	}

	get steps(): number {
		return this.#specs.layer.length;
	}

	*loadLayer(layer: number, dtype: FloatType, probes: Probes): Generator<void, WeightSet> {
		const device = this.#device;
		// On a stream of its own, a layer is loaded while the one before computes.
		const stream = this.#stream ??= new Stream(device);
		using stack = new DisposableStack(); // frees what is there if a read or a probe throws
		const tensors = new Map<string, Tensor<FloatType>>();
		for (const spec of this.#specs.layer) {
			const tensor = device.withStream(
				stream,
				() => outsideScopes(() => this.#loadOfLayer(layer, spec, dtype, probes)),
			);
			tensors.set(spec.name, stack.use(tensor));
			yield;
		}
		device.currentStream.wait(stream);
		stack.move();
		// Memory is freed in the order of the stream it came from, which must not be before the last use.
		return new WeightSet(tensors, true, () => stream.wait(device.currentStream));
	}

	/** All parameters in memory: matrices in the type, vectors in float32. */
	resident(dtype: FloatType): ResidentWeights {
		using stack = new DisposableStack();
		const parameters = new Map<string, Tensor<FloatType>>();
		const add = (prefix: string, set: WeightSet) => {
			for (const [name, tensor] of set.entries()) {
				parameters.set(prefix + name, stack.use(keep(tensor)));
			}
		};
		add("", this.outside(this.#specs.outside.map(({ name }) => name), dtype));
		for (let layer = 0; layer < this.#config.layers; layer++) {
			add(`layers.${layer}.`, finish(this.loadLayer(layer, dtype, new Probes([]))));
		}
		stack.move();
		return new ResidentWeights(this.#config, parameters);
	}

	/** A parameter of a layer; what probes want of it they get in float32 before it is rounded. */
	#loadOfLayer(
		layer: number,
		{ name, shape }: ParameterSpec,
		dtype: FloatType,
		probes: Probes,
	): Tensor<FloatType> {
		const isMatrix = shape.length > 1;
		const wanted = wantsWeight(this.#config, name, layer, probes);
		const type = isMatrix ? dtype : "float32";
		using stack = new DisposableStack();
		const tensor = stack.use(
			this.#load(`layers.${layer}.${name}`, shape, wanted ? "float32" : type),
		);
		if (wanted) emitWeight(this.#config, name, tensor, layer, probes);
		if (tensor.dtype !== type) return cast(tensor as Tensor<"float32">, "bfloat16");
		stack.move();
		return tensor;
	}

	#load(name: string, shape: readonly number[], dtype: FloatType): Tensor<FloatType> {
		const device = this.#device;
		const staging = this.#staging ??= new Staging(device, PIECE_BYTES);
		using stack = new DisposableStack(); // what is stored otherwise than it is used
		using onError = new DisposableStack();
		const whole = onError.use(Tensor.empty<FloatType, number>(device, dtype, shape));
		let row = 0;
		let stored: Tensor<FloatType> | null = null, last = "";
		for (const { tensor, shape: rows, view, stored: extents, expert } of this.#pieces.get(name)!) {
			using into = whole.slice(row, row += rows[0]!);
			if (expert !== undefined) {
				const first = expert * rows[0]!,
					list = Array.from({ length: rows[0]! }, (_, i) => first + i);
				this.#checkpoint.loadRows(into as Tensor<FloatType, 2>, tensor, list);
				continue;
			}
			if (!view) {
				this.#checkpoint.loadInto(into, tensor, staging);
				continue;
			}
			if (tensor !== last) { // parts of a fused tensor follow one another
				stored = stack.use(Tensor.empty<FloatType, number>(device, dtype, extents));
				this.#checkpoint.loadInto(stored, tensor, staging);
				last = tensor;
			}
			scope(() => {
				const part = view(stored!);
				copyInto(into.reshape(part.shape), part);
			});
		}
		onError.move();
		return whole;
	}
}
