// Damaged files of every format, for a moment each; `./dev fuzz` does more.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { FileError } from "../../src/formats/file_error.ts";
import { Random, seed } from "../random.ts";
import { damage, fuzz, type Target, targets } from "./fuzz.ts";

const CASES = 400;

for (const target of targets) {
	Deno.test(`damaged files give a result or one clear error: ${target.name}`, async () => {
		const { opened, refused } = await fuzz(target, new Random(), (count) => count < CASES);
		assertEquals(opened, CASES);
		assert(refused > CASES / 20, `seed ${seed}: only ${refused} of ${opened} refused`);
	});
	Deno.test(`whole files are read: ${target.name}`, async () => {
		const path = await Deno.makeTempFile({ suffix: target.suffix });
		try {
			for (const bytes of target.files) {
				await Deno.writeFile(path, bytes);
				await target.use(path);
			}
		} finally {
			await Deno.remove(path);
		}
	});
}

Deno.test("a parser that fails in another way is found", async () => {
	const target = (use: Target["use"]): Target => ({
		name: "planted",
		suffix: ".x",
		files: [new Uint8Array(8)],
		use,
	});
	const run = (use: Target["use"]) => fuzz(target(use), new Random(), (count) => count < 5);
	await assertRejects(
		() => run(() => Promise.reject(new TypeError("undefined is not iterable"))),
		Error,
		"planted, file 0: TypeError: undefined is not iterable",
	);
	const long = () => Promise.reject(new FileError("x", "y".repeat(3000)));
	await assertRejects(() => run(long), Error, "a message of 30");
	assertEquals(await run(() => Promise.reject(new FileError("x", "y"))), { opened: 5, refused: 5 });
	assertEquals(await run(() => Promise.resolve()), { opened: 5, refused: 0 });
});

Deno.test("damage changes files", () => {
	const random = new Random(), original = random.bytes(100);
	const same = Array.from({ length: 200 }, () => damage(random, original))
		.filter((bytes) => bytes.join() === original.join());
	assert(same.length < 40, `seed ${seed}: ${same.length} of 200 were left as they are`);
});
