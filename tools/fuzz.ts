// Fuzzes the readers of every file format, in turn, for some minutes. What `./dev fuzz` calls.
// Run as: deno run --config deno.json -A tools/fuzz.ts [--minutes N] [NAME...]
// A NAME is a part of a format's name. A failure names the seed (OUTLIERSCOPE_SEED repeats it) and keeps the file.

import { parseArgs } from "@std/cli/parse-args";
import { fuzz, targets } from "../tests/formats/fuzz.ts";
import { Random, seed } from "../tests/random.ts";

let known = true;
const { minutes, help, _: names } = parseArgs(Deno.args, {
	string: ["minutes"],
	boolean: ["help"],
	unknown: (argument) => known &&= !argument.startsWith("-"),
});
const seconds = Number(minutes ?? 5) * 60;
const chosen = targets.filter(({ name }) =>
	names.length === 0 ||
	names.some((part) => name.toLowerCase().includes(String(part).toLowerCase()))
);
if (help || !known || !(seconds > 0) || chosen.length === 0) {
	console.error("Usage: ./dev fuzz [--minutes N] [NAME...]; formats:");
	for (const { name } of targets) console.error(`  ${name}`);
	Deno.exit(help ? 0 : 1);
}
console.log(`seed ${seed}, ${Math.round(seconds / chosen.length)} s for each format`);
for (const target of chosen) {
	const end = performance.now() + seconds / chosen.length * 1000;
	const keep = `${Deno.cwd()}/out/fuzz-${seed}`;
	Deno.mkdirSync(`${Deno.cwd()}/out`, { recursive: true });
	try {
		const { opened, refused } = await fuzz(
			target,
			new Random(),
			() => performance.now() < end,
			keep,
		);
		console.log(`${target.name}: ${opened} files, ${refused} refused`);
	} catch (error) {
		console.error(`seed ${seed}: ${error instanceof Error ? error.message : error}`);
		console.error(`kept as ${keep}${target.suffix}`);
		Deno.exit(1);
	}
}
