// A mixture of experts: a router sends each token to a few of many MLPs (Shazeer et al. 2017; as in Mixtral,
// Jiang et al. 2024: the probabilities of the chosen ones sum to 1).

import {
	type FloatType,
	indexSelect,
	mul,
	scatterAdd,
	softmax,
	Tensor,
	topK,
} from "../tensor/mod.ts";
import type { TransformerConfig } from "./config.ts";
import { downInput } from "./mlp.ts";
import { type Hidden, project } from "./project.ts";
import type { Run } from "./run.ts";
import type { WeightSet } from "./weight_set.ts";

/**
 * Σ of the chosen experts' MLPs, each times its probability. Probes get an expert's x_down as
 * `mlp.experts.E.down.input`, with the positions of its rows.
 *
 * @param x [B·T, H]
 */
export function mixture(
	run: Run,
	x: Hidden<FloatType>,
	weights: WeightSet,
	config: TransformerConfig,
): Hidden {
	const { count, perToken } = config.mlp.experts!;
	const scores = run.tap("mlp.router", project(run, x, weights, "mlp.router", "float32")); // B·T E
	const best = topK(scores, perToken);
	const shares = softmax(best.values).reshape([best.values.size]); // B·T·k
	const chosen = best.indices.dataSync();
	const { device } = x;
	let sum = Tensor.zeros<"float32", 2>(device, "float32", [x.shape[0], config.hiddenSize]);
	for (let expert = 0; expert < count; expert++) {
		const places = [...chosen.keys()].filter((place) => chosen[place] === expert);
		if (places.length === 0) continue;
		const ids = (list: number[]) => Tensor.from<"int32", 1>(device, "int32", [list.length], list);
		const positions = places.map((place) => Math.floor(place / perToken));
		const rows = ids(positions);
		const name = `mlp.experts.${expert}`;
		const down = run.tap(
			`${name}.down.input`,
			downInput(run, indexSelect(x, rows), weights, name, config, positions),
			positions,
		);
		const share = indexSelect(shares, ids(places)).reshape([places.length, 1]);
		const y = mul(project(run, down, weights, `${name}.down`, "float32"), share);
		const to = rows.reshape([places.length, 1]).expand([places.length, config.hiddenSize]);
		sum = scatterAdd(sum, to, y, 0);
	}
	return sum;
}
