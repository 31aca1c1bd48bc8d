// Settings from JSON: values by their types, and errors that name file, key and what was found.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError } from "../../mod.ts";
import { ConfigJson } from "../../src/formats/config_json.ts";

async function withFile(text: string, use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, text);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("settings are read by key, with defaults for what is missing or null", async () => {
  const text =
    '{"a": 3, "b": 0.5, "c": true, "d": "x", "e": null, "f": {"g": 7}, "h": [1, 2.5], "z": 0}';
  await withFile(text, async (path) => {
    const json = await ConfigJson.open(path);
    assertEquals([json.whole("a"), json.number("b"), json.boolean("c")], [3, 0.5, true]);
    assertEquals([json.string("d"), json.numbers("h"), json.whole("z", 4)], ["x", [1, 2.5], 0]);
    assertEquals([json.has("e"), json.has("none"), json.has("z")], [false, false, true]);
    assertEquals([json.whole("e", 9), json.string("none", "y")], [9, "y"]);
    assertEquals([json.object("f").whole("g"), json.object("none").whole("g", 1)], [7, 1]);
  });
});

Deno.test("what is missing or of another kind is named", async () => {
  await withFile('{"a": "3", "b": 1.5, "c": -1, "f": {"g": []}, "l": [1, "2"]}', async (path) => {
    const json = await ConfigJson.open(path);
    const fails = (read: () => unknown, words: string) =>
      assertThrows(read, ConfigError, `Cannot use "${path}": ${words}`);
    fails(() => json.whole("n"), 'its "n" is missing: a whole number is needed');
    fails(() => json.number("a"), 'its "a" is "3": a number is needed');
    fails(() => json.whole("b"), 'its "b" is 1.5: a whole number is needed');
    fails(() => json.whole("c"), 'its "c" is -1: a whole number is needed');
    fails(() => json.string("b"), 'its "b" is 1.5: a string is needed');
    fails(() => json.boolean("a"), 'its "a" is "3": true or false is needed');
    fails(() => json.numbers("l"), 'its "l" is [1,"2"]: a list of numbers is needed');
    fails(() => json.object("b"), 'its "b" is 1.5: an object is needed');
    fails(() => json.object("f").number("g"), 'its "f.g" is []: a number is needed');
  });
});

Deno.test("files that are no settings are refused", async () => {
  await assertRejects(() => ConfigJson.open("/no/such.json"), ConfigError, "/no/such.json");
  for (const text of ["[1]", "3", "null", "", "{", '{"a": 1']) {
    await withFile(text, async (path) => {
      await assertRejects(() => ConfigJson.open(path), ConfigError, path);
    });
  }
  await withFile(" ".repeat(17 * 2 ** 20), async (path) => {
    await assertRejects(() => ConfigJson.open(path), ConfigError, "more than settings need");
  });
});
