// From the embeddings of tokens to what the first layer reads: projection, positions, norm, and register tokens before
// them.

import { add, cast, concatenate, scope, type Tensor } from "../tensor/mod.ts";
import type { TransformerConfig } from "./config.ts";
import { type Hidden, norm, project } from "./project.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

/** The parameters that {@linkcode firstHidden} reads, where a model has them. */
export const EMBEDDING_PARAMETERS: readonly string[] = [
	"embed.projection.weight",
	"embed.types.weight",
	"positions.weight",
	"registers.weight",
	"embed.norm.weight",
	"embed.norm.bias",
];

/**
 * The first layer's input.
 *
 * @param run of the rows that layers compute: register tokens, if the run begins a sequence, and tokens
 * @param embedded of the tokens, [B·T, width]
 * @returns [B·(k + T), H], k registers before each sequence
 */
export function firstHidden(
	run: Run,
	embedded: Hidden,
	weights: WeightSet,
	config: TransformerConfig,
): Hidden {
	return scope(() => {
		const { batch, first } = run, { hiddenSize: H, registers = 0 } = config;
		const count = first === 0 ? registers : 0, tokens = run.tokens - count;
		let h = config.embedding.width
			? project(run, embedded, weights, "embed.projection", "float32")
			: embedded;
		const rows = (name: string, begin: number, end: number): Hidden => {
			const some = weights.matrix(name).slice(begin, end);
			return some.dtype === "float32"
				? some as Hidden
				: cast(some as Hidden<"bfloat16">, "float32");
		};
		if (config.positions.kind === "learned") {
			const position = first + count - registers; // of the first token; registers have none
			const positions = rows("positions", position, position + tokens);
			h = add(h.reshape([batch, tokens, H]), positions).reshape([batch * tokens, H]);
		}
		if (config.embedding.types) h = add(h, rows("embed.types", 0, 1));
		if (config.embedding.norm) h = norm(h, weights, "embed.norm", config, "float32");
		if (count === 0) return h;
		const before = rows("registers", 0, count).expand([batch, count, H]);
		return concatenate<"float32", 3>([
			before as Tensor<"float32", 3>,
			h.reshape([batch, tokens, H]),
		], 1)
			.reshape([batch * run.tokens, H]);
	});
}

/** The rows of tokens, [B·T, H], without those of `registers` register tokens before each sequence. */
export function withoutRegisters(hidden: Hidden, batch: number, registers: number): Hidden {
	if (registers === 0) return hidden;
	const [rows, H] = hidden.shape, all = rows / batch;
	return hidden.reshape([batch, all, H]).slice(registers, all, 1)
		.reshape([batch * (all - registers), H]) as Hidden;
}
