// The page of curves: what it serves as the log grows and is cut back, and that it is self-contained.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { serveLog } from "../../../src/nn/training/live_page.ts";
import { inDirectory } from "../../subprocess.ts";

Deno.test("the lines of a log come as it grows, and all again when it was cut back", () =>
	inDirectory(async (path) => {
		const log = `${path}/log.jsonl`;
		await using page = serveLog(log);
		const ask = async (from: number) => await (await fetch(`${page.url}log?from=${from}`)).json();
		assertEquals(await ask(0), { size: 0, text: "", reset: false });
		await Deno.writeTextFile(log, '{"a":1}\n{"b":2}\n{"c"');
		assertEquals(await ask(0), { size: 16, text: '{"a":1}\n{"b":2}\n', reset: false });
		assertEquals(await ask(16), { size: 16, text: "", reset: false });
		await Deno.writeTextFile(log, ":3}\n", { append: true });
		assertEquals(await ask(16), { size: 24, text: '{"c":3}\n', reset: false });
		await Deno.writeTextFile(log, '{"a":1}\n');
		assertEquals(await ask(24), { size: 8, text: '{"a":1}\n', reset: true });
		await Deno.remove(log);
		assertEquals(await ask(8), { size: 0, text: "", reset: true });
	}));

Deno.test("the page needs nothing from elsewhere, and other paths are refused", async () => {
	await using page = serveLog("/nowhere");
	const answer = await fetch(page.url), text = await answer.text();
	assertMatch(answer.headers.get("content-type")!, /^text\/html/);
	const addresses = text.match(/https?:\/\/[^"' ]*/g);
	assertEquals(addresses, ["http://www.w3.org/2000/svg"]); // a name, which is never fetched
	assert(!/\b(src|href)=/.test(text));
	for (const [path, status] of [["x", 404], ["log?from=-1", 400], ["log?from=x", 400]] as const) {
		const refused = await fetch(page.url + path);
		await refused.body?.cancel();
		assertEquals(refused.status, status);
	}
});
