// Times our bare forward pass, the better of two: no probes, up to the last hidden states. Each pass reads
// and dequantizes the weights again, as every pass of ours does. Prints the seconds.
// Arguments: a JSON file with arrays of token ids, and float32 or bfloat16.

import { loadModel } from "../../mod.ts";

const [path, dtype] = Deno.args as [string, "float32" | "bfloat16"];
const sequences: number[][] = JSON.parse(await Deno.readTextFile(path));
using model = await loadModel("smollm2");
let best = Infinity;
for (let i = 0; i < 2; i++) {
	const start = performance.now();
	for (const h of await model.forward(sequences, { dtype })) h.dispose();
	best = Math.min(best, (performance.now() - start) / 1000);
}
console.log(best);
