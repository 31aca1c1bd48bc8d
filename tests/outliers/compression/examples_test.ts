// The example of compressing a model, at toy size.

import { assertEquals } from "@std/assert";
import { configPath, root } from "../../../tools/project.ts";

Deno.test("examples/compress_model.ts tells what each compression costs", async () => {
	const text = `${root}/src/outliers/texts/default.txt`, model = `${root}/models/box`;
	const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: [
			...["run", "-A", "--no-check", "--config", configPath()],
			...[`${root}/examples/compress_model.ts`, text, model, "1", "32"],
		],
		env: { NO_COLOR: "1" },
	}).output();
	const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
	assertEquals(success, true, problem);
	const rows = out!.trim().split("\n").map((line) => /^(.+?) +([\d.]+)$/.exec(line)!);
	assertEquals(rows.length, 1 + 2 + 3 * 5, out);
	const of = (what: string) => Number(rows.find(([, name]) => name === what)![2]);
	// Eight bits cost a text of 32 tokens nearly nothing.
	for (const what of ["a row", "a tensor", "a tensor, the largest kept"]) {
		const ratio = of(`8 bits, a scale ${what}`) / of("full precision");
		assertEquals(Math.abs(ratio - 1) < 0.02, true, `${what}: ${ratio}`);
	}
});
