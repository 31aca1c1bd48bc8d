// Memory for kernels under test: guard zones around inputs and outputs, and outputs that are poisoned.

import type { Device } from "../../cuda/device.ts";
import { BYTES_PER_ELEMENT, type DataOf, type DType, newData } from "../../tensor/dtype.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { bfloat16ToNumbers, numbersToBfloat16 } from "./compare.ts";

// Bytes on each side. AddressSanitizer guards the memory itself, and sees reads as well.
const guardBytes = () => Deno.env.get("OUTLIERSCOPE_SANITIZE") ? 0 : 192;
// All bits set: NaN as float32, float64 and bfloat16, -1 or the largest as an integer.
const POISON = 0xff;
// Around outputs: no NaN, which a kernel that reads too far could write again.
const ZONE = 0xa5;

/** Device memory between two guard zones. */
export interface Guarded<D extends DType = DType> {
	dtype: D;
	/** Device pointer of the first element. */
	pointer: number;
	/** Its elements, after a check that the guard zones are as they were. */
	take(): DataOf<D>;
	/** The same as numbers, those of bfloat16 too. */
	read(): Float64Array;
}

/** An input, with its elements as the kernel has them. */
export interface Given<D extends DType = DType> extends Guarded<D> {
	numbers: Float64Array;
}

function numbersOf(dtype: DType, elements: ArrayLike<number>): Float64Array {
	return Float64Array.from(dtype === "bfloat16" ? bfloat16ToNumbers(elements) : elements);
}

function guarded<D extends DType>(
	device: Device,
	dtype: D,
	length: number,
	data?: ArrayLike<number>,
): Guarded<D> {
	const bytes = length * BYTES_PER_ELEMENT[dtype], guard = guardBytes();
	const whole = Tensor.empty<"uint8", 1>(device, "uint8", [bytes + 2 * guard]);
	const zone = data ? POISON : ZONE;
	device.fill(whole.pointer, zone, whole.byteLength);
	const pointer = whole.pointer + guard;
	if (length > 0) device.fill(pointer, POISON, bytes);
	if (data && length > 0) {
		const inner = Tensor.from<D, 1>(device, dtype, [length], data);
		device.copy(pointer, inner.pointer, bytes);
	}
	return {
		dtype,
		pointer,
		read() {
			return numbersOf(dtype, this.take());
		},
		take() {
			const all = whole.dataSync();
			const zones = [all.subarray(0, guard), all.subarray(guard + bytes)];
			zones.forEach((bytes, i) => {
				const touched = bytes.findIndex((byte) => byte !== zone);
				if (touched >= 0) {
					throw new Error(`The kernel wrote ${i === 0 ? "before" : "behind"} its ${dtype} output`);
				}
			});
			const result = Tensor.empty<D, 1>(device, dtype, [length]);
			if (length > 0) device.copy(result.pointer, pointer, bytes);
			return result.dataSync();
		},
	};
}

/** An input: reading beyond it gives NaN. Numbers are rounded to bfloat16, unless they are its bits already. */
export function given<D extends DType>(
	device: Device,
	dtype: D,
	data: ArrayLike<number>,
): Given<D> {
	const isRounded = dtype !== "bfloat16" || data instanceof Uint16Array;
	const elements = newData(dtype, data.length);
	elements.set(isRounded ? data : numbersToBfloat16(data));
	const numbers = numbersOf(dtype, elements);
	return { ...guarded(device, dtype, data.length, elements), numbers };
}

/** A poisoned output: an element that is not written stays NaN. */
export function wanted<D extends DType>(device: Device, dtype: D, length: number): Guarded<D> {
	return guarded(device, dtype, length);
}
