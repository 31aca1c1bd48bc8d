// Several processes on this machine: what they pass to each other, by each launcher, and what they are told when
// they cannot work together.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Random } from "../random.ts";
import { inDirectory } from "../subprocess.ts";
import { results, startByMpirun, startJob } from "./jobs.ts";

interface Collected {
	rank: number;
	data: number[][];
	counts: number[];
	doubles: number[];
	exchanged: unknown[];
}

/** What every rank must have in the end. */
function checkCollectives(all: Collected[], odd: number): void {
	const size = all.length, length = 1000 + odd, ranks = [...all.keys()];
	const values = (rank: number) => Array.from({ length }, (_, i) => (rank + 1) * (i % 17) - rank);
	const over = (combine: (...of: number[]) => number) =>
		Array.from({ length }, (_, i) => combine(...ranks.map((rank) => values(rank)[i]!)));
	const sum = over((...of) => of.reduce((a, b) => a + b));
	for (const { rank, data, counts, doubles, exchanged } of all) {
		const [summed, largest, least, reduced, copied, passed] = data;
		assertEquals(summed, sum);
		assertEquals(largest, over(Math.max));
		assertEquals(least, over(Math.min));
		if (rank === size - 1) assertEquals(reduced, sum);
		assertEquals(copied, values(size - 1));
		assertEquals(passed, values(rank === size - 1 ? 0 : rank));
		const rankSum = ranks.reduce((a, b) => a + b);
		assertEquals(counts, [rankSum, -rankSum, 7 * size]);
		assert(Math.abs(doubles[0]! - (rankSum + 0.1 * size)) < 1e-12);
		assertEquals(doubles[1], size * 1e300);
		assertEquals(
			exchanged,
			ranks.map((rank) => ({ rank, not: null })), // JSON has no word for what was exchanged
		);
	}
}

for (const size of [2, 4]) {
	const odd = new Random(size).below(100), given = { odd };
	Deno.test(`${size} processes of torchrun's environment combine what they have`, async () => {
		const ranks = startJob(size, ["collectives", JSON.stringify(given)]);
		checkCollectives(await results(ranks), odd);
	});
	Deno.test(`${size} processes of mpirun combine what they have`, () =>
		inDirectory(async (folder) => {
			const args = ["collectives", JSON.stringify({ ...given, results: folder })];
			const { code, stderr } = await startByMpirun(size, args).outcome;
			assertEquals(code, 0, stderr);
			const files = Array.from({ length: size }, (_, rank) => `${folder}/${rank}.json`);
			const texts = await Promise.all(files.map((file) => Deno.readTextFile(file)));
			checkCollectives(texts.map((text) => JSON.parse(text)), odd);
		}));
}

Deno.test("processes that do not mean the same are told what differs", async () => {
	const args = ["disagree", JSON.stringify({ colours: ["red", "blue"] })];
	const ranks = await Promise.all(startJob(2, args).map(({ outcome }) => outcome));
	for (const { code, stderr } of ranks) {
		assertEquals(code, 1);
		assertMatch(
			stderr,
			/ParallelError: Cannot work together: rank 0 has the colour of the data red, rank 1 has blue/,
		);
	}
});

Deno.test("a rank that is missing is named when the time is over", async () => {
	const patience = { start: 3000 };
	const [first] = startJob(2, ["collectives", JSON.stringify({ odd: 0, patience })], () => ({
		OUTLIERSCOPE_DEVICE: "host",
		WORLD_SIZE: "3",
	}));
	const { code, stderr } = await first!.outcome;
	assertEquals(code, 1);
	assertMatch(stderr, /Cannot go on with 3 ranks: of 3 ranks these did not come: 2/);
});

Deno.test("a port that is taken, a host that cannot be reached and a wrong size are told", async () => {
	using taken = Deno.listen({ hostname: "0.0.0.0", port: 0 });
	const port = `${taken.addr.port}`, patience = { start: 2000 };
	const args = ["collectives", JSON.stringify({ odd: 0, patience })];
	const failing = async (rank: number, env: Record<string, string>, expected: RegExp) => {
		const { code, stderr } = await startJob(
			2,
			args,
			(other) => other === rank ? env : { RANK: "none" },
		)[rank]!.outcome;
		assertEquals(code, 1);
		assertMatch(stderr, expected);
	};
	await failing(
		0,
		{ MASTER_PORT: port },
		/Cannot wait for the other ranks on port \d+: .*in use.*MASTER_PORT chooses another/,
	);
	await failing(
		1,
		{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: "9" },
		/Cannot reach rank 0 at 127\.0\.0\.1:9: .*refused.*; MASTER_ADDR and MASTER_PORT say where/,
	);
	await failing(
		1,
		{ WORLD_SIZE: "0" },
		/Cannot use WORLD_SIZE=0: it must be a whole number from 1/,
	);
	await failing(1, { RANK: "2" }, /Cannot use RANK=2: it must be a whole number from 0 to 1/);
});

Deno.test("ranks of different sizes are refused", async () => {
	const ranks = startJob(
		2,
		["collectives", '{"odd":0}'],
		(rank) => rank === 1 ? { WORLD_SIZE: "3" } : {},
	);
	for (const { outcome } of ranks) {
		const { code, stderr } = await outcome;
		assertEquals(code, 1);
		assertMatch(
			stderr,
			/rank 1 \(process \d+ on 127\.0\.0\.1\) was started as one of 3, rank 0 as one of 2/,
		);
	}
});

for (const [what, signal] of [["killed", "SIGKILL"], ["stopped", "SIGSTOP"]] as const) {
	for (const victim of [0, 1]) {
		Deno.test(`when rank ${victim} is ${what}, the others end and name it`, async () => {
			const patience = { beat: 500, silence: 3000 };
			const args = ["wait", JSON.stringify({ patience, absent: victim })];
			const ranks = startJob(3, args);
			await Promise.all(ranks.map((rank) => rank.printed("ready")));
			const begin = performance.now();
			ranks[victim]!.process.kill(signal);
			for (const [rank, { outcome }] of ranks.entries()) {
				if (rank === victim) continue;
				const { code, stderr } = await outcome;
				assertEquals(code, 1);
				assertMatch(
					stderr,
					new RegExp(
						`Cannot go on with 3 ranks: rank ${victim} \\(.*\\) (is gone|has been silent)`,
					),
				);
			}
			assert(performance.now() - begin < 15_000);
			if (signal === "SIGSTOP") ranks[victim]!.process.kill("SIGKILL");
			await ranks[victim]!.outcome;
		});
	}
}
