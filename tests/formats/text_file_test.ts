// Texts as streams of documents: where they are cut, over the edges of what is read at once, and bad files.

import { assertEquals, assertRejects } from "@std/assert";
import { FileError } from "../../src/formats/file_error.ts";
import { readTexts, type TextOptions } from "../../src/formats/text_file.ts";
import { Random } from "../random.ts";

const random = new Random();

async function read(name: string, data: string | Uint8Array, options: TextOptions = {}) {
	const folder = await Deno.makeTempDir();
	try {
		const path = `${folder}/${name}`;
		await Deno.writeFile(path, typeof data === "string" ? new TextEncoder().encode(data) : data);
		return await Array.fromAsync(readTexts(path, options));
	} finally {
		await Deno.remove(folder, { recursive: true });
	}
}

Deno.test("readTexts() gives a plain text as one document, or cut at separators", async () => {
	assertEquals(await read("a.txt", "One.\n\nTwo é €."), ["One.\n\nTwo é €."]);
	assertEquals(await read("a.txt", "\ufeffOne"), ["One"]);
	assertEquals(await read("a.txt", ""), []);
	assertEquals(await read("a.txt", "a||b||||c|", { separator: "||" }), ["a", "b", "c|"]);
});

Deno.test("readTexts() cuts a long text wherever separators are", async () => {
	const separator = "<|endoftext|>";
	const parts = Array.from({ length: 80_000 }, () => {
		const letters = ["a", "é", "€", "😀", "<|", "<|endoftext|"];
		const count = random.below(20);
		return Array.from({ length: count }, () => letters[random.below(5)]).join("") + "x";
	});
	const text = parts.join(separator); // 3 MB, read in pieces of a quarter: some end within a separator
	assertEquals((await read("a.txt", text, { separator })).join(), parts.join());
	assertEquals((await read("a.txt", text))[0] === text, true);
});

Deno.test("readTexts() reads the texts of JSON Lines", async () => {
	const lines = '{"text": "a\\nb", "id": 1}\r\n\n{"text": ""}\n{"id": 2, "text": "é"}';
	assertEquals(await read("a.jsonl", lines), ["a\nb", "é"]);
	assertEquals(await read("a.jsonl", '{"body": "x"}\n', { field: "body" }), ["x"]);
});

Deno.test("readTexts() tells which line is wrong", async () => {
	const refused = (data: string | Uint8Array, problem: string, name = "a.jsonl") =>
		assertRejects(() => read(name, data), FileError, problem);
	await refused('{"text": "a"}\n{"text": ', "its line 2 is no JSON");
	await refused('{"text": "a"}\n\n{"body": "b"}', 'its line 3 has no text "text"');
	await refused('{"text": 1}', 'its line 1 has no text "text"');
	await refused("[]", 'its line 1 has no text "text"');
	await refused("null", 'its line 1 has no text "text"');
	await refused(Uint8Array.of(97, 0xff), "it is not valid UTF-8", "a.txt");
	await refused(Uint8Array.of(97, 0xe2, 0x82), "it is not valid UTF-8", "a.txt");
	await assertRejects(() => Array.fromAsync(readTexts("/nowhere")), FileError, "no such file");
	await assertRejects(() => read("a.txt", "x", { separator: "" }), RangeError, "empty text");
});

Deno.test("readTexts() refuses a document that is too long", async () => {
	const path = await Deno.makeTempFile({ suffix: ".txt" });
	try {
		await Deno.truncate(path, 2 ** 40); // a hole: it takes no room on the disk
		await assertRejects(() => Array.fromAsync(readTexts(path)), FileError, "longer than 268435456");
	} finally {
		await Deno.remove(path);
	}
});
