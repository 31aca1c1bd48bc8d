// Weights that NumPy rounded and pruned, as tests/fixtures/record_compression.py recorded them.

import { Tensor } from "../../../mod.ts";
import { device } from "../../tensor/on_device.ts";

/** What is told of a matrix. */
interface Of {
	name: string;
	after: string;
	relativeError: number;
	zeros: number;
}

/** The record. */
export const recorded: {
	weights: Record<string, { shape: number[]; data: string }>;
	rounded: (Of & { bits: number; granularity: string; scale: number; maxOverMean: number })[];
	pruned: (Of & { sparsity: number; among: "global" | "layer" | "matrix" | "row" })[];
} = JSON.parse(
	await Deno.readTextFile(new URL("../../fixtures/compression.json", import.meta.url)),
);

/** Numbers of the record. */
export function decode(text: string): Float32Array {
	return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

/** Runs `body` with the weights of the record on the device. */
export async function withWeights(
	body: (weights: Map<string, Tensor<"float32">>) => Promise<void> | void,
): Promise<void> {
	const weights = new Map(
		Object.entries(recorded.weights).map(([name, { shape, data }]) => [
			name,
			Tensor.from<"float32", number>(device, "float32", shape, decode(data)),
		]),
	);
	try {
		await body(weights);
	} finally {
		for (const weight of weights.values()) weight.dispose();
	}
}

/** Frees the parameters that compression made. */
export function free(made: ReadonlyMap<string, Tensor>, given: ReadonlyMap<string, Tensor>): void {
	for (const [name, tensor] of made) if (tensor !== given.get(name)) tensor.dispose();
}
