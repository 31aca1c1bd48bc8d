// All figures of an analysis, as SVG: a function from plain data to pictures, with no file, device or
// clock in between. The same analysis gives the same text, byte for byte.

import type { Analysis } from "../analysis.ts";
import { activationFigures, places } from "./activation_figures.ts";
import { attentionFigures, tokenClassesFigure } from "./attention_figures.ts";
import type { Figure } from "./chart.ts";
import { weightFigures } from "./weight_figures.ts";

export type { Figure } from "./chart.ts";

/**
 * Draws all figures of an analysis. A figure whose data are absent says so in words.
 *
 * @example Write one figure to a file
 * ```ts ignore
 * const figures = renderFigures(analysis);
 * const heads = figures.find(({ name }) => name === "attention_heads")!;
 * await Deno.writeTextFile("heads.svg", heads.svg);
 * ```
 */
export function renderFigures(analysis: Analysis): Figure[] {
	return [
		...places(analysis).flatMap((place) => activationFigures(analysis, place)),
		tokenClassesFigure(analysis),
		...weightFigures(analysis),
		...attentionFigures(analysis),
	];
}
