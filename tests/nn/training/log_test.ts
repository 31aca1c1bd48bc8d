// The log: whole lines at any time, and cut back to where a run resumes.

import { assertEquals, assertThrows } from "@std/assert";
import { describeProgress, readLog, TrainingLog } from "../../../src/nn/training/log.ts";
import { inDirectory } from "../../subprocess.ts";

const evaluation = (step: number) => ({ event: "evaluation", step, loss: step / 2 }) as const;

Deno.test("a log is cut back to a step, with what a crash left of its last line", () =>
	inDirectory(async (path) => {
		const file = `${path}/log.jsonl`;
		{
			using log = TrainingLog.open(file);
			for (let step = 0; step < 5; step++) {
				log.write(evaluation(step));
				assertEquals((await readLog(file)).length, step + 1);
			}
		}
		await Deno.writeTextFile(file, '{"event":"evaluation","st', { append: true });
		assertEquals((await readLog(file)).length, 5);
		{
			using log = TrainingLog.open(file, 3);
			log.write(evaluation(9));
		}
		assertEquals(await readLog(file), [0, 1, 2, 3, 9].map(evaluation));
		TrainingLog.open(file, 100)[Symbol.dispose]();
		assertEquals((await readLog(file)).length, 5);
		TrainingLog.open(file)[Symbol.dispose](); // a new run
		assertEquals(await Deno.readTextFile(file), "");
	}));

Deno.test("a log that cannot be written is told by its path", () => {
	assertThrows(
		() => TrainingLog.open("/dev/null/log"),
		Error,
		'Cannot write the log "/dev/null/log"',
	);
});

Deno.test("progress is a line", () => {
	const line = (secondsLeft: number) =>
		describeProgress({
			step: 12,
			steps: 2000,
			loss: 2.31449,
			tokensPerSecond: 44_219,
			secondsLeft,
		});
	assertEquals(line(59.2), "step 12 of 2000, loss 2.314, 44,200 tokens/s, 1 min 0 s left");
	assertEquals(line(3.1), "step 12 of 2000, loss 2.314, 44,200 tokens/s, 4 s left");
	assertEquals(line(8000), "step 12 of 2000, loss 2.314, 44,200 tokens/s, 2 h 13 min left");
});
