// Holds docs/permissions.md: what it lists is enough, and whichever flag is missing, one sentence names it.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { configPath, root } from "../tools/project.ts";
import { inDirectory } from "./subprocess.ts";

const page = Deno.readTextFileSync(`${root}/docs/permissions.md`);
const LEAST = /^deno run ((?:--allow-\w+ )+)/m.exec(page)![1]!.trim().split(" ");

/** Analyzes the box model, writing to `out`, with these flags. */
async function analyze(
	out: string,
	flags: string[],
	env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
	const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: [
			...["run", "--quiet", "--no-prompt", "--config", configPath(), ...flags, `${root}/cli.ts`],
			...["analyze", "--model", `${root}/models/box`, "--text", "Summer is warm.", "--out", out],
		],
		env: { NO_COLOR: "1", OUTLIERSCOPE_DEVICE: "host", ...env },
		stdin: "null",
	}).output();
	const [told, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	return { code, stdout: told!, stderr: problem! };
}

Deno.test("the permissions of the documentation are enough, and fewer once all is compiled", () =>
	inDirectory(async (directory) => {
		assertEquals(LEAST.length, 5);
		const first = await analyze(`${directory}/first`, LEAST);
		assertEquals(first.code, 0, first.stderr);
		const out = `${directory}/second`;
		const fewer = ["--allow-ffi", "--allow-read", "--allow-env", `--allow-write=${out}`];
		const second = await analyze(out, fewer);
		assertEquals(second.code, 0, second.stderr);
		assert(Deno.statSync(`${out}/report.html`).size > 0);
	}));

for (const missing of LEAST) {
	Deno.test(`without ${missing} one sentence names it`, () =>
		inDirectory(async (directory) => {
			const flags = LEAST.filter((flag) => flag !== missing);
			// The compiler is started only where its work is not there yet.
			const env = missing === "--allow-run" ? { OUTLIERSCOPE_CACHE: `${directory}/cache` } : {};
			const out = `${directory}/out`;
			const { code, stderr } = await analyze(out, flags, env);
			assertEquals(code, 1);
			const lines = stderr.trim().split("\n").filter((line) => !line.startsWith("First use"));
			assertEquals(lines.length, 1, stderr);
			assertMatch(lines[0]!, new RegExp(`^error: [^;]*\\brun (again )?with (the )?${missing}\\b`));
			assertEquals([...Deno.readDirSync(directory)].filter(({ name }) => name === "out"), []);
			assertEquals(lines[0]!.match(/--allow-\w+/g)!.every((flag) => flag === missing), true);
		}));
}
