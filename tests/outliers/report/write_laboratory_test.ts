// Results on disk: read back as they were, and nothing half-written is taken for a result.

import { assert, assertEquals } from "@std/assert";
import { readLaboratory, runLaboratory, writeLaboratory, writeRecord } from "../../../mod.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { lab, openRecorded } from "../lab.ts";

deviceTest("results and page are written and read back", async () => {
	using model = await openRecorded("lab/planted");
	const directory = await Deno.makeTempDir();
	try {
		assertEquals(await readLaboratory(directory), {});
		const laboratory = await runLaboratory(model, lab["lab/planted"]!.sequences, {
			only: ["maps", "consistency"],
			onResult: (record) => writeRecord(record, directory),
		});
		assertEquals(await readLaboratory(directory), laboratory);
		await writeLaboratory(laboratory, directory);
		const names = [...Deno.readDirSync(`${directory}/laboratory`)].map(({ name }) => name).sort();
		assertEquals(names, ["consistency.json", "figures", "maps.json"]);
		const figures = [...Deno.readDirSync(`${directory}/laboratory/figures`)];
		assert(figures.length > 4 && figures.every(({ name }) => name.endsWith(".svg")));
		for (const text of ["", "{", "null", '{"format":"another"}']) {
			await Deno.writeTextFile(`${directory}/laboratory/maps.json`, text);
			assertEquals(Object.keys(await readLaboratory(directory)), ["consistency"]);
		}
	} finally {
		await Deno.remove(directory, { recursive: true });
	}
});
