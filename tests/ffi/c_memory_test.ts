// C strings, addresses and out-parameters in typed arrays.

import { assertEquals } from "@std/assert";
import {
	addressOf,
	cString,
	fixedBuffer,
	OutParameter,
	textAt,
	textIn,
} from "../../src/ffi/c_memory.ts";

Deno.test("a C string ends with zero and comes back, in UTF-8", () => {
	for (const text of ["", "plain", "größer ≥ 2 µs"]) {
		const buffer = cString(text);
		assertEquals(buffer.at(-1), 0);
		assertEquals(buffer.length, new TextEncoder().encode(text).length + 1);
		assertEquals(textIn(buffer), text);
		assertEquals(textAt(Deno.UnsafePointer.of(buffer)), text);
	}
});

Deno.test("text ends at the first zero, or with the buffer, and null is no text", () => {
	assertEquals(textIn(Uint8Array.of(97, 98, 0, 99)), "ab");
	assertEquals(textIn(Uint8Array.of(97, 98)), "ab");
	assertEquals(textAt(null), "");
});

Deno.test("small buffers do not move, whatever is allocated after them", () => {
	const buffers = Array.from({ length: 100 }, (_, i) => fixedBuffer(i % 9 + 1));
	const before = buffers.map(addressOf);
	for (let i = 0; i < 1e5; i++) new Uint8Array(32).fill(i);
	assertEquals(buffers.map(addressOf), before);
});

Deno.test("an out-parameter is read as the type that was written", () => {
	const out = new OutParameter(), view = new DataView(out.buffer.buffer);
	view.setInt32(0, -5, true);
	assertEquals(out.int, -5);
	view.setFloat32(0, 1.5, true);
	assertEquals(out.float, 1.5);
	for (const size of [0n, 2n ** 32n - 1n, 2n ** 32n, 0x7fff12345678n, 2n ** 53n - 1n]) {
		view.setBigUint64(0, size, true);
		assertEquals(out.size, Number(size));
		assertEquals(out.handle, size);
		assertEquals(Deno.UnsafePointer.value(out.pointer), size);
	}
});
