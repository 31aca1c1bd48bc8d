// Training on several processes gives what one gives: losses, measurements, parameters; with accumulation, with the
// optimizer's state shared out, stopped and resumed by another number of processes; and what ends it.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { results, startJob } from "../../parallel/jobs.ts";
import { inDirectory } from "../../subprocess.ts";

interface Trained {
	rank: number;
	step: number;
	finished: boolean;
	losses: number[];
	validation: number[];
	metrics: unknown[];
	weights: number[][];
	bytes: number;
	parameters: number;
	peak: number;
}

/** Trains on so many processes. */
async function trained(ranks: number, options: Record<string, unknown>): Promise<Trained[]> {
	return await results<Trained>(startJob(ranks, ["train", JSON.stringify(options)]));
}

/** Throws unless all numbers in `actual` are near those of `expected`, wherever they stand. */
function assertNear(actual: unknown, expected: unknown, tolerance: number, path = ""): void {
	if (typeof expected === "number") {
		const difference = Math.abs(actual as number - expected);
		assert(
			difference <= tolerance * Math.max(1, Math.abs(expected)),
			`${path}: ${actual} is not ${expected}`,
		);
	} else if (typeof expected === "object" && expected !== null) {
		assertEquals(Object.keys(actual as object), Object.keys(expected), path);
		for (const [key, value] of Object.entries(expected)) {
			assertNear((actual as Record<string, unknown>)[key], value, tolerance, `${path}.${key}`);
		}
	} else assertEquals(actual, expected, path);
}

/** What is the same however many processes there are. */
const common = ({ step, finished, losses, validation, metrics, weights }: Trained) => ({
	step,
	finished,
	losses,
	validation,
	metrics,
	weights,
});

Deno.test("several processes train as one does", () =>
	inDirectory(async (folder) => {
		const options = (name: string) => ({ folder: `${folder}/${name}`, steps: 20, accumulation: 2 });
		for (const name of ["one", "two", "four", "shared"]) await Deno.mkdir(`${folder}/${name}`);
		const [one] = await trained(1, options("one"));
		assertEquals(one!.losses.length, 20);
		assert(one!.losses[19]! < one!.losses[0]! - 0.3, `${one!.losses}`);
		assertEquals([one!.validation.length, one!.metrics.length], [3, 3]);
		const runs = {
			two: await trained(2, options("two")),
			four: await trained(4, options("four")),
			shared: await trained(2, { ...options("shared"), shardOptimizer: true }),
		};
		for (const [name, ranks] of Object.entries(runs)) {
			for (const rank of ranks) {
				assertNear(common(rank), common(one!), 1e-4, `${name} ${rank.rank}`);
				assertEquals(rank.weights, ranks[0]!.weights, "all have the same bits");
			}
		}
		// Each keeps about half of the two moments of every parameter.
		assert(
			runs.shared[0]!.peak < runs.two[0]!.peak,
			`${runs.shared[0]!.peak} ${runs.two[0]!.peak}`,
		);
		// Parameters once, and in each update the gradients once for both its batches, the loss and the sign to stop.
		const { bytes, parameters } = runs.two[0]!;
		assertEquals(bytes, 4 * parameters + 20 * (4 * parameters + 8));
	}));

Deno.test("a checkpoint of two processes is resumed by one and by four", () =>
	inDirectory(async (folder) => {
		const options = { steps: 20, checkpoints: { folder: `${folder}/kept`, interval: 10 } };
		for (const name of ["whole", "half", "one", "four"]) await Deno.mkdir(`${folder}/${name}`);
		const [whole] = await trained(1, { steps: 20, folder: `${folder}/whole` });
		// Rank 1 is told to stop behind update 7; both do so together, one update later.
		const half = await trained(2, {
			...options,
			folder: `${folder}/half`,
			shardOptimizer: true,
			stopAt: [null, 7],
		});
		assertEquals(half[0]!.step, half[1]!.step);
		assert(half[0]!.step >= 8 && half[0]!.step <= 10, `${half[0]!.step}`);
		assertEquals(half[0]!.finished, false);
		const saved = await Array.fromAsync(Deno.readDir(`${folder}/kept`));
		assertEquals(saved.length, 1);
		for (const [name, ranks, shardOptimizer] of [["four", 4, true], ["one", 1, false]] as const) {
			const copy = { folder: `${folder}/${name}/kept`, interval: 10 };
			await Deno.mkdir(copy.folder);
			const file = saved[0]!.name;
			await Deno.copyFile(`${folder}/kept/${file}`, `${copy.folder}/${file}`);
			const [resumed] = await trained(ranks, {
				...options,
				checkpoints: copy,
				folder: `${folder}/${name}`,
				shardOptimizer,
				resume: true,
			});
			assertEquals([resumed!.step, resumed!.finished], [20, true]);
			assertNear(resumed!.losses, whole!.losses.slice(half[0]!.step), 1e-4, name);
			assertNear(resumed!.weights, whole!.weights, 1e-4, name);
		}
	}));

Deno.test("a rank with other options or data is refused, and so is a batch that cannot be shared out", () =>
	inDirectory(async (folder) => {
		const refused = async (more: Record<string, unknown>, expected: RegExp) => {
			const ranks = startJob(2, ["train", JSON.stringify({ folder, ...more })]);
			for (const { outcome } of ranks) {
				const { code, stderr } = await outcome;
				assertEquals(code, 1);
				assertMatch(stderr, expected);
			}
		};
		await refused(
			{ optionsOfRank: [{}, { clip: 0.5 }] },
			/rank 0 has the training \{.*\}, rank 1 has \{.*"clip":0\.5\}/,
		);
		await refused(
			{ optionsOfRank: [{}, { config: "another" }] },
			/rank 0 has the configuration null, rank 1 has "another"/,
		);
		await refused(
			{ spoiltData: 1 },
			/rank 0 has the data copy.* \(([0-9a-f]{16})\), rank 1 has copy.* \((?!\1)[0-9a-f]{16}\)/,
		);
		await refused({ batchSize: 7 }, /Cannot share out batches of 7 sequences to 2 processes/);
	}));

Deno.test("when a rank is killed in training, the others end and the last checkpoint is good", () =>
	inDirectory(async (folder) => {
		const checkpoints = { folder: `${folder}/kept`, interval: 5 };
		const options = { folder, steps: 100_000, checkpoints, evaluation: undefined, hold: true };
		const ranks = startJob(2, ["train", JSON.stringify(options)]);
		await ranks[0]!.printed("step 12");
		ranks[1]!.process.kill("SIGKILL");
		const { code, stderr } = await ranks[0]!.outcome;
		assertEquals(code, 1);
		assertMatch(
			stderr,
			/Cannot go on with 2 ranks: rank 1 \(process \d+ on 127\.0\.0\.1\) is gone/,
		);
		await ranks[1]!.outcome;
		const [resumed] = await trained(1, { ...options, steps: 50, hold: undefined, resume: true });
		assertEquals([resumed!.step, resumed!.finished], [50, true]);
	}));
