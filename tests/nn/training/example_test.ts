// The example of training runs, at toy size.

import { assertEquals, assertMatch } from "@std/assert";
import { readLog } from "../../../mod.ts";
import { configPath, root } from "../../../tools/project.ts";
import { inDirectory } from "../../subprocess.ts";

Deno.test("examples/train_gpt2.ts trains, resumes and writes a log with metrics", () =>
	inDirectory(async (path) => {
		const run = async (steps: number) => {
			const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
				args: [
					"run",
					"-A",
					"--no-check",
					"--config",
					configPath(),
					`${root}/examples/train_gpt2.ts`,
					`${steps}`,
					path,
				],
				env: { NO_COLOR: "1" },
			}).output();
			const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
			assertEquals(success, true, problem);
			return out!;
		};
		const out = await run(10);
		assertMatch(out, /^Curves: http:\/\/127\.0\.0\.1:\d+\/\nstep 10 of 10, loss \d\.\d{3}, /);
		assertMatch(out, /After step 10 the loss of new sequences is \d\.\d+\n$/);
		assertMatch(await run(12), /After step 12 /);
		const records = await readLog(`${path}/log.jsonl`);
		const metrics = records.filter(({ event }) => event === "metrics");
		assertEquals(metrics.map(({ step }) => step), [0, 10, 12]);
	}));
