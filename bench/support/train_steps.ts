// Our side of `./dev bench train`, as its worker: a line of standard input says how many steps to run, the answer how
// many seconds they took; to "peak" it is the most memory that the process has had, in bytes.
// Arguments: the setting, and float32 or bfloat16.

import { createInterface } from "node:readline";
import process from "node:process";
import { SETTINGS, Training } from "./training.ts";

const [name, dtype] = Deno.args as [string, "float32" | "bfloat16"];
using training = await Training.begin(SETTINGS[name]!, dtype);
const { device } = training;

/** The most memory that this process has had. */
function peak(): number {
	const status = Deno.readTextFileSync("/proc/self/status");
	return Number(/VmHWM:\s+(\d+)/.exec(status)![1]) * 1024;
}

for await (const line of createInterface({ input: process.stdin })) {
	if (line === "peak") {
		console.log(peak());
		continue;
	}
	const begin = performance.now();
	let previous = device.mark();
	for (let step = 0; step < Number(line); step++) {
		training.step();
		await previous.reached(); // one step is queued ahead, as the trainer does
		previous = device.mark();
	}
	await previous.reached();
	console.log((performance.now() - begin) / 1000);
}
