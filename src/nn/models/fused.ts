// Fused projections whose rows go head by head: queries, keys and values of one group after those of another.

import type { StoredPart } from "../family.ts";

/**
 * The query, key and value parts of a stored matrix, or bias, of groups of rows: `group` queries, a key and a value
 * of d rows each.
 *
 * @param tensor its name
 * @param groups how many groups there are
 * @param group how many query heads each has
 * @param width columns of the matrix; none for a bias
 */
export function groupedParts(
	tensor: string,
	{ groups, group, d, width }: { groups: number; group: number; d: number; width?: number },
): StoredPart[] {
	const columns = width === undefined ? [] : [width];
	const shape = [groups * (group + 2) * d, ...columns];
	const part = (first: number, end: number): StoredPart => ({
		tensor,
		shape,
		view: (stored) => stored.reshape([groups, group + 2, d, ...columns]).slice(first, end, 1),
	});
	return [part(0, group), part(group, group + 1), part(group + 1, group + 2)];
}
