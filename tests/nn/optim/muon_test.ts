// Muon against PyTorch, and the orthogonality of what it makes.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { matmul, noGrad, scope } from "../../../mod.ts";
import { Muon, orthogonalize } from "../../../src/nn/optim/muon.ts";
import { deviceTest, normalMatrix } from "../../tensor/on_device.ts";
import { compareRecorded, startingParameters } from "./recorded.ts";

deviceTest("Muon takes PyTorch's steps in float32, with either scale", async () => {
	const options = { dtype: "float32" } as const;
	await compareRecorded("muon float32", (parameters) => new Muon(parameters, options), 1e-5);
	await compareRecorded(
		"muon float32 original",
		(parameters) => new Muon(parameters, { ...options, scale: "original" }),
		1e-5,
	);
});

deviceTest("Muon stays near PyTorch's steps in bfloat16", async () => {
	// A step is 0.2 of the rate or so, of which bfloat16 leaves 1 %: 0.01 of 0.01 against entries of 3.
	await compareRecorded("muon bfloat16", (parameters) => new Muon(parameters), 2e-3);
});

deviceTest("orthogonalize() gives singular values near 1, of wide and tall matrices", () => {
	for (const [rows, columns] of [[16, 40], [40, 16], [5, 12]] as const) {
		for (const dtype of ["float32", "bfloat16"] as const) {
			scope(() => {
				const { tensor } = normalMatrix(rows, columns);
				const q = orthogonalize(tensor, { dtype });
				assertEquals([...q.shape], [rows, columns]);
				const [a, b] = rows < columns ? [q, q.transpose()] : [q.transpose(), q];
				const gram = noGrad(() => matmul(a, b)).toArray();
				gram.forEach((row, i) => {
					// Squares of singular values lie between 0.4 and 1.5 as a rule, so the diagonal does.
					assert(
						row[i]! > 0.3 && row[i]! < 1.5,
						`${row[i]} on the diagonal of ${rows} by ${columns}`,
					);
				});
			});
		}
	}
});

deviceTest("Muon leaves embeddings and vectors to AdamW, and refuses vectors", () => {
	const parameters = startingParameters();
	{
		using optimizer = new Muon(parameters);
		assertEquals([...optimizer.state.keys()].sort(), [
			"exp_avg.embed.weight",
			"exp_avg.layers.0.norm.weight",
			"exp_avg_sq.embed.weight",
			"exp_avg_sq.layers.0.norm.weight",
			"momentum_buffer.layers.0.attn.qkv.weight",
			"momentum_buffer.layers.0.mlp.down.weight",
		]);
		assertThrows(
			() => new Muon(parameters, { hidden: () => true }),
			RangeError,
			"layers.0.norm.weight of shape [6]: it is no matrix",
		);
	}
	for (const parameter of parameters.values()) parameter.dispose();
});
