// The element types of tensors.

/** Element type of a tensor. */
export type DType = "float32" | "bfloat16" | "int32" | "uint32" | "float64" | "uint8";

/** The element types that gradients flow through. */
export type FloatType = "float32" | "bfloat16";

/** Whether gradients flow through a dtype. */
export function isFloat(dtype: DType): dtype is FloatType {
	return dtype === "float32" || dtype === "bfloat16";
}

/** Bytes of an element. */
export const BYTES_PER_ELEMENT: Record<DType, number> = {
	float64: 8,
	float32: 4,
	bfloat16: 2,
	int32: 4,
	uint32: 4,
	uint8: 1,
};

/** The typed array that holds a tensor's elements; bfloat16 comes as its 16 bits. */
export type DataOf<D extends DType> = {
	float64: Float64Array<ArrayBuffer>;
	float32: Float32Array<ArrayBuffer>;
	bfloat16: Uint16Array<ArrayBuffer>;
	int32: Int32Array<ArrayBuffer>;
	uint32: Uint32Array<ArrayBuffer>;
	uint8: Uint8Array<ArrayBuffer>;
}[D];

const ARRAYS = {
	float64: Float64Array,
	float32: Float32Array,
	bfloat16: Uint16Array,
	int32: Int32Array,
	uint32: Uint32Array,
	uint8: Uint8Array,
};

/** A zero-filled typed array for `length` elements. */
export function newData<D extends DType>(dtype: D, length: number): DataOf<D> {
	return new ARRAYS[dtype](length) as DataOf<D>;
}
