// Starts processes that work together on this machine, as a launcher does.

import { configPath, root } from "../../tools/project.ts";
import type { Outcome } from "../subprocess.ts";

/** One of the processes. */
export interface Rank {
	process: Deno.ChildProcess;
	/** How it ended. */
	outcome: Promise<Outcome>;
	/** Resolves when it has printed a line that begins so. */
	printed(text: string): Promise<void>;
}

/** A port that nothing listens on. */
function freePort(): number {
	using listener = Deno.listen({ port: 0 });
	return listener.addr.port;
}

const command = (args: string[]) => [
	"run",
	"--quiet",
	"--no-prompt",
	"-A",
	"--config",
	configPath(),
	`${root}/tests/parallel/worker.ts`,
	...args,
];

async function collect(stream: ReadableStream<Uint8Array>, saw: (text: string) => void) {
	let text = "";
	for await (const part of stream.pipeThrough(new TextDecoderStream())) saw(text += part);
	return text.trim();
}

/** Starts a process and gathers what it prints. */
function watch(child: Deno.ChildProcess): Rank {
	const waiting: { text: string; resolve: () => void }[] = [];
	let seen = "";
	const look = (text: string) => {
		seen = text;
		for (const one of waiting) if (`\n${text}`.includes(`\n${one.text}`)) one.resolve();
	};
	const hung = setTimeout(() => child.kill("SIGKILL"), 100_000); // fails what would wait forever
	const outcome = (async () => {
		const [stdout, stderr, { code }] = await Promise.all([
			collect(child.stdout, look),
			collect(child.stderr, () => {}),
			child.status,
		]);
		clearTimeout(hung);
		return { code, stdout, stderr };
	})();
	return {
		process: child,
		outcome,
		printed: (text) =>
			new Promise((resolve, reject) => {
				waiting.push({ text, resolve });
				look(seen);
				void outcome.then(({ stderr }) => reject(new Error(`It never printed ${text}: ${stderr}`)));
			}),
	};
}

/**
 * Starts `tests/parallel/worker.ts` as `size` ranks with the environment of `torchrun`.
 *
 * @param env what differs by rank
 * @param within a command that runs each rank's, as on another host
 */
export function startJob(
	size: number,
	args: string[],
	env: (rank: number) => Record<string, string> = () => ({}),
	within: (rank: number) => string[] = () => [],
): Rank[] {
	const port = `${freePort()}`;
	return Array.from({ length: size }, (_, rank) => {
		const [program, ...rest] = [...within(rank), Deno.execPath(), ...command(args)];
		return watch(
			new Deno.Command(program!, {
				args: rest,
				env: {
					NO_COLOR: "1",
					OMP_NUM_THREADS: "1",
					RANK: `${rank}`,
					WORLD_SIZE: `${size}`,
					LOCAL_RANK: `${rank}`,
					LOCAL_WORLD_SIZE: `${size}`,
					MASTER_ADDR: "127.0.0.1",
					MASTER_PORT: port,
					...env(rank),
				},
				stdin: "null",
				stdout: "piped",
				stderr: "piped",
			}).spawn(),
		);
	});
}

/** Starts it as `size` ranks by `mpirun`, which is the one process here. */
export function startByMpirun(size: number, args: string[]): Rank {
	return watch(
		new Deno.Command("mpirun", {
			args: ["-n", `${size}`, "--oversubscribe", Deno.execPath(), ...command(args)],
			env: {
				NO_COLOR: "1",
				OMPI_ALLOW_RUN_AS_ROOT: "1",
				OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
			},
			stdin: "null",
			stdout: "piped",
			stderr: "piped",
		}).spawn(),
	);
}

/** The lines of JSON that ranks printed, by rank; throws if one of them failed. */
export async function results<T extends { rank: number }>(ranks: Rank[]): Promise<T[]> {
	const outcomes = await Promise.all(ranks.map(({ outcome }) => outcome));
	return outcomes.flatMap(({ code, stdout, stderr }) => {
		if (code !== 0) throw new Error(`A rank ended with ${code}: ${stderr}`);
		return stdout.split("\n").filter((line) => line.startsWith("{")).map((line) =>
			JSON.parse(line) as T
		);
	}).sort((a, b) => a.rank - b.rank);
}
