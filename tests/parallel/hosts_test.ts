// Two hosts: network namespaces with names and addresses of their own, and a cable between them. Making them takes
// root, as a machine that runs tests mostly gives.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { inDirectory } from "../subprocess.ts";
import { results, startJob } from "./jobs.ts";

const HOSTS = [
	{ name: `outlierscope-a-${Deno.pid}`, device: "cable0", address: "10.77.0.1" },
	{ name: `outlierscope-b-${Deno.pid}`, device: "cable1", address: "10.77.0.2" },
];

async function ip(...args: string[]): Promise<string> {
	const { success, stdout, stderr } = await new Deno.Command("ip", { args }).output();
	const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	if (!success) throw new Error(`ip ${args.join(" ")}: ${problem}`);
	return out!;
}

/** The two hosts, which end with the test. */
async function connected(body: () => Promise<void>): Promise<void> {
	try {
		for (const { name } of HOSTS) await ip("netns", "add", name);
		const [a, b] = HOSTS as [typeof HOSTS[0], typeof HOSTS[0]];
		const peer = ["peer", "name", b.device, "netns", b.name];
		await ip("link", "add", a.device, "netns", a.name, "type", "veth", ...peer);
		for (const { name, device, address } of HOSTS) {
			await ip("-n", name, "addr", "add", `${address}/24`, "dev", device);
			for (const link of ["lo", device]) await ip("-n", name, "link", "set", link, "up");
		}
		await body();
	} finally {
		for (const { name } of HOSTS) await ip("netns", "del", name).catch(() => {});
	}
}

/** Bytes that a host has sent. */
async function sent({ name, device }: typeof HOSTS[0]): Promise<number> {
	const [{ stats64 }] = JSON.parse(await ip("-n", name, "-s", "-j", "link", "show", device));
	return stats64.tx.bytes;
}

/** Starts a rank on each of the hosts. */
const startOnHosts = (args: string[]) =>
	startJob(
		2,
		args,
		() => ({
			LOCAL_RANK: "0",
			LOCAL_WORLD_SIZE: "1",
			MASTER_ADDR: HOSTS[0]!.address,
		}),
		(rank) => {
			const { name } = HOSTS[rank]!;
			const named = 'hostname "$0" && exec "$@"'; // MPI takes what has one name for one machine
			return ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", named, name];
		},
	);

const options = { ignore: Deno.uid() !== 0 };

Deno.test(
	"two hosts train as one does, and send what a ring would",
	options,
	() =>
		connected(() =>
			inDirectory(async (folder) => {
				interface Trained {
					rank: number;
					losses: number[];
					bytes: number;
				}
				const given = { folder, steps: 30, evaluation: undefined, metrics: undefined };
				const ranks = await results<Trained>(startOnHosts(["train", JSON.stringify(given)]));
				const [one] = await results<Trained>(startJob(1, ["train", JSON.stringify(given)]));
				assertEquals(ranks.length, 2);
				for (const { losses } of ranks) {
					losses.forEach((loss, i) => assert(Math.abs(loss - one!.losses[i]!) < 1e-4));
				}
				// Of two, each sends what it has once: 2 (N - 1) / N of it.
				const [first, second] = await Promise.all(HOSTS.map(sent));
				const { bytes } = ranks[0]!;
				for (const total of [first!, second!]) {
					assert(total > 0.95 * bytes && total < 1.3 * bytes, `${total} of ${bytes}`);
				}
			})
		),
);

Deno.test(
	"when a host is cut off, both end and name the other",
	options,
	() =>
		connected(async () => {
			const patience = { beat: 500, silence: 3000 };
			const ranks = startOnHosts(["wait", JSON.stringify({ patience, absent: 1 })]);
			await Promise.all(ranks.map((rank) => rank.printed("ready")));
			const { name, device } = HOSTS[1]!;
			await ip("-n", name, "link", "set", device, "down");
			const begin = performance.now();
			const outcomes = await Promise.all(ranks.map(({ outcome }) => outcome));
			assert(performance.now() - begin < 15_000);
			for (const [rank, { code, stderr }] of outcomes.entries()) {
				assertEquals(code, 1);
				assertMatch(
					stderr,
					new RegExp(
						`Cannot go on with 2 ranks: rank ${1 - rank} \\(.*10\\.77\\.0.*\\) has been silent`,
					),
				);
			}
		}),
);

Deno.test("a host that cannot be reached is told", options, () =>
	connected(async () => {
		const given = { odd: 0, patience: { start: 2000 } };
		const ranks = startJob(
			2,
			["collectives", JSON.stringify(given)],
			() => ({ MASTER_ADDR: "10.77.9.9" }),
			(rank) => rank === 1 ? ["ip", "netns", "exec", HOSTS[1]!.name] : [],
		);
		const [first, second] = await Promise.all(ranks.map(({ outcome }) => outcome));
		assertMatch(first!.stderr, /of 2 ranks these did not come: 1/);
		assertMatch(second!.stderr, /Cannot reach rank 0 at 10\.77\.9\.9:\d+: .*unreachable/);
	}));
