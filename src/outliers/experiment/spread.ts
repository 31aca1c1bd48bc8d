// Numbers of several runs as one: their mean and how far apart they are.

import { formatNumber } from "../report/text.ts";
import type { CompareResults } from "./experiment.ts";
import type { PieceResult } from "./piece.ts";

/** The finite ones of some numbers, summed up; null if there are none. */
export interface Spread {
	mean: number;
	least: number;
	most: number;
}

/** Sums up numbers; what is not finite or absent is left out. */
export function spreadOf(values: readonly (number | null | undefined)[]): Spread | null {
	const finite = values.filter((x): x is number => Number.isFinite(x));
	if (finite.length === 0) return null;
	const mean = finite.reduce((a, b) => a + b) / finite.length;
	return { mean, least: Math.min(...finite), most: Math.max(...finite) };
}

/** A spread as text: `4.2 (3.9–4.6)`; of runs that agree in what is shown, the number alone. */
export function describeSpread(
	spread: Spread | null,
	format: (value: number) => string = formatNumber,
): string {
	if (!spread) return "–";
	const [mean, least, most] = [spread.mean, spread.least, spread.most].map(format);
	return least === most ? mean! : `${mean} (${least}–${most})`;
}

/** The runs of each variant, in order. */
export function byVariant({ variants, pieces }: CompareResults): [string, PieceResult[]][] {
	return variants.map((name) => [name, pieces.filter(({ variant }) => variant === name)]);
}
