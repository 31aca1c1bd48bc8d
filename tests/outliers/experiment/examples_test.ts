// The examples of comparing attentions, at toy size.

import { assertEquals, assertMatch } from "@std/assert";
import { configPath, root } from "../../../tools/project.ts";
import { inDirectory } from "../../subprocess.ts";

async function run(example: string, folder: string): Promise<string> {
	const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: [
			"run",
			"-A",
			"--no-check",
			"--config",
			configPath(),
			`${root}/examples/${example}.ts`,
			"3",
			folder,
		],
		env: { NO_COLOR: "1" },
	}).output();
	const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	assertEquals(success, true, problem);
	assertMatch(await Deno.readTextFile(`${folder}/report.html`), /^<!DOCTYPE html>/);
	return out!;
}

Deno.test("examples/compare_attention.ts compares three attentions", () =>
	inDirectory(async (folder) => {
		const out = await run("compare_attention", folder);
		assertMatch(out, /softmax: loss \d\.\d{3}, 0 % sinks.*\ncontext-scaling: .*\nsigmoid: /);
	}));

Deno.test("examples/custom_attention.ts compares an attention of its own", () =>
	inDirectory(async (folder) => {
		const out = await run("custom_attention", folder);
		// Both start alike, and three updates hardly part them; one head has one number more.
		const [, plain, own] = /softmax: (\d+) parameters.*\nhead-volume: (\d+) parameters/.exec(out)!;
		assertEquals(Number(own), Number(plain) + 1);
	}));
