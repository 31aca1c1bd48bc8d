// Page-locked memory of the host, which the device copies from and to while the host does other things.

import type { Device } from "./device.ts";

const buffers = new WeakSet<ArrayBufferLike>();

/** Whether a view lies in page-locked memory. */
export function isPinned(view: ArrayBufferView): boolean {
	return buffers.has(view.buffer);
}

/**
 * Page-locked memory of the host. An upload from it is not copied aside: the device reads it when the work
 * queued before is done, so it must not change until then; see {@linkcode Device.upload}.
 */
export class PinnedMemory implements Disposable {
	/** The memory. Its length is 0 once it was freed. */
	readonly bytes: Uint8Array<ArrayBuffer>;
	readonly #device: Device;
	readonly #pointer: bigint;

	/** Allocates zeroed memory. */
	constructor(device: Device, byteLength: number) {
		device.refuseInCapture("allocate page-locked memory");
		this.#device = device;
		const { driver } = device.libraries;
		const pointer = this.#pointer = device.made(
			"cuMemHostAlloc",
			(out) => driver.cuMemHostAlloc(out, Math.max(1, byteLength), 0),
			`asked for ${byteLength} bytes of page-locked memory`,
		);
		const memory = Deno.UnsafePointer.create(pointer)!;
		this.bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(memory, byteLength)).fill(0);
		buffers.add(this.bytes.buffer);
	}

	/** Frees the memory once the copies queued from and to it are done. Doing so twice is harmless. */
	[Symbol.dispose](): void {
		if (this.bytes.buffer.detached) return;
		this.#device.refuseInCapture("free page-locked memory");
		const { driver } = this.#device.libraries;
		this.#device.check("cuCtxSynchronize", driver.cuCtxSynchronize());
		this.bytes.buffer.transfer(0); // from here on views of it are empty, and not of freed memory
		this.#device.check("cuMemFreeHost", driver.cuMemFreeHost(this.#pointer));
	}
}
