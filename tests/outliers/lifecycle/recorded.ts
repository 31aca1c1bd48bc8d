// What PyTorch and NumPy compute of the life of outliers in small checkpoints (tests/fixtures/record_lifecycle.py), and
// a model with a planted one.

import type { GgufContents } from "../../formats/write_gguf.ts";
import { randomContents } from "../../nn/tiny_llama.ts";
import { withSeed } from "../../tensor/on_device.ts";

/** One key of one head. */
export interface RecordedKey {
	token: number;
	queries: number;
	gap: number;
	dimensions: number[];
	distance: number;
	logit: number;
	cosine: number;
	otherCosine: number;
	share: number;
	attention: number;
	valueRatio: number;
}

interface RecordedLife {
	tokens: number[];
	features: number[];
	ledger: { entries: [number, number, number, number][]; cosine: number[]; size: number[] }[];
	mlp: {
		token: number;
		feature: number;
		bias: number;
		contributions: Record<string, number | null>[];
	}[];
	spread: RecordedKey[][];
}

const fixtures = new URL("../../fixtures", import.meta.url).pathname;

/** By model. */
export const recorded: Record<string, RecordedLife> = JSON.parse(
	Deno.readTextFileSync(`${fixtures}/lifecycle.json`),
);

/** The sequence that was recorded. */
export const tokenIds: number[] =
	JSON.parse(Deno.readTextFileSync(`${fixtures}/families/sequences.json`))[0];

/** The folder of a checkpoint. */
export const family = (name: string): string => `${fixtures}/families/${name}`;

/**
 * Neuron 40 of layer 1's MLP answers to the tokens' norm and writes 1000 times its value to feature 9; layer 2 takes most
 * of it away. Always the same model: among random ones are some in which chance outdoes what was planted.
 */
export function planted(): GgufContents {
	return withSeed(
		2,
		() =>
			randomContents({ layers: 4, width: 32, hidden: 64 }, (name, data, columns) => {
				if (/^blk\.1\.ffn_(gate|up)/.test(name)) {
					for (let c = 0; c < columns; c++) data[40 * columns + c]! *= 20;
				} else if (name === "blk.1.ffn_down.weight") data[9 * columns + 40] = 1000;
				// After its norm an outlier is √32 at most, in feature 9: neuron 3 of layer 2 reads it and writes its opposite.
				else if (/^blk\.2\.ffn_(gate|up)/.test(name)) {
					data[3 * columns + 9] = name.includes("gate") ? 100 : 1;
				} else if (name === "blk.2.ffn_down.weight") data[9 * columns + 3] = 0;
			}),
	);
}
