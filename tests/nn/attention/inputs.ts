// Random inputs and parameters of attentions.

import { Tensor } from "../../../mod.ts";
import type { Attention, AttentionInputs } from "../../../src/nn/attention/attention.ts";
import { cast } from "../../../src/tensor/cast.ts";
import { device, normal } from "../../tensor/on_device.ts";

/** Extents of a batch of heads. */
export interface Sizes {
	batch: number;
	kv: number;
	group: number;
	/** T */
	queries: number;
	/** S */
	keys: number;
	d: number;
	/** H */
	hidden: number;
}

/** The parameters of an attention. */
export const specsOf = (attention: Attention, { kv, group, d, hidden }: Sizes) =>
	attention.parameters({
		heads: kv * group,
		keyValueHeads: kv,
		headDimension: d,
		hiddenSize: hidden,
	});

/** Shapes of queries, keys, values and input. */
export const shapesOf = ({ batch, kv, group, queries, keys, d, hidden }: Sizes) => [
	[batch * kv, queries, group, d],
	[batch * kv, keys, d],
	[batch * kv, keys, d],
	[batch * queries, hidden],
];

/** Tensors for an attention's inputs, and its parameters filled with `values` where given. */
export function draw(
	attention: Attention,
	sizes: Sizes,
	values: Record<string, number> = {},
	dtype: "float32" | "bfloat16" = "float32",
) {
	const [q, k, v, input] = shapesOf(sizes).map((shape) => {
		const x = Tensor.from<"float32", number>(
			device,
			"float32",
			shape,
			normal(shape.reduce((a, b) => a * b), 1.2),
		);
		return dtype === "float32" ? x : cast(x, dtype);
	});
	const parameters = Object.fromEntries(
		specsOf(attention, sizes).map(({ name, shape }) => {
			const count = shape.reduce((a, b) => a * b, 1), value = values[name];
			const data = value === undefined ? normal(count) : new Float32Array(count).fill(value);
			return [name, Tensor.from<"float32", number>(device, "float32", shape, data)];
		}),
	);
	return {
		inputs: { heads: { q, k, v }, input, batch: sizes.batch } as unknown as AttentionInputs,
		parameters,
	};
}

/** Several blocks of queries, odd extents. */
export const LONG: Sizes = { batch: 2, kv: 2, group: 3, queries: 201, keys: 201, d: 6, hidden: 12 };
