// A checkpoint of several files with an index that says where each tensor is.

import type { FloatType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Checkpoint, entryOf, type StoredTensor } from "./checkpoint.ts";
import { readIndex } from "./safetensors.ts";
import type { Staging } from "./staging.ts";

/** Several open files that are one checkpoint. */
export class ShardedCheckpoint implements Checkpoint {
	/** The path of the index. */
	readonly path: string;
	/** Paths of its files. */
	readonly files: readonly string[];
	/** The tensors by name. */
	readonly tensors: ReadonlyMap<string, StoredTensor>;
	readonly #shardOf: ReadonlyMap<string, Checkpoint>;
	readonly #shards: readonly Checkpoint[];

	private constructor(path: string, shards: ReadonlyMap<string, Checkpoint>) {
		this.path = path;
		this.#shards = [...shards.values()];
		this.files = this.#shards.map(({ path }) => path);
		const tensors = new Map<string, StoredTensor>(), shardOf = new Map<string, Checkpoint>();
		for (const shard of this.#shards) {
			for (const [name, tensor] of shard.tensors) {
				const before = shardOf.get(name);
				if (before) throw shard.error(`its tensor "${name}" is in "${before.path}" too`);
				tensors.set(name, tensor);
				shardOf.set(name, shard);
			}
		}
		this.tensors = tensors;
		this.#shardOf = shardOf;
	}

	/**
	 * Opens an index and the files beside it that it names.
	 *
	 * @param open opens one of the files
	 * @throws {FileError} if one is missing, damaged, or lacks a tensor that the index puts there
	 */
	static async open(
		path: string,
		open: (path: string) => Promise<Checkpoint>,
	): Promise<ShardedCheckpoint> {
		const places = await readIndex(path), folder = path.slice(0, path.lastIndexOf("/") + 1);
		const shards = new Map<string, Checkpoint>();
		try {
			for (const file of new Set(places.values())) shards.set(file, await open(folder + file));
			for (const [name, file] of places) shards.get(file)!.tensor(name);
			return new ShardedCheckpoint(path, shards);
		} catch (error) {
			for (const shard of shards.values()) shard[Symbol.dispose]();
			throw error;
		}
	}

	/** The tensor of that name; throws if there is none. */
	tensor(name: string): StoredTensor {
		return this.#shard(name).tensor(name);
	}

	/** Fills a contiguous tensor with the numbers of a stored one: see `Checkpoint`. */
	loadInto(into: Tensor<FloatType>, name: string, staging?: Staging): void {
		this.#shard(name).loadInto(into, name, staging);
	}

	/** Fills a tensor with some rows of a stored matrix: see `Checkpoint`. */
	loadRows(into: Tensor<FloatType, 2>, name: string, rows: readonly number[]): void {
		this.#shard(name).loadRows(into, name, rows);
	}

	/** Whether two tensors are the same bytes of a file: see `Checkpoint`. */
	isTied(name: string, other: string): boolean {
		const shard = this.#shard(name);
		return shard === this.#shardOf.get(other) && (shard.isTied?.(name, other) ?? false);
	}

	/** The error of a problem with this checkpoint. */
	error(problem: string): Error {
		const [first] = this.#shards;
		return first!.error(problem);
	}

	/** Closes the files. */
	[Symbol.dispose](): void {
		for (const shard of this.#shards) shard[Symbol.dispose]();
	}

	#shard(name: string): Checkpoint {
		return entryOf(this.#shardOf, name, (problem) => this.error(problem));
	}
}
