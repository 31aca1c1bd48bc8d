// What several detectors compute of a tensor on its device, and how they read it.

import { cast, scope, sum, type Tensor } from "../../tensor/mod.ts";
import { type Entry, LISTED, type Magnitudes } from "../magnitudes.ts";
import type { Finding, Site } from "./detector.ts";

/** Throws if a statistic is no number, as from a file with damaged data. */
export function requireFinite(value: number, { site, sequence }: Site, what: string): void {
	if (Number.isFinite(value)) return;
	const where = sequence === undefined || sequence < 0 ? site : `${site} of sequence ${sequence}`;
	throw new Error(
		`Cannot analyze ${where}: its ${what} is ${value}; the model's file may be damaged, or its numbers ` +
			"too large for float32",
	);
}

/** Queues `body` in a scope; the function reads the tensors that it made, and frees them. */
export function queue(body: () => readonly Tensor<"float32">[]): () => Float32Array[] {
	const tensors = scope(() => body().map((tensor) => tensor.reshape([tensor.size])));
	return () =>
		tensors.map((tensor) => {
			const values = tensor.readNow();
			tensor.dispose();
			return values;
		});
}

/** How many elements of a mask are true. */
export const countTrue = (mask: Tensor<"uint8">): Tensor<"float32", 0> =>
	sum(cast(mask, "float32"));

/** The place of an entry of [T, C]. */
export function place(
	{ row, column }: Entry,
	positions?: readonly number[],
): Pick<Finding, "token" | "feature"> {
	return { token: positions?.[row] ?? row, feature: column };
}

/** Of the largest entries, those that a test takes; `complete` if there can be no other. */
export function take(
	{ largest }: Pick<Magnitudes, "largest">,
	test: (entry: Entry) => boolean,
): { entries: Entry[]; complete: boolean } {
	const entries = largest.filter(test);
	return { entries, complete: entries.length < LISTED };
}
