// Runs a small TypeScript program in a Deno of its own, for what cannot be tried twice in one process:
// environment variables that are read once, missing permissions, two builds at once.

import { configPath, root, toFileUrl } from "../tools/project.ts";

/** What a program said and how it ended. */
export interface Outcome {
	code: number;
	stdout: string;
	stderr: string;
}

/**
 * Runs `program` with imports such as `"src/cuda/device.ts"` resolved here.
 *
 * @param flags permissions; all of them by default
 */
export async function runProgram(
	program: string,
	{ env = {}, flags = ["-A"] }: { env?: Record<string, string>; flags?: string[] } = {},
): Promise<Outcome> {
	const file = await Deno.makeTempFile({ prefix: "outlierscope_test_", suffix: ".ts" });
	try {
		const text = program.replace(
			/"((?:src|tests)\/[\w/]+\.ts)"/g,
			(_, p) => `"${toFileUrl(`${root}/${p}`)}"`,
		);
		await Deno.writeTextFile(file, text);
		const child = new Deno.Command(Deno.execPath(), {
			args: ["run", "--quiet", "--no-prompt", "--config", configPath(), ...flags, file],
			env: { NO_COLOR: "1", ...env },
			stdin: "null",
			stdout: "piped",
			stderr: "piped",
		}).spawn();
		const hung = setTimeout(() => child.kill("SIGKILL"), 120_000); // fails what would wait forever
		const { code, stdout, stderr } = await child.output();
		clearTimeout(hung);
		const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
		return { code, stdout: decode(stdout), stderr: decode(stderr) };
	} finally {
		await Deno.remove(file);
	}
}

/** Runs `body` with the path of a new directory, and removes that. */
export async function inDirectory(body: (path: string) => Promise<void>): Promise<void> {
	const path = await Deno.makeTempDir({ prefix: "outlierscope_test_" });
	try {
		await body(path);
	} finally {
		await Deno.remove(path, { recursive: true });
	}
}
