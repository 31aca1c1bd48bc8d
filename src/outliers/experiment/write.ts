// Puts the report of a comparison of attentions on disk, beside its results.json.

import { writeWhole } from "./piece.ts";
import type { CompareResults } from "./experiment.ts";
import { experimentFigures } from "./figures.ts";
import { comparePage } from "./page.ts";

/** Writes `report.html` and `figures/NAME.svg` to a folder, replacing those there. */
export async function writeComparison(results: CompareResults, folder: string): Promise<void> {
	const figures = experimentFigures(results);
	await Deno.mkdir(`${folder}/figures`, { recursive: true });
	for (const { name, svg } of figures) await writeWhole(`${folder}/figures/${name}.svg`, svg);
	await writeWhole(`${folder}/report.html`, comparePage(results, figures));
}
