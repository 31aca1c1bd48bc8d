// Synthetic tasks: what follows triggers, where sequences begin, and how hard the other symbols are to predict.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { copyTask, inductionTask, type SyntheticTask } from "../../../src/nn/training/tasks.ts";

function sequences(task: SyntheticTask, count: number, tokens = 128) {
	return Array.from({ length: count }, (_, index) => {
		const inputs = new Int32Array(tokens), targets = new Int32Array(tokens);
		task.fill("train", index, inputs, targets);
		return { inputs, targets };
	});
}

Deno.test("sequences begin with the start symbol, have no other, and targets follow inputs", () => {
	for (const task of [copyTask(), inductionTask()]) {
		for (const { inputs, targets } of sequences(task, 50)) {
			assertEquals([inputs[0], targets[0]], [0, -1]);
			assert(inputs.every((id, i) => i === 0 || (id > 0 && id < 64)));
			assertEquals(targets.slice(1, -1), inputs.slice(2));
		}
	}
});

Deno.test("after a trigger the copy task repeats the symbol before it", () => {
	const task = copyTask({ triggers: [1, 5] });
	let seen = 0;
	for (const { inputs, targets } of sequences(task, 50)) {
		inputs.forEach((id, i) => {
			if (i < 2 || !task.triggers.includes(id) || task.triggers.includes(inputs[i - 1]!)) return;
			assertEquals(targets[i], inputs[i - 1]);
			seen++;
		});
	}
	assert(seen > 200);
});

Deno.test("triggers do not repeat each other for good", () => {
	for (const task of [copyTask(), inductionTask()]) {
		for (const { inputs } of sequences(task, 300)) {
			let run = 0, most = 0;
			inputs.forEach((id, i) => most = Math.max(most, run = id === inputs[i - 2] ? run + 1 : 0));
			assert(most < 30, inputs.join(" "));
		}
	}
});

Deno.test("after a trigger the induction task has one symbol a sequence, and not always the same", () => {
	const task = inductionTask(), all = new Map(task.triggers.map((id) => [id, new Set<number>()]));
	for (const { inputs, targets } of sequences(task, 60)) {
		for (const trigger of task.triggers) {
			const own = new Set(targets.filter((_, i) => i > 0 && inputs[i] === trigger));
			assert(own.size <= 1);
			for (const id of own) {
				assert(!task.triggers.includes(id));
				all.get(trigger)!.add(id);
			}
		}
	}
	for (const symbols of all.values()) assert(symbols.size > 15);
});

Deno.test("the other symbols are about as hard to predict as bytes of English", () => {
	const counts = new Map<number, Map<number, number>>();
	const task = copyTask();
	let total = 0;
	for (const { inputs, targets } of sequences(task, 2000)) {
		inputs.forEach((id, i) => {
			if (i === 0 || task.triggers.includes(id)) return;
			const row = counts.get(id) ?? new Map<number, number>();
			counts.set(id, row.set(targets[i]!, (row.get(targets[i]!) ?? 0) + 1));
			total++;
		});
	}
	let entropy = 0;
	for (const row of counts.values()) {
		const sum = [...row.values()].reduce((a, b) => a + b);
		for (const count of row.values()) entropy -= count / total * Math.log(count / sum);
	}
	assert(entropy > 1.9 && entropy < 2.9, `${entropy} nats`);
});

Deno.test("a text gives its bytes and pairs", () => {
	const text = "abcabdabeabf".repeat(3) + "ghijk"; // after a comes b, and after b anything
	const task = copyTask({ text, vocabularySize: 9, triggers: [8] });
	for (const { inputs, targets } of sequences(task, 20)) {
		inputs.forEach((id, i) => {
			if (i > 0 && id === 1) assertEquals(targets[i], 2); // a is the most frequent byte
		});
	}
	assertThrows(() => copyTask({ text: "abc" }), RangeError, "3 different bytes, and 63 are needed");
});

Deno.test("the same seed gives the same sequences, others for validation and for another seed", () => {
	const one = (seed: number, split: "train" | "validation") => {
		const inputs = new Int32Array(40);
		inductionTask({ seed }).fill(split, 7, inputs, new Int32Array(40));
		return inputs.join();
	};
	assertEquals(one(1, "train"), one(1, "train"));
	assertEquals(new Set([one(1, "train"), one(1, "validation"), one(2, "train")]).size, 3);
});

Deno.test("triggers that are no symbols are refused", () => {
	assertThrows(
		() => copyTask({ triggers: [64] }),
		RangeError,
		"trigger 64 is no symbol from 1 to 63",
	);
	assertThrows(() => inductionTask({ vocabularySize: 5 }), RangeError, "5 symbols");
});
