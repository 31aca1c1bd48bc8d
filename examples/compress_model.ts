// What compression costs a model: its perplexity on a text with half of the weights 0, and with weights of 8 to 4
// bits, also where the largest of each matrix is kept as it is.
//
//   deno run -A examples/compress_model.ts TEXT_FILE [MODEL] [WINDOWS] [WINDOW]

import {
	abs,
	absmaxW8,
	add,
	changeWeights,
	type CompressibleWeights,
	less,
	loadModel,
	max,
	perplexity,
	pruneMagnitude,
	scope,
	sub,
	type Tensor,
	where,
} from "../mod.ts";

const [path, name = "smollm2", windows = "8", window = "1024"] = Deno.args;
if (path === undefined) throw new Error("Which text? deno run -A examples/compress_model.ts FILE");
using model = await loadModel(name, { resident: "float32" });
const lines = (await Deno.readTextFile(path)).split(/(?<=\n)/); // joined as the paper's code does
const tokens = model.tokenizer.encode(lines.map((line) => line.trim() && line).join("\n\n"));

/** Prints the perplexity with these parameters in the place of the model's own, and frees them. */
async function measure(what: string, parameters: CompressibleWeights): Promise<void> {
	using changed = changeWeights(model, {
		description: what,
		parameter: (name, values) => (parameters.get(name) as typeof values ?? values).mul(1),
		embeddings: (rows) => rows.mul(1),
		[Symbol.dispose]: () => {},
	}, what);
	const { perplexity: value } = await perplexity(changed, tokens, {
		window: Number(window),
		windows: Number(windows),
	});
	console.log(`${what.padEnd(44)} ${value.toPrecision(4)}`);
	for (const [name, tensor] of parameters) {
		if (tensor !== model.parameters.get(name)) tensor.dispose();
	}
}

/** A matrix of a layer without all but its largest entry. */
const largestOf = (matrix: Tensor<"float32", 2>) =>
	scope(() => {
		const sizes = abs(matrix);
		return where(less(sizes, max(sizes)), 0, matrix) as Tensor<"float32", 2>;
	});

const { heads, keyValueHeads, headDimension: d, intermediateSize } = model.config;
/** Matrices that are stored as one are rounded each by itself. */
const parts = (name: string) => {
	if (name.endsWith("attn.qkv.weight")) return [heads * d, keyValueHeads * d, keyValueHeads * d];
	return name.endsWith("gate_up.weight") ? [intermediateSize, intermediateSize] : [];
};

await measure("full precision", model.parameters);
for (const among of ["global", "matrix"] as const) {
	await measure(
		`half of the weights 0, ${among}`,
		pruneMagnitude(model.parameters, { among }).parameters,
	);
}
for (const granularity of ["tensor", "row"] as const) {
	for (const bits of [8, 7, 6, 5, 4]) {
		const { parameters } = absmaxW8(model.parameters, { bits, granularity, parts });
		await measure(`${bits} bits, a scale a ${granularity}`, parameters);
	}
}
for (const bits of [8, 7, 6, 5, 4]) {
	const kept = new Map<string, Tensor<"float32", 2>>(), rest = new Map(model.parameters);
	for (const [name, tensor] of model.parameters) {
		if (!name.startsWith("layers.") || tensor.shape.length !== 2) continue;
		const matrix = tensor as Tensor<"float32", 2>;
		kept.set(name, largestOf(matrix));
		rest.set(name, sub(matrix, kept.get(name)!));
	}
	const { parameters } = absmaxW8(rest, { bits, parts });
	for (const [name, largest] of kept) {
		using rounded = parameters.get(name) as Tensor<"float32", 2>;
		parameters.set(name, add(rounded, largest));
		largest.dispose();
		rest.get(name)!.dispose();
	}
	await measure(`${bits} bits, a scale a tensor, the largest kept`, parameters);
}
