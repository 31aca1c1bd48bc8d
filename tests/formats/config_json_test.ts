// Settings of JSON files: what is read, and what errors say.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError, ConfigJson } from "../../src/formats/config_json.ts";

const config = new ConfigJson("config.json", {
	hidden_size: 64,
	eps: 1e-5,
	tied: false,
	model_type: "gpt2",
	nothing: null,
	factors: [1, 2.5],
	eos_token_id: [1, 2],
	bos_token_id: 3,
	rope: { type: "llama3", factor: "x" },
});

Deno.test("ConfigJson gives what is there, and what else is meant where it is missing or null", () => {
	assertEquals(config.whole("hidden_size"), 64);
	assertEquals(config.number("eps"), 1e-5);
	assertEquals(config.boolean("tied", true), false);
	assertEquals(config.string("model_type", "bert"), "gpt2");
	assertEquals(config.numbers("factors"), [1, 2.5]);
	assertEquals(config.wholes("eos_token_id"), [1, 2]);
	assertEquals(config.wholes("bos_token_id"), [3]);
	assertEquals([config.wholes("nothing"), config.wholes("gone")], [[], []]);
	assertEquals([config.whole("nothing", 7), config.number("gone", 0.5)], [7, 0.5]);
	assertEquals([config.boolean("gone", true), config.string("gone", "")], [true, ""]);
	assertEquals([config.has("eps"), config.has("nothing"), config.has("gone")], [
		true,
		false,
		false,
	]);
	assertEquals(config.object("rope").string("type"), "llama3");
	assertEquals(config.object("gone").has("type"), false);
});

Deno.test("ConfigJson names file, key, value and what is needed", () => {
	const problem = (read: () => unknown) =>
		assertThrows(read, ConfigError).message.replace('Cannot use "config.json": its ', "");
	assertEquals(
		problem(() => config.whole("gone")),
		'"gone" is missing: a whole number is needed',
	);
	assertEquals(
		problem(() => config.number("nothing")),
		'"nothing" is missing: a number is needed',
	);
	assertEquals(
		problem(() => config.whole("model_type")),
		'"model_type" is "gpt2": a whole number is needed',
	);
	assertEquals(problem(() => config.whole("eps")), '"eps" is 0.00001: a whole number is needed');
	assertEquals(
		problem(() => config.number("model_type", 1)),
		'"model_type" is "gpt2": a number is needed',
	);
	assertEquals(problem(() => config.boolean("eps")), '"eps" is 0.00001: true or false is needed');
	assertEquals(problem(() => config.string("tied")), '"tied" is false: a string is needed');
	assertEquals(
		problem(() => config.numbers("tied")),
		'"tied" is false: a list of numbers is needed',
	);
	assertEquals(
		problem(() => config.wholes("factors")),
		'"factors" is [1,2.5]: a whole number, or a list of them, is needed',
	);
	assertEquals(problem(() => config.object("eps")), '"eps" is 0.00001: an object is needed');
	assertEquals(
		problem(() => config.object("rope").number("factor")),
		'"rope.factor" is "x": a number is needed',
	);
	for (const size of [-1, 0.5, 1e308, NaN, "64", [64], {}]) {
		assertThrows(() => new ConfigJson("c", { size }).whole("size"), ConfigError, "a whole number");
	}
});

Deno.test("ConfigJson.open() tells of a file that is missing, damaged or too large", async () => {
	const folder = await Deno.makeTempDir();
	const path = `${folder}/config.json`;
	const refused = async (text: string, problem: string) => {
		await Deno.writeTextFile(path, text);
		await assertRejects(
			() => ConfigJson.open(path),
			ConfigError,
			`Cannot use "${path}": ${problem}`,
		);
	};
	try {
		await assertRejects(() => ConfigJson.open(path), ConfigError, "there is no such file");
		await assertRejects(() => ConfigJson.open(folder), ConfigError, "it is not a regular file");
		await refused('{"a": 1', "it is no JSON: ");
		await refused("", "it is no JSON: ");
		await refused("[1]", "it must hold a JSON object");
		await refused("null", "it must hold a JSON object");
		await Deno.truncate(path, 2 ** 40); // a hole: it takes no room on the disk
		await assertRejects(() => ConfigJson.open(path), ConfigError, "at most 16777216 are read");
		await Deno.writeTextFile(path, '{"hidden_size": 8}');
		assertEquals((await ConfigJson.open(path)).whole("hidden_size"), 8);
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
});
