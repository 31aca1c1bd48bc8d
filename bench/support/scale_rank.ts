// A rank of `./dev bench scale`: measures steps that only compute, steps that also exchange gradients, and the
// exchange alone, in turn; rank 0 prints a line of JSON. Arguments: the setting, float32 or bfloat16, rounds, and how
// many ranks share its batch.

import { Device, ProcessGroup } from "../../mod.ts";
import { GradientExchange } from "../../src/nn/training/gradient_exchange.ts";
import { SETTINGS, Training } from "./training.ts";

const [name, dtype, rounds, shares] = Deno.args as [string, "float32" | "bfloat16", string, string];
const setting = SETTINGS[name]!, device = await Device.open();
await using group = await ProcessGroup.open(device);
using training = await Training.begin(
	{ ...setting, batch: setting.batch / Number(shares) },
	dtype,
);
using exchange = group.size > 1 ? new GradientExchange(training.parameters, group) : null;

/** Bytes that this machine has sent over its own network. */
function sent(): number {
	const line = Deno.readTextFileSync("/proc/net/dev").split("\n").find((one) =>
		/^\s*lo:/.test(one)
	);
	return Number(line?.trim().split(/\s+/)[9] ?? 0);
}

/** Seconds that all ranks together take for something. */
async function timed(body: () => void): Promise<number> {
	await group.exchange(null);
	const begin = performance.now();
	body();
	await device.synchronize();
	return Math.max(...await group.exchange((performance.now() - begin) / 1000));
}

const compute = () => training.step();
const both = () => training.step(exchange!);
const alone = () => {
	exchange!.begin();
	exchange!.finish();
};
const seconds: Record<string, number[]> = { compute: [], both: [], alone: [] };
let bytes = 0, payload = 0;
for (let round = -1; round < Number(rounds); round++) {
	const measured = { compute: await timed(compute), both: 0, alone: 0 };
	if (exchange) {
		const before = sent(), handed = group.bytes;
		measured.both = await timed(both);
		if (round >= 0) {
			bytes += (sent() - before) / Number(rounds);
			payload = group.bytes - handed;
		}
		training.gradients(); // for the exchange alone to have something to send
		await device.synchronize();
		measured.alone = await timed(alone);
		training.forget();
	}
	if (round < 0) continue; // the first compiles, and fills caches
	for (const [what, value] of Object.entries(measured)) seconds[what]!.push(value);
}
if (group.rank === 0) {
	const parameters = [...training.parameters.values()].reduce((sum, { size }) => sum + size, 0);
	console.log(JSON.stringify({ seconds, bytes, payload, parameters }));
}
await group.finish();
