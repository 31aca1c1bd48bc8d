// C strings and addresses in and out of typed arrays. Buffers whose address is kept must not move, so
// they are made over an ArrayBuffer of their own (V8 may move small typed arrays made without one).

const encoder = new TextEncoder();

/** A zero-filled buffer that never moves. */
export function fixedBuffer(bytes: number): Uint8Array<ArrayBuffer> {
	return new Uint8Array(new ArrayBuffer(bytes));
}

/** `text` as a zero-terminated C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
	const bytes = encoder.encode(text);
	const buffer = fixedBuffer(bytes.length + 1);
	buffer.set(bytes);
	return buffer;
}

/** The address of a buffer made by {@linkcode fixedBuffer} or {@linkcode cString}. */
export function addressOf(buffer: Uint8Array<ArrayBuffer>): bigint {
	return Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
}

/** The text of a zero-terminated C string, or `""` for a null pointer. */
export function textAt(pointer: Deno.PointerValue): string {
	return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

/** The text in a buffer up to its first zero byte. */
export function textIn(buffer: Uint8Array): string {
	const end = buffer.indexOf(0);
	return new TextDecoder().decode(end < 0 ? buffer : buffer.subarray(0, end));
}

/** One out-parameter of 32 or 64 bits, reused from call to call. */
export class OutParameter {
	/** Pass this to the C function. */
	readonly buffer: Uint8Array<ArrayBuffer> = fixedBuffer(8);
	readonly #view = new DataView(this.buffer.buffer);

	/** The value as a C `int`. */
	get int(): number {
		return this.#view.getInt32(0, true);
	}

	/** The value as a C `float`. */
	get float(): number {
		return this.#view.getFloat32(0, true);
	}

	/** The value as a pointer or `size_t`; exact up to 2^53. */
	get size(): number {
		return this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
	}

	/** The value as a handle. */
	get handle(): bigint {
		return this.#view.getBigUint64(0, true);
	}

	/** The value as a pointer that can be read from. */
	get pointer(): Deno.PointerValue {
		return Deno.UnsafePointer.create(this.handle);
	}
}
