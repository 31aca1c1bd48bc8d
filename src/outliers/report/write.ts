// Puts a report on disk: analysis.json, report.html and figures/NAME.svg. Every file appears whole or
// not at all: it is written under a temporary name beside its place and then renamed.

import { aside } from "../../host/clean_up.ts";
import type { Analysis } from "../analysis.ts";
import { renderFigures } from "./figures.ts";
import { renderPage } from "./page.ts";

/**
 * Makes sure that a report can be written to `directory`, creating it if it is missing. Call it before
 * hours of work. The check writes and removes one empty file, and touches nothing that is there.
 *
 * @throws {Error} If the directory or a file in it cannot be written; the message names the path.
 */
export async function prepareDirectory(directory: string): Promise<void> {
	try {
		const kind = await kindOf(directory);
		if (kind === "file") throw new Error(`it is a file, not a directory`);
		await Deno.mkdir(directory, { recursive: true });
		for (const name of ["analysis.json", "report.html"]) {
			if (await kindOf(`${directory}/${name}`) === "directory") {
				throw new Error(`its entry "${name}" is a directory, not a file`);
			}
		}
		const figures = await kindOf(`${directory}/figures`);
		if (figures === "file") throw new Error(`its entry "figures" is a file, not a directory`);
		for (const place of figures ? [directory, `${directory}/figures`] : [directory]) {
			using probe = aside(`${place}/probe`);
			await Deno.writeTextFile(probe.temporary, "", { createNew: true });
		}
	} catch (cause) {
		throw failure(directory, cause);
	}
}

/**
 * Writes `analysis.json`, `report.html` and `figures/NAME.svg` to `directory`, replacing those of an
 * earlier report.
 *
 * @throws {Error} If something cannot be written; the message names the directory, and no temporary
 * file stays behind.
 */
export async function writeReport(analysis: Analysis, directory: string): Promise<void> {
	await prepareDirectory(directory);
	const figures = renderFigures(analysis);
	using asides = new DisposableStack();
	// The page comes last: once it is there, so is all that it speaks of.
	const files = [
		...figures.map(({ name, svg }) => ({ path: `${directory}/figures/${name}.svg`, text: svg })),
		{ path: `${directory}/analysis.json`, text: JSON.stringify(analysis) + "\n" },
		{ path: `${directory}/report.html`, text: renderPage(analysis, figures) },
	].map((file) => ({ ...file, temporary: asides.use(aside(file.path)).temporary }));
	try {
		await Deno.mkdir(`${directory}/figures`, { recursive: true });
		for (const { temporary, text } of files) {
			await Deno.writeTextFile(temporary, text, { createNew: true });
		}
		// Who writes at once takes turns, where the file system has locks: all files are then of one report.
		using place = await Deno.open(directory);
		await place.lock(true).catch(() => {});
		for (const { temporary, path } of files) await Deno.rename(temporary, path);
	} catch (cause) {
		throw failure(directory, cause);
	}
}

async function kindOf(path: string): Promise<"file" | "directory" | null> {
	try {
		return (await Deno.stat(path)).isDirectory ? "directory" : "file";
	} catch (error) {
		if (error instanceof Deno.errors.NotFound) return null;
		throw error;
	}
}

function failure(directory: string, cause: unknown): Error {
	const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
	const advice = cause instanceof Deno.errors.NotCapable // whose reason names the flag
		? ""
		: "; name a directory that can be created or written to";
	return new Error(`Cannot write the report to "${directory}": ${reason}${advice}`, { cause });
}
