// Every attention and its gradients against PyTorch's values, as tests/fixtures/record_attention.py recorded them.

import { assert, assertEquals } from "@std/assert";
import { type FloatType, scope, Tensor } from "../../../mod.ts";
import type { AttentionInputs } from "../../../src/nn/attention/attention.ts";
import { attentionNamed, attentions } from "../../../src/nn/attention/registry.ts";
import { root } from "../../../tools/project.ts";
import { numbers } from "../../tensor/gradients.ts";
import { assertClose, device, deviceTest } from "../../tensor/on_device.ts";

interface Recorded {
	shape: number[];
	/** Base64 of float32. */
	data: string;
}

interface Case {
	name: string;
	batch: number;
	causal: boolean;
	/** 0 for none. */
	window: number;
	/** Queries, keys, values, input, and the parameters in order. */
	inputs: Recorded[];
	parameters: string[];
	upstream: Recorded;
	result: Recorded;
	gradients: (Recorded | null)[];
}

const { cases, contextLength } = JSON.parse(
	await Deno.readTextFile(`${root}/tests/fixtures/attention.json`),
) as { cases: Case[]; contextLength: number };

const decode = ({ data }: Recorded) =>
	new Float32Array(Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0)).buffer);
const tensor = (recorded: Recorded) =>
	Tensor.from<FloatType, number>(device, "float32", recorded.shape, decode(recorded));

Deno.test("PyTorch's values of every attention are there", () => {
	assertEquals(
		[...new Set(cases.map(({ name }) => name))].sort(),
		Object.keys(attentions).sort(),
	);
});

for (const [i, recorded] of cases.entries()) {
	const { name, batch, causal, window, parameters, upstream, result, gradients } = recorded;
	deviceTest(`${name} gives PyTorch's values, case ${i}`, () => {
		scope(() => {
			const inputs = recorded.inputs.map((input) => tensor(input).requireGrad());
			const [q, k, v, input, ...own] = inputs;
			const y = attentionNamed(name).attend(
				{
					heads: { q, k, v },
					input,
					batch,
					causal,
					...window && { window },
					contextLength,
				} as unknown as AttentionInputs,
				Object.fromEntries(parameters.map((name, i) => [name, own[i]!])),
			);
			assertEquals([...y.shape], result.shape);
			assertClose(numbers(y), decode(result), 2e-6, "result");
			y.backward({ gradient: tensor(upstream) as typeof y });
			for (const [i, { grad }] of inputs.entries()) {
				const expected = gradients[i], what = ["q", "k", "v", "x", ...parameters][i]!;
				if (expected === null) {
					assert(grad === null, `${what} has a gradient`);
					continue;
				}
				assert(grad, `${what} has no gradient`);
				assertClose(numbers(grad), decode(expected!), 1e-5, `gradient of ${what}`);
				grad.dispose();
			}
		});
	});
}
