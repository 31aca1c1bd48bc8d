// Holds the entry points of the package: each imports alone, together they are what `mod.ts` has, and what
// is published is what users need.

import { assert, assertEquals } from "@std/assert";
import { readImports } from "../tools/imports.ts";
import { deno, published } from "./published.ts";
import { configPath, entryPoints, root, toFileUrl } from "../tools/project.ts";

const { exports }: { exports: Record<string, string> } = JSON.parse(
	Deno.readTextFileSync(`${root}/deno.json`),
);
/** A symbol that each entry point is for. */
const PARTS: Record<string, string> = {
	"./tensor": "Tensor",
	"./formats": "Safetensors",
	"./nn": "loadModel",
	"./outliers": "detectOutliers",
};

/** The symbols that a module exports, types among them, as the documentation lists them. */
async function symbolsOf(path: string): Promise<string[]> {
	const { code, stdout, stderr } = await deno(["doc", "--json", "--config", configPath(), path]);
	assertEquals({ code, stderr }, { code: 0, stderr: "" });
	const { nodes } = JSON.parse(stdout);
	const { symbols }: { symbols: { name: string }[] } = nodes[toFileUrl(`${root}/${path}`)];
	return symbols.map(({ name }) => name).sort();
}

Deno.test("the entry points together have every symbol of mod.ts, each once", async () => {
	assertEquals(Object.keys(exports).sort(), [".", "./cli", ...Object.keys(PARTS)].sort());
	const all: string[] = [];
	for (const [entry, symbol] of Object.entries(PARTS)) {
		const symbols = await symbolsOf(exports[entry]!);
		assert(symbols.includes(symbol), `${entry} has no ${symbol}`);
		all.push(...symbols);
	}
	assert(all.length > 300);
	assertEquals(await symbolsOf(exports["."]!), all.sort());
});

Deno.test("each entry point imports alone, and asks for no permission", async () => {
	for (const [entry, symbol] of Object.entries(PARTS)) {
		const url = toFileUrl(`${root}/${exports[entry]}`);
		const code = `import * as all from "${url}"; console.log(typeof all.${symbol})`;
		const path = await Deno.makeTempFile({ prefix: "outlierscope_entry_", suffix: ".ts" });
		try {
			await Deno.writeTextFile(path, code);
			const run = await deno(["run", "--quiet", "--no-prompt", "--config", configPath(), path]);
			assertEquals(run, { code: 0, stdout: "function\n", stderr: "" }, entry);
		} finally {
			await Deno.remove(path);
		}
	}
});

const MOST_BYTES = 2 * 2 ** 20;

Deno.test("published are the modules that the entry points reach, and few bytes", async () => {
	const modules = entryPoints().map((path) => `${root}/${path}`);
	const start = `${toFileUrl(root)}/`;
	const reached = new Set<string>();
	for (const [module, imports] of await readImports(modules, configPath())) {
		for (const url of [module, ...imports.map(({ target }) => target ?? "")]) {
			if (url.startsWith(start)) reached.add(decodeURIComponent(url.slice(start.length)));
		}
	}
	const config = configPath().slice(root.length + 1);
	const others = [...new Set(["LICENSE", "README.md", "deno.json", config]), "tools/std/assert.ts"];
	const files = await published();
	const isNeeded = (path: string) => reached.has(path) || others.includes(path);
	assertEquals(files.filter((path) => !isNeeded(path)), [], "users do not need these");
	assertEquals([...reached].filter((path) => !files.includes(path)), [], "these are missing");
	// What stands in for JSR's packages here is not published from where JSR can be reached.
	const own = files.filter((path) => path !== ".offline.deno.json" && !path.startsWith("tools/"));
	const bytes = own.map((path) => Deno.statSync(`${root}/${path}`).size)
		.reduce((sum, size) => sum + size);
	assert(bytes > 2 ** 20 && bytes < MOST_BYTES, `the package has ${bytes} bytes`);
});
