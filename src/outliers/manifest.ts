// What a result was made of: enough to tell two results apart, and to make one again.

import { createHash, type Hash } from "node:crypto";
import config from "../../deno.json" with { type: "json" };
import { ChangedWeights } from "../nn/changed_weights.ts";
import { ResidentWeights } from "../nn/resident_weights.ts";
import type { Transformer, Weights } from "../nn/mod.ts";

/** A hash, and of what it is. */
export interface Fingerprint {
	/** `"sha256:"` and 64 hexadecimal digits; null if it was not asked for. */
	hash: string | null;
	/** Which bytes were hashed, in which order. */
	of: string;
}

/** A criterion that a result used. */
export interface UsedDefinition {
	/** The criterion, in words and formulas. */
	definition: string;
	/** Its thresholds and other settings, by name. */
	thresholds: Record<string, number>;
}

/** What a result was made of. */
export interface Manifest {
	/** The library's version. */
	library: string;
	/** The model. */
	model: {
		/** Its name. */
		name: string;
		/** Its family, such as `"llama"`. */
		family: string;
		/** What happens between the projections of a layer, such as `"softmax"`. */
		attention: string;
		/** Number of layers. */
		layers: number;
	};
	/** Its weights. */
	weights: Fingerprint & {
		/** How those were changed before use, as `"shuffled, seed 1"`; null if they were not. */
		changed: string | null;
	};
	/** The tokens. */
	data: Fingerprint & {
		/** How many sequences. */
		sequences: number;
		/** How many tokens they have together. */
		tokens: number;
	};
	/** Seeds of what was drawn by chance; none if nothing was. */
	seeds: Record<string, number>;
	/** How layers are counted. */
	layerNumbering: string;
	/** Where it was computed. */
	device: {
		/** The device's name as its driver gives it. */
		name: string;
		/** `"cuda"` for an NVIDIA GPU, `"host"` for the CPU. */
		kind: "cuda" | "host";
	};
	/** In which types. */
	precision: {
		/** Of the inputs of matrix products. */
		products: "float32" | "bfloat16";
		/** Of sums, norms and everything that is measured. */
		measured: "float32";
	};
	/** The criteria, by name. */
	definitions: Record<string, UsedDefinition>;
}

/** Options of {@linkcode manifestOf}. */
export interface ManifestOptions {
	/** Type of the inputs of matrix products. @default {"float32"} */
	dtype?: "float32" | "bfloat16";
	/** Seeds of what was drawn by chance. @default {none} */
	seeds?: Readonly<Record<string, number>>;
	/** How layers are counted. @default {"from 0"} */
	layerNumbering?: string;
	/** The criteria, by name; detectors and detections are such. */
	definitions?: Readonly<
		Record<string, { definition: string; thresholds: Readonly<Record<string, number>> }>
	>;
	/** Whether the weights are hashed: it reads a checkpoint's files once more. @default {true} */
	hashWeights?: boolean;
	/** Stops the hashing. */
	signal?: AbortSignal;
}

/** Bytes that are read of a file at a time. */
const PIECE_BYTES = 2 ** 22;

const digest = (hash: Hash) => `sha256:${hash.digest("hex")}`;

/** The hash of token ids: of each sequence its length and its ids, as 32-bit little-endian integers. */
export function hashSequences(sequences: readonly (readonly number[])[]): string {
	const hash = createHash("sha256");
	for (const ids of sequences) {
		const view = new DataView(new ArrayBuffer(4 * (1 + ids.length)));
		[ids.length, ...ids].forEach((value, i) => view.setInt32(4 * i, value, true));
		hash.update(new Uint8Array(view.buffer));
	}
	return digest(hash);
}

async function hashFiles(paths: readonly string[], signal?: AbortSignal): Promise<string> {
	const hash = createHash("sha256"), piece = new Uint8Array(PIECE_BYTES);
	for (const path of paths) {
		using file = await Deno.open(path);
		for (let got; (got = await file.read(piece)) !== null;) {
			signal?.throwIfAborted();
			hash.update(piece.subarray(0, got));
		}
	}
	return digest(hash);
}

async function hashParameters({ parameters }: ResidentWeights, signal?: AbortSignal) {
	const hash = createHash("sha256");
	for (const name of [...parameters.keys()].sort()) {
		const tensor = parameters.get(name)!;
		hash.update(`${name} ${tensor.dtype} [${tensor.shape}]\n`);
		const { buffer, byteOffset, byteLength } = await tensor.data();
		signal?.throwIfAborted();
		hash.update(new Uint8Array(buffer, byteOffset, byteLength));
	}
	return digest(hash);
}

async function hashWeights(
	weights: Weights,
	model: Transformer,
	hash: boolean,
	signal?: AbortSignal,
): Promise<Manifest["weights"]> {
	if (weights instanceof ChangedWeights) {
		const base = await hashWeights(weights.base, model, hash, signal);
		const changed = base.changed ? `${base.changed}; ${weights.description}` : weights.description;
		return { ...base, changed };
	}
	if (weights instanceof ResidentWeights) {
		return {
			hash: hash ? await hashParameters(weights, signal) : null,
			of:
				"of each parameter in order of names: a line with name, type and shape, then its bytes in memory",
			changed: null,
		};
	}
	const files = model.checkpoint?.files ?? [];
	const names = files.map((path) => path.replace(/.*\//, ""));
	return {
		hash: hash && files.length > 0 ? await hashFiles(files, signal) : null,
		of: files.length > 0
			? `all bytes of ${names.join(", then ")}`
			: "nothing: the weights come from no file",
		changed: null,
	};
}

/**
 * What a result is made of: to be kept with it. Weights are hashed whole, a few megabytes at a time, from the file, or, of a
 * model in memory, as they are there: single changed weights show.
 *
 * @param sequences token ids of each sequence that the model ran
 *
 * @example
 * ```ts ignore
 * const found = await runDetectors(model, sequences, detectors);
 * const definitions = Object.fromEntries(found.map((each) => [each.detector, each]));
 * const manifest = await manifestOf(model, sequences, { definitions });
 * ```
 */
export async function manifestOf(
	model: Transformer,
	sequences: readonly (readonly number[])[],
	options: ManifestOptions = {},
): Promise<Manifest> {
	const { dtype = "float32", seeds = {}, layerNumbering = "from 0", definitions = {} } = options;
	return {
		library: config.version,
		model: {
			name: model.name,
			family: model.config.family,
			attention: model.attention.name,
			layers: model.config.layers,
		},
		weights: await hashWeights(model.weights, model, options.hashWeights ?? true, options.signal),
		data: {
			hash: hashSequences(sequences),
			of: "of each sequence its number of tokens and their ids, as 32-bit little-endian integers",
			sequences: sequences.length,
			tokens: sequences.reduce((sum, { length }) => sum + length, 0),
		},
		seeds: { ...seeds },
		layerNumbering,
		device: { name: model.device.name, kind: model.device.kind },
		precision: { products: dtype, measured: "float32" },
		definitions: Object.fromEntries(
			Object.entries(definitions).map(([name, { definition, thresholds }]) => [
				name,
				{ definition, thresholds: { ...thresholds } },
			]),
		),
	};
}
