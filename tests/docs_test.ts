// Holds the documentation to the code: its TypeScript type-checks against this checkout, its links lead
// somewhere, and the commands it names exist. Also: no file names a package registry's host.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { configPath, entryPoints, projectFiles, root } from "../tools/project.ts";

const files = await projectFiles();
const pages = files.filter((path) => /^([A-Z_]+\.md|docs\/.*\.md)$/.test(path));
const read = (path: string) => Deno.readTextFileSync(`${root}/${path}`);

/** Type-checks the code blocks of Markdown pages; the library's `jsr:` name means this checkout there. */
async function checkBlocks(paths: string[]): Promise<string> {
	const { success, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["check", "--quiet", "--doc-only", "--config", configPath(), ...paths],
		cwd: root,
		env: { NO_COLOR: "1" },
	}).output();
	return success ? "" : new TextDecoder().decode(stderr);
}

Deno.test("TypeScript in the documentation type-checks", async () => {
	assert(pages.includes("README.md"));
	assertEquals(await checkBlocks(pages), "");
});

Deno.test("TypeScript in the documentation that does not type-check is found", async () => {
	const path = await Deno.makeTempFile({ prefix: "outlierscope_page_", suffix: ".md" });
	try {
		await Deno.writeTextFile(
			path,
			'Text\n\n```ts\nimport { noSuchName } from "jsr:@outlierscope/outlierscope";\nnoSuchName();\n```\n',
		);
		assertMatch(await checkBlocks([path]), /noSuchName/);
	} finally {
		await Deno.remove(path);
	}
});

/** The blocks of TypeScript in a page. */
const blocksOf = (page: string) =>
	[...page.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code]) => code!);

/** What a block says that it prints: the comment behind a `console.log`, or the lines of comments below it. */
function promisedOutput(code: string): string[] {
	const promised: string[] = [], lines = code.split("\n");
	lines.forEach((line, i) => {
		if (!/\bconsole\.log\(/.test(line)) return;
		const [, behind] = /; \/\/ (.*)$/.exec(line) ?? [];
		if (behind !== undefined) promised.push(behind);
		else for (let j = i + 1; lines[j]?.startsWith("// "); j++) promised.push(lines[j]!.slice(3));
	});
	return promised;
}

/** Runs a block; what it printed, with devices as the pages name them. */
async function outputOf(code: string): Promise<string[]> {
	const path = await Deno.makeTempFile({ suffix: ".ts" });
	try {
		await Deno.writeTextFile(path, code);
		const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
			args: ["run", "--quiet", "--no-check", "--allow-all", "--config", configPath(), path],
			cwd: root,
			env: { NO_COLOR: "1" },
		}).output();
		const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
		assert(success, `${code}\n${problem}`);
		return out!.trimEnd().replace(/\bon cuda$/gm, "on host").split("\n");
	} finally {
		await Deno.remove(path);
	}
}

Deno.test("the guide to tensors runs and prints what it says", async () => {
	const blocks = blocksOf(read("docs/tensors.md"));
	assert(blocks.length >= 7);
	for (const code of blocks) assertEquals(await outputOf(code), promisedOutput(code), code);
});

Deno.test("the guide to file formats runs and prints what it says", async () => {
	const blocks = blocksOf(read("docs/formats.md"));
	assert(blocks.length >= 3);
	for (const code of blocks) assertEquals(await outputOf(code), promisedOutput(code), code);
});

Deno.test("the page of definitions runs and prints what it says", async () => {
	const [code] = blocksOf(read("docs/analyses/definitions.md"));
	assertEquals(await outputOf(code!), promisedOutput(code!));
});

Deno.test("what a guide prints is compared line by line", async () => {
	const page = "```ts\nconsole.log(1); // 1\nconsole.log('a\\nb');\n// a\n// c\n```\n";
	const [code] = blocksOf(page);
	assertEquals(promisedOutput(code!), ["1", "a", "c"]);
	assertEquals(await outputOf(code!), ["1", "a", "b"]);
});

Deno.test("examples in the doc comments of tensors and of the entry points run", async () => {
	const entries = entryPoints().filter((path) => !path.includes("src/tensor/"));
	const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["test", "--doc", "--allow-all", "--config", configPath(), "src/tensor", ...entries],
		cwd: root,
		env: { NO_COLOR: "1" },
	}).output();
	const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
	assert(success, text);
	assert(Number(/(\d+) passed/.exec(text)?.[1]) >= 15, text);
});

/** The anchor that a heading gets. */
function anchor(heading: string): string {
	return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
}

/** Links of a page that lead nowhere; `present` tells whether a path is there, `text` reads a page. */
function deadLinks(
	page: string,
	present: (path: string) => boolean,
	text: (path: string) => string,
): string[] {
	const dead: string[] = [];
	const prose = text(page).replace(/^```[^]*?^```/gm, "").replace(/`[^`\n]*`/g, "");
	for (const [, link] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
		if (/^[a-z]+:/.test(link)) continue;
		const [path, fragment] = link.split("#");
		const url = new URL(path === "" ? page.replace(/^.*\//, "") : path, `file:///${page}`);
		const target = decodeURIComponent(url.pathname).slice(1);
		if (!present(target)) dead.push(`${page} links to ${target}, which is not there`);
		else if (fragment !== undefined && target.endsWith(".md")) {
			const headings = [...text(target).matchAll(/^#+ (.*)$/gm)].map(([, title]) => anchor(title));
			if (!headings.includes(fragment)) dead.push(`${page} links to ${link}, a missing heading`);
		}
	}
	return dead;
}

Deno.test("links of the documentation lead somewhere", () => {
	const present = (path: string) =>
		files.some((file) => file === path || file.startsWith(`${path.replace(/\/$/, "")}/`));
	assertEquals(pages.flatMap((page) => deadLinks(page, present, read)), []);
});

Deno.test("links that lead nowhere are found", () => {
	const texts: Record<string, string> = {
		"docs/a.md":
			"# A b\n[1](b.md) [2](../README.md#the-end) [3](gone.md) [4](b.md#no) [5](#a-b)\n" +
			"`[6](gone2.md)` [7](mailto:x) [8](#no)\n```\n[9](gone3.md)\n```\n",
		"docs/b.md": "# Yes\n",
		"README.md": "## The end\n",
	};
	assertEquals(deadLinks("docs/a.md", (path) => path in texts, (path) => texts[path]), [
		"docs/a.md links to docs/gone.md, which is not there",
		"docs/a.md links to b.md#no, a missing heading",
		"docs/a.md links to #no, a missing heading",
	]);
});

Deno.test("tasks that the documentation names are tasks of ./dev", () => {
	const tasks = new Set(
		[...read("dev").matchAll(/^ {2}([a-z]+) .*[A-Z]/gm)].map(([, task]) => task),
	);
	assert(tasks.has("demo") && tasks.has("test"));
	for (const page of pages.filter((page) => page !== "CHANGELOG.md")) {
		for (const [, task] of read(page).matchAll(/\.\/dev (?:--no-install )?([a-z]+)/g)) {
			assert(tasks.has(task), `${page} names ./dev ${task}, which is no task`);
		}
	}
});

// Put together here so that this file does not name them.
const REGISTRIES = [
	["jsr", "io"],
	["npm", "jsr", "io"],
	["registry", "npmjs", "org"],
	["pypi", "org"],
	["files", "pythonhosted", "org"],
	["deb", "debian", "org"],
].map((name) => name.join("."));

function registriesIn(text: string): string[] {
	const hosts = REGISTRIES.map((host) => host.replaceAll(".", "\\."));
	return text.match(new RegExp(`(?<![\\w.-])(www\\.)?(${hosts.join("|")})\\b`, "gi")) ?? [];
}

Deno.test("no file names a package registry's host", async () => {
	const naming: string[] = [];
	for (const path of files) {
		const bytes = await Deno.readFile(`${root}/${path}`);
		if (bytes.subarray(0, 8192).includes(0)) continue; // not a text
		const found = registriesIn(new TextDecoder().decode(bytes));
		if (found.length > 0) naming.push(`${path}: ${found.join(", ")}`);
	}
	assertEquals(naming, []);
});

Deno.test("a registry's host is found in a text", () => {
	for (const host of REGISTRIES) assertEquals(registriesIn(`see "https://${host}/x"`), [host]);
	assertEquals(registriesIn("jsr:@std/assert, npm:echarts, numpypi.organ, debian.org.example"), []);
});
