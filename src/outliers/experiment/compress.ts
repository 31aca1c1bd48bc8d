// What compression costs a trained model (paper, Table 3): the loss of held-out data with weights rounded to few bits
// or with the smallest set to zero.

import type { Transformer } from "../../nn/transformer.ts";
import { type DataSource, loadBatch } from "../../nn/training/data.ts";
import { copyInto, noGrad, type Tensor } from "../../tensor/mod.ts";
import { absmaxW8 } from "../compression/absmax.ts";
import type { Compressed, CompressibleWeights, MatrixReport } from "../compression/matrices.ts";
import { pruneMagnitude } from "../compression/prune.ts";

/** A model's loss after a compression. */
export interface CompressionLoss {
	/** What was done, as `8 bits, a scale a matrix`. */
	name: string;
	/** Mean cross-entropy of held-out data, nats; null if it is not finite. */
	loss: number | null;
}

type Compress = (weights: CompressibleWeights) => Compressed<MatrixReport>;

const BITS = [8, 7, 6, 5, 4];

/** The ways of the paper's Table 3 and around it. */
const WAYS: readonly (readonly [string, Compress])[] = [
	...(["tensor", "row"] as const).flatMap((granularity) =>
		BITS.map((bits) =>
			[
				`${bits} bits, a scale a ${granularity === "tensor" ? "matrix" : "row"}`,
				(weights: CompressibleWeights) => absmaxW8(weights, { bits, granularity }),
			] as const
		)
	),
	...(["global", "matrix"] as const).map((among) =>
		[
			`half of the weights 0, ${
				among === "global" ? "of all matrices together" : "of each matrix"
			}`,
			(weights: CompressibleWeights) => pruneMagnitude(weights, { sparsity: 0.5, among }),
		] as const
	),
];

/** Names of all ways, in order; the first is no compression. */
export const COMPRESSIONS: readonly string[] = ["full precision", ...WAYS.map(([name]) => name)];

/** The mean loss of the first validation sequences, in float32. */
export async function validationLoss(
	model: Transformer,
	data: DataSource,
	{ tokens, sequences, batchSize }: { tokens: number; sequences: number; batchSize: number },
): Promise<number> {
	let sum = 0;
	for (let first = 0; first < sequences; first += batchSize) {
		const count = Math.min(batchSize, sequences - first);
		using batch = loadBatch(model.device, data, "validation", first, count, tokens);
		using loss = noGrad(() => model.loss(batch.inputs, batch.targets));
		sum += (await loss.data())[0]! * count;
	}
	return sum / sequences;
}

/** Measures the loss after each compression of the layers' matrices; the model is in the end as it was. */
export async function compressionLosses(
	model: Transformer,
	loss: () => Promise<number>,
): Promise<CompressionLoss[]> {
	const finite = (loss: number) => Number.isFinite(loss) ? loss : null;
	const losses = [{ name: COMPRESSIONS[0]!, loss: finite(await loss()) }];
	for (const [name, compress] of WAYS) {
		const { parameters } = compress(model.parameters);
		const changed = [...parameters].flatMap(([name, after]) => {
			const before = model.parameters.get(name)!;
			return after === before ? [] : [{ before, after, original: noGrad(() => before.mul(1)) }];
		}) as { before: Tensor; after: Tensor; original: Tensor }[];
		try {
			noGrad(() => changed.forEach(({ before, after }) => copyInto(before, after)));
			losses.push({ name, loss: finite(await loss()) });
		} finally {
			noGrad(() => changed.forEach(({ before, original }) => copyInto(before, original)));
			for (const { after, original } of changed) {
				after.dispose();
				original.dispose();
			}
		}
	}
	return losses;
}
