// Which files publishing uploads, and a Deno of its own to ask.

import { assertEquals } from "@std/assert";
import { configPath, root } from "../tools/project.ts";

/** Runs Deno at the root. */
export async function deno(
	args: string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
	const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args,
		cwd: root,
		stdin: "null",
		env: { NO_COLOR: "1" },
	}).output();
	const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	return { code, stdout: out!, stderr: problem! };
}

/** What publishing would upload: paths relative to the root. */
export async function published(): Promise<string[]> {
	const args = ["publish", "--dry-run", "--no-check", "--allow-dirty", "--config", configPath()];
	const { code, stdout, stderr } = await deno(args); // `./dev check` has it check types as well
	const lines = (stdout + stderr).trim().split("\n");
	const files = lines.flatMap((line) => / file:\/\/(.*) \([\d.]+K?B\)$/.exec(line)?.[1] ?? []);
	const said = lines.filter((line) => !line.includes(" file://"));
	assertEquals({ code, said: said.map((line) => line.replace(/@.*?(?= with)/, "it")) }, {
		code: 0,
		said: [
			"Checking for slow types in the public API...",
			"Simulating publish of it with files:",
			"Success Dry run complete",
		],
	}, "publishing warns");
	return files.map((path) => decodeURIComponent(path).slice(root.length + 1)).sort();
}
