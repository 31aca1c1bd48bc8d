// Keeps the laboratory's results on disk, each in a file of its own that appears whole or not at all.

import { aside } from "../../host/clean_up.ts";
import { type Laboratory, LABORATORY_ANALYSES, type LaboratoryRecord } from "../laboratory.ts";
import { laboratoryFigures, renderLaboratory } from "./laboratory_page.ts";

async function write(path: string, text: string): Promise<void> {
	using file = aside(path);
	await Deno.writeTextFile(file.temporary, text, { createNew: true });
	await Deno.rename(file.temporary, path);
}

/** Writes a result to `directory/laboratory/NAME.json`, replacing an earlier one. */
export async function writeRecord(record: LaboratoryRecord, directory: string): Promise<void> {
	const folder = `${directory}/laboratory`;
	await Deno.mkdir(folder, { recursive: true });
	await write(`${folder}/${record.analysis}.json`, JSON.stringify(record) + "\n");
}

/** Reads the results that {@linkcode writeRecord} left; what is no such file is as if it were not there. */
export async function readLaboratory(directory: string): Promise<Laboratory> {
	const found: Record<string, LaboratoryRecord> = {};
	for (const name of LABORATORY_ANALYSES) {
		try {
			const record = JSON.parse(
				await Deno.readTextFile(`${directory}/laboratory/${name}.json`),
			) as LaboratoryRecord | null;
			if (record?.format === "outlierscope-laboratory" && record.analysis === name) {
				found[name] = record;
			}
		} catch (error) {
			if (!(error instanceof Deno.errors.NotFound || error instanceof SyntaxError)) throw error;
		}
	}
	return found as Laboratory;
}

/** Writes `directory/laboratory.html`, and each of its figures as `directory/laboratory/figures/NAME.svg`. */
export async function writeLaboratory(laboratory: Laboratory, directory: string): Promise<void> {
	const folder = `${directory}/laboratory/figures`;
	await Deno.mkdir(folder, { recursive: true });
	for (const { figures } of laboratoryFigures(laboratory)) {
		for (const { name, svg } of figures) await write(`${folder}/${name}.svg`, svg);
	}
	// The page comes last: once it is there, so is all that it speaks of.
	await write(`${directory}/laboratory.html`, renderLaboratory(laboratory));
}
