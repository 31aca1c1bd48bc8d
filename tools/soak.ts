// Trains and analyzes over and over and watches what the process holds: memory, descriptors, threads, memory of
// the device. Ends with status 1 if any of them grows. What `./dev soak` calls.
// Run as: deno run --config deno.json -A tools/soak.ts [--minutes N]

import { parseArgs } from "@std/cli/parse-args";
import {
	copyTask,
	cosine,
	detectOutliers,
	Device,
	EmergenceWatch,
	gpt2,
	loadModel,
	train,
	writeReport,
} from "../mod.ts";
import { root } from "./project.ts";

/** What the process holds. */
export interface Held {
	/** Bytes of memory that are resident. */
	memory: number;
	descriptors: number;
	threads: number;
	/** Live bytes of the device. */
	device: number;
}

/** What may vary: the garbage collector has its own times, and Deno's threads for files come and go. */
const SLACK: Held = { memory: 32 * 2 ** 20, descriptors: 0, threads: 4, device: 0 };

/** What grew, in words, from one sample after each cycle; the first third, in which caches fill, does not count. */
export function growth(samples: readonly Held[]): string[] {
	const steady = samples.slice(Math.ceil(samples.length / 3));
	const half = Math.floor(steady.length / 2);
	if (half < 2) return [`only ${samples.length} cycles: too few to tell; give it more minutes`];
	const [early, late] = [steady.slice(0, half), steady.slice(-half)];
	const median = (of: readonly Held[], key: keyof Held) =>
		of.map((held) => held[key]).sort((a, b) => a - b)[of.length >> 1]!;
	return (["memory", "descriptors", "threads", "device"] as const).flatMap((key) => {
		const [before, after] = [median(early, key), median(late, key)];
		return after > before + SLACK[key] ? [`${key} grew from ${before} to ${after}`] : [];
	});
}

function hold(device: Device): Held {
	return {
		memory: Deno.memoryUsage().rss,
		descriptors: [...Deno.readDirSync("/proc/self/fd")].length,
		threads: Number(/^Threads:\s*(\d+)/m.exec(Deno.readTextFileSync("/proc/self/status"))![1]),
		device: device.liveBytes,
	};
}

/** Trains a small model with checkpoints and a log, resumes it, and analyzes a trained one with a report. */
async function cycle(folder: string): Promise<void> {
	using model = await gpt2({
		layers: 2,
		heads: 2,
		hiddenSize: 32,
		vocabularySize: 64,
		contextLength: 32,
	});
	for (const steps of [10, 20]) {
		await train(model, {
			data: copyTask(),
			steps,
			batchSize: 8,
			tokens: 32,
			schedule: cosine({ peak: 1e-2, warmUp: 5, steps: 20 }),
			metrics: { watch: new EmergenceWatch(), interval: 5, sequences: 4 },
			evaluation: { interval: 10, sequences: 8 },
			checkpoints: { folder: `${folder}/checkpoints`, interval: 5, keep: 2 },
			resume: true,
			log: `${folder}/log.jsonl`,
		});
	}
	using trained = await loadModel(`${root}/models/box`);
	const texts = ["Friends, the union is strong.", "Summer is warm. Winter is cold."];
	await writeReport(await detectOutliers(trained, { texts, tau: 25 }), `${folder}/report`);
}

if (import.meta.main) {
	let known = true;
	const options = parseArgs(Deno.args, {
		string: ["minutes"],
		boolean: ["help"],
		unknown: () => known = false,
	});
	const minutes = Number(options.minutes ?? 60);
	if (options.help || !known || !(minutes > 0)) {
		console.error("Usage: ./dev soak [--minutes N], by default 60");
		Deno.exit(options.help ? 0 : 1);
	}
	const device = await Device.open();
	const start = performance.now(), end = start + minutes * 60_000;
	const samples: Held[] = [];
	for (let told = -Infinity; performance.now() < end;) {
		const folder = await Deno.makeTempDir({ prefix: "outlierscope_soak_" });
		try {
			await cycle(folder);
		} finally {
			await Deno.remove(folder, { recursive: true });
		}
		samples.push(hold(device));
		if (performance.now() - told < 10_000) continue;
		told = performance.now();
		const { memory, descriptors, threads, device: live } = samples.at(-1)!;
		console.log(
			`${((told - start) / 60_000).toFixed(1)} min, cycle ${samples.length}: ` +
				`${(memory / 2 ** 20).toFixed(0)} MiB resident, ${descriptors} descriptors, ` +
				`${threads} threads, ${live} bytes of the device`,
		);
	}
	const grown = growth(samples);
	for (const line of grown) console.error(line);
	if (grown.length === 0) console.log(`${samples.length} cycles in ${minutes} min: nothing grew`);
	Deno.exit(grown.length > 0 ? 1 : 0);
}
