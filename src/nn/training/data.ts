// What a model is trained on: sequences by number, so that where training is in its data is one number, which a
// checkpoint keeps.

import { readTexts, type TextOptions } from "../../formats/text_file.ts";
import { drawBlock } from "../../tensor/philox.ts";
import { type Device, Tensor } from "../../tensor/mod.ts";

/** Which part of the data. */
export type Split = "train" | "validation";

/** Sequences to train on and to evaluate by, in an order that depends on nothing but the source's own seed. */
export interface DataSource {
	/** What the data are; training resumes only with data of the same description. */
	readonly description: string;
	/** Token ids are below this, where it is known. */
	readonly vocabularySize?: number;
	/**
	 * Writes a sequence.
	 *
	 * @param index its number, from 0 on
	 * @param inputs token ids, as many as the arrays have room for
	 * @param targets what follows each; -1 where no loss is to be computed
	 */
	fill(split: Split, index: number, inputs: Int32Array, targets: Int32Array): void;
}

/** Token ids one after the other; a `TokenFile` is some. */
export interface Tokens {
	/** How many. */
	readonly length: number;
	/** Reads `count` ids from the one numbered `from` on. */
	read(from: number, count: number): ArrayLike<number>;
}

/** Token ids in memory. */
export function tokenList(ids: ArrayLike<number>): Tokens {
	const list = ids instanceof Int32Array ? ids : Int32Array.from(ids);
	return {
		length: list.length,
		read: (from, count) => list.subarray(from, from + count),
	};
}

/** A part of some tokens. */
function part(tokens: Tokens, begin: number, end: number): Tokens {
	return {
		length: end - begin,
		read: (from, count) => tokens.read(begin + from, count),
	};
}

/** Options of {@linkcode tokenizeFile}. */
export interface TokenizeOptions extends TextOptions {
	/** An id that is put behind each document. */
	end?: number;
}

/**
 * Reads a text or a file of JSON Lines as token ids.
 *
 * @param path a file `*.jsonl`, or else a plain text in UTF-8
 * @param encode turns a document into ids
 */
export async function tokenizeFile(
	path: string,
	encode: (text: string) => ArrayLike<number>,
	options: TokenizeOptions = {},
): Promise<Tokens> {
	let ids = new Int32Array(2 ** 16), length = 0;
	const { end } = options;
	for await (const text of readTexts(path, options)) {
		const some = encode(text), needed = length + some.length + 1;
		if (needed > ids.length) {
			const grown = new Int32Array(2 * needed);
			grown.set(ids.subarray(0, length));
			ids = grown;
		}
		ids.set(some, length);
		length += some.length;
		if (end !== undefined) ids[length++] = end;
	}
	return tokenList(ids.slice(0, length));
}

/** Options of {@linkcode randomWindows}. */
export interface WindowOptions {
	/** Decides which windows come, and in which order. @default {1337} */
	seed?: number;
	/** Other tokens to evaluate by, or the share of these that is held back at their end. @default {0.1} */
	validation?: Tokens | number;
	/** An id that each window begins with. No loss is computed of what follows it directly. */
	start?: number;
	/** Token ids are below this. */
	vocabularySize?: number;
}

/**
 * Windows at random places, each as likely as the others, as nanoGPT draws them; borders of documents are ignored.
 *
 * @example
 * ```ts ignore
 * using train = await TokenFile.open("train.bin"), validation = await TokenFile.open("val.bin");
 * const data = randomWindows(train, { validation, seed: 1 });
 * ```
 */
export function randomWindows(tokens: Tokens, options: WindowOptions = {}): DataSource {
	const { seed = 1337, validation = 0.1, start, vocabularySize } = options;
	if (typeof validation === "number" && !(validation >= 0 && validation < 1)) {
		throw new RangeError(`Cannot hold back a share of ${validation}: it must be from 0 up to 1`);
	}
	const kept = typeof validation === "number"
		? tokens.length - Math.floor(tokens.length * validation)
		: tokens.length;
	const parts: Record<Split, Tokens> = {
		train: part(tokens, 0, kept),
		validation: typeof validation === "number" ? part(tokens, kept, tokens.length) : validation,
	};
	const begins = start === undefined ? 0 : 1;
	return {
		description:
			`windows of ${parts.train.length} tokens and ${parts.validation.length} held back` +
			`${start === undefined ? "" : ` behind token ${start}`}, seed ${seed}`,
		...vocabularySize !== undefined && { vocabularySize },
		fill(split, index, inputs, targets) {
			const from = parts[split], needed = inputs.length + 1 - begins;
			const places = from.length - needed + 1;
			if (places < 1) {
				throw new RangeError(
					`Cannot draw windows of ${inputs.length} tokens for ${split}: there are only ${from.length}`,
				);
			}
			// 53 random bits: more than there are places in any file.
			const offset = 2 * index + Number(split === "validation");
			const [high, low] = drawBlock({ seed, offset }, 0) as [number, number];
			const place = Math.floor((high * 2 ** 21 + (low >>> 11)) / 2 ** 53 * places);
			const window = from.read(place, needed);
			for (let i = 0; i < inputs.length; i++) {
				inputs[i] = i < begins ? start! : window[i - begins]!;
				targets[i] = i < begins ? -1 : window[i + 1 - begins]!;
			}
		},
	};
}

/** Token ids and what follows them, on the device; free both. */
export interface Batch extends Disposable {
	/** [B, T] */
	inputs: Tensor<"int32", 2>;
	/** [B, T] */
	targets: Tensor<"int32", 2>;
}

/** The sequences `first` to `first + count - 1` of a source, of so many tokens each, on the device. */
export function loadBatch(
	device: Device,
	source: DataSource,
	split: Split,
	first: number,
	count: number,
	tokens: number,
): Batch {
	const inputs = new Int32Array(count * tokens), targets = new Int32Array(count * tokens);
	for (let i = 0; i < count; i++) {
		const [begin, end] = [i * tokens, (i + 1) * tokens];
		source.fill(split, first + i, inputs.subarray(begin, end), targets.subarray(begin, end));
	}
	const [x, y] = [inputs, targets].map((data) =>
		Tensor.from<"int32", 2>(device, "int32", [count, tokens], data)
	) as [Tensor<"int32", 2>, Tensor<"int32", 2>];
	return {
		inputs: x,
		targets: y,
		[Symbol.dispose]() {
			x.dispose();
			y.dispose();
		},
	};
}
