// The report on disk: which files appear, that they appear whole, and what a user reads when they
// cannot.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { renderFigures } from "../../../src/outliers/report/figures.ts";
import { renderPage } from "../../../src/outliers/report/page.ts";
import { prepareDirectory, writeReport } from "../../../src/outliers/report/write.ts";
import { sampleAnalysis } from "./sample_analysis.ts";

const small = { layers: 2, heads: 2, texts: 1, tokens: 12 };

async function inTemporary(run: (directory: string) => Promise<void>) {
	const directory = await Deno.makeTempDir();
	try {
		await run(directory);
	} finally {
		await Deno.remove(directory, { recursive: true });
	}
}

function list(directory: string): string[] {
	return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) =>
		isDirectory ? list(`${directory}/${name}`).map((inner) => `${name}/${inner}`) : [name]
	).sort();
}

Deno.test("writeReport() writes the data, the page and every figure, and nothing else", () =>
	inTemporary(async (directory) => {
		const analysis = sampleAnalysis(small);
		const target = `${directory}/new/report`;
		await writeReport(analysis, target);
		const figures = renderFigures(analysis);
		assertEquals(
			list(target),
			["analysis.json", ...figures.map(({ name }) => `figures/${name}.svg`), "report.html"].sort(),
		);
		const json = await Deno.readTextFile(`${target}/analysis.json`);
		assertEquals(JSON.parse(json), analysis);
		for (const { name, svg } of figures) {
			assertEquals(await Deno.readTextFile(`${target}/figures/${name}.svg`), svg);
		}
		assertStringIncludes(await Deno.readTextFile(`${target}/report.html`), "</html>");
	}));

Deno.test("writeReport() replaces an earlier report and leaves other files alone", () =>
	inTemporary(async (directory) => {
		await Deno.writeTextFile(`${directory}/notes.txt`, "mine");
		await writeReport(sampleAnalysis(small), directory);
		const second = sampleAnalysis({ ...small, modelName: "another" });
		await writeReport(second, directory);
		assertEquals(JSON.parse(await Deno.readTextFile(`${directory}/analysis.json`)), second);
		assertEquals(await Deno.readTextFile(`${directory}/notes.txt`), "mine");
		assert(list(directory).every((name) => !name.endsWith(".tmp")));
	}));

Deno.test("reports that are written at once do not mix: all files are of one of them", () =>
	inTemporary(async (directory) => {
		for (let round = 0; round < 2; round++) {
			const analyses = ["one", "two"].map((modelName) => sampleAnalysis({ ...small, modelName }));
			await Promise.all(analyses.map((analysis) => writeReport(analysis, directory)));
			const written = JSON.parse(await Deno.readTextFile(`${directory}/analysis.json`));
			const figures = renderFigures(written);
			const page = await Deno.readTextFile(`${directory}/report.html`);
			assertEquals(page, renderPage(written, figures));
			for (const { name, svg } of figures) {
				assertEquals(await Deno.readTextFile(`${directory}/figures/${name}.svg`), svg);
			}
		}
	}));

Deno.test("writeReport() names a target that is a file, and leaves it as it is", () =>
	inTemporary(async (directory) => {
		const target = `${directory}/file`;
		await Deno.writeTextFile(target, "mine");
		for (const path of [target, `${target}/below`]) {
			for (const run of [prepareDirectory, (p: string) => writeReport(sampleAnalysis(small), p)]) {
				const { message } = await assertRejects(
					() => run(path),
					Error,
					"Cannot write the report to",
				);
				assertStringIncludes(message, `"${path}"`);
				assertStringIncludes(message, "name a directory that can be created or written to");
			}
		}
		assertEquals(await Deno.readTextFile(target), "mine");
		assertEquals(list(directory), ["file"]);
	}));

Deno.test("prepareDirectory() finds entries of the wrong kind before anything is written", () =>
	inTemporary(async (directory) => {
		await Deno.mkdir(`${directory}/a/report.html`, { recursive: true });
		await assertRejects(
			() => prepareDirectory(`${directory}/a`),
			Error,
			'"report.html" is a directory',
		);
		await Deno.mkdir(`${directory}/b`);
		await Deno.writeTextFile(`${directory}/b/figures`, "");
		await assertRejects(() => prepareDirectory(`${directory}/b`), Error, '"figures" is a file');
		assertEquals(list(directory), ["b/figures"]);
	}));

Deno.test({
	name: "prepareDirectory() names a place without permission",
	permissions: { read: true, write: false },
	async fn() {
		const target = `${Deno.cwd()}/out/no-permission`;
		const { message } = await assertRejects(() => prepareDirectory(target), Error, target);
		assertStringIncludes(message, "write access");
		await assertRejects(() => Deno.stat(target), Deno.errors.NotFound);
	},
});

Deno.test("prepareDirectory() names a place that the system refuses, even to root", async () => {
	// Nobody can make entries there.
	const target = Deno.build.os === "windows" ? "\\\\?\\GLOBALROOT\\none" : "/dev/null/report";
	await assertRejects(
		() => prepareDirectory(target),
		Error,
		`Cannot write the report to "${target}"`,
	);
});

Deno.test("prepareDirectory() creates what is missing and leaves no probe", () =>
	inTemporary(async (directory) => {
		await prepareDirectory(`${directory}/x/y`);
		assert((await Deno.stat(`${directory}/x/y`)).isDirectory);
		assertEquals(list(directory), []);
	}));

Deno.test("writeReport() removes its temporary files when it fails midway", () =>
	inTemporary(async (directory) => {
		// A directory in the place of one figure passes the check and stops the renaming there.
		const analysis = sampleAnalysis(small);
		const blocked = renderFigures(analysis)[5].name;
		await Deno.mkdir(`${directory}/figures/${blocked}.svg`, { recursive: true });
		await assertRejects(() => writeReport(analysis, directory), Error, `"${directory}"`);
		const left = list(directory);
		assert(left.every((name) => !name.endsWith(".tmp")), left.join());
		// The page, written last, is not there without its figures.
		assert(!left.includes("report.html"));
	}));
