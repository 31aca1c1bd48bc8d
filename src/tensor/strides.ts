// Extents and strides of tensors, in elements.

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
	return shape.reduce((product, extent) => product * extent, 1);
}

/** Whether a number can be an extent. */
export const isCount = (extent: number) => Number.isSafeInteger(extent) && extent >= 0;

/** Strides of a contiguous tensor, in elements. */
export function rowMajor(shape: readonly number[]): number[] {
	const strides: number[] = new Array(shape.length);
	for (let axis = shape.length - 1, stride = 1; axis >= 0; axis--) {
		strides[axis] = stride;
		stride *= shape[axis]!;
	}
	return strides;
}

/** Whether a tensor of these strides is contiguous: extents of 1 may have any. */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
	let stride = 1;
	for (let axis = shape.length - 1; axis >= 0; axis--) {
		if (shape[axis] === 0) return true;
		if (shape[axis] !== 1 && strides[axis] !== stride) return false;
		stride *= shape[axis]!;
	}
	return true;
}
