// The report of a comparison: complete, well-formed, and nothing in it is fetched.

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
	compareAttentions,
	type CompareResults,
	contextScaling,
	softmaxVariant,
	writeComparison,
} from "../../../mod.ts";
import { experimentFigures } from "../../../src/outliers/experiment/figures.ts";
import { comparePage } from "../../../src/outliers/experiment/page.ts";
import { inDirectory } from "../../subprocess.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { parseXml } from "../report/xml.ts";
import { toyData, toySetting } from "./toy.ts";

deviceTest(
	"a comparison is written as a page and figures that show every variant",
	() =>
		inDirectory(async (folder) => {
			const hostile = { ...contextScaling(), name: "own <b>&\u202e" };
			const results = await compareAttentions({
				setting: toySetting,
				attentions: [softmaxVariant(), hostile],
				seeds: [1, 2],
				data: toyData,
				folder,
			});
			await writeComparison(results, folder);
			const page = await Deno.readTextFile(`${folder}/report.html`);
			const names = experimentFigures(results).map(({ name }) => name);
			assertEquals(names, ["loss", "peak", "sink", "value_ratio", "layers", "maps", "rounding"]);
			for (const name of names) {
				const svg = await Deno.readTextFile(`${folder}/figures/${name}.svg`);
				parseXml(svg);
				assert(page.includes(`id="figure_${name}"`), name);
			}
			assert(
				!/(src|href)="(?!#)/.test(page) && !page.includes("<b>&"),
				"fetches, or is not escaped",
			);
			assertMatch(page, /Compression/);
			// A run that failed is told of, and does not hide the others.
			const failed: CompareResults = {
				...results,
				pieces: results.pieces.map((piece, i) =>
					i === 3
						? {
							...piece,
							problem: "the loss is NaN",
							evidence: [],
							downRatios: [],
							map: null,
							compression: [],
						}
						: piece
				),
			};
			assertMatch(comparePage(failed, experimentFigures(failed)), /Seed 2: the loss is NaN/);
		}),
);
