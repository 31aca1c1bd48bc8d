// Memory of a device: what is allocated, on which stream and for what, so that running out of it can be
// explained.

import type { Device } from "./device.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { Stream } from "./stream.ts";

/** What a label holds. */
export interface Holder {
	/** The label that the memory was asked for with. */
	readonly label: string;
	/** Bytes allocated and not freed. */
	bytes: number;
	/** Number of allocations. */
	count: number;
}

interface Block {
	bytes: number;
	holder: Holder;
	stream: Stream;
	/** The graph that uses the block at each launch, and so keeps it while it lives. */
	arena: Arena | undefined;
	/** Whether its user has freed it, and a graph keeps it. */
	released: boolean;
}

/** Memory that a graph uses: while it is captured, what it has freed serves its later allocations. */
export class Arena {
	/** Pointers of all blocks that the graph keeps. */
	readonly pointers: Set<number> = new Set();
	/** By size, what can be used again in the rest of the capture. */
	readonly idle: Map<number, number[]> = new Map();
}

/** Allocates, frees and counts; each {@linkcode Device} has one. */
export class DeviceMemory {
	readonly #device: Device;
	readonly #blocks = new Map<number, Block>();
	readonly #holders = new Map<string, Holder>();
	#liveBytes = 0;
	#peakBytes = 0;
	#arena: Arena | undefined;
	#arenaStream: Stream | undefined;

	/** For {@linkcode Device}. */
	constructor(device: Device) {
		this.#device = device;
	}

	/** Bytes allocated and not freed. */
	get liveBytes(): number {
		return this.#liveBytes;
	}

	/** The largest value `liveBytes` ever had. */
	get peakBytes(): number {
		return this.#peakBytes;
	}

	/** Starts the search for the peak anew. */
	resetPeak(): void {
		this.#peakBytes = this.#liveBytes;
	}

	/** Whether memory is allocated for a graph, which is being captured. */
	get isCapturing(): boolean {
		return this.#arena !== undefined;
	}

	/** What holds memory, the largest first. */
	get holders(): Holder[] {
		return [...this.#holders.values()].filter(({ count }) => count > 0)
			.sort((a, b) => b.bytes - a.bytes);
	}

	/** Allocates in the order of the current stream, or for the graph that is being captured. */
	allocate(bytes: number, label: string): number {
		const arena = this.#arena, stream = this.#device.currentStream;
		const again = arena && this.#reuse(arena, bytes, stream);
		if (again !== undefined) return again;
		const pointer = this.#new(bytes, label, arena ? this.#arenaStream! : stream);
		let holder = this.#holders.get(label);
		if (!holder) this.#holders.set(label, holder = { label, bytes: 0, count: 0 });
		holder.bytes += bytes;
		holder.count++;
		this.#blocks.set(pointer, { bytes, holder, stream, arena, released: false });
		arena?.pointers.add(pointer);
		this.#liveBytes += bytes;
		this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
		return pointer;
	}

	/** Frees in the order of the stream that the memory was allocated on. */
	free(pointer: number): void {
		const block = this.#blocks.get(pointer);
		if (block && (block.arena || this.#arena)) return this.#release(pointer, block);
		const stream = block && !block.stream.disposed ? block.stream : this.#device.mainStream;
		this.#device.check(
			"cuMemFreeAsync",
			this.#device.libraries.driver.cuMemFreeAsync(BigInt(pointer), stream.handle),
		);
		this.#blocks.delete(pointer);
		block!.holder.bytes -= block!.bytes;
		block!.holder.count--;
		this.#liveBytes -= block!.bytes;
	}

	/** From now on allocations belong to a graph, and come from a stream that does not capture. */
	beginCapture(allocating: Stream): Arena {
		this.#arenaStream = allocating;
		return this.#arena = new Arena();
	}

	/** Ends what {@linkcode beginCapture} began. */
	endCapture(): void {
		this.#arena?.idle.clear();
		this.#arena = undefined;
	}

	/**
	 * Frees what a graph used, except what its user has not freed yet and may go on using.
	 *
	 * @param launchedOn streams whose work may still use it
	 */
	disposeArena(arena: Arena, launchedOn: Iterable<Stream>): void {
		const pointers = [...arena.pointers];
		const freeing = new Set(pointers.map((pointer) => this.#blocks.get(pointer)!.stream));
		for (const launched of launchedOn) {
			for (const stream of freeing) {
				if (stream !== launched && !stream.disposed && !launched.disposed) {
					stream.wait(launched);
				}
			}
		}
		for (const pointer of pointers) {
			const block = this.#blocks.get(pointer)!;
			block.arena = undefined;
			if (block.released) this.free(pointer);
		}
		arena.pointers.clear();
	}

	#new(bytes: number, label: string, stream: Stream): number {
		const { driver } = this.#device.libraries;
		const out = this.#device.out;
		const code = driver.cuMemAllocAsync(out.buffer, BigInt(Math.max(bytes, 1)), stream.handle);
		const OUT_OF_MEMORY = 2;
		if (code === OUT_OF_MEMORY) {
			throw new OutOfMemoryError(this.#device.libraries, "cuMemAllocAsync", {
				requested: bytes,
				label,
				live: this.#liveBytes,
				holders: this.holders.map((holder) => ({ ...holder })),
				...this.#device.memory,
			});
		}
		this.#device.check("cuMemAllocAsync", code, `asked for ${bytes} bytes`);
		return out.size;
	}

	#reuse(arena: Arena, bytes: number, stream: Stream): number | undefined {
		const idle = arena.idle.get(bytes);
		const at = idle?.findLastIndex((pointer) => this.#blocks.get(pointer)!.stream === stream) ?? -1;
		if (at < 0) return undefined;
		const [pointer] = idle!.splice(at, 1);
		this.#blocks.get(pointer!)!.released = false;
		return pointer;
	}

	/** A graph uses the block at every launch: it is freed with the graph. */
	#release(pointer: number, block: Block): void {
		if (block.released) {
			throw new RangeError("Cannot free memory twice: a graph keeps it since it was freed");
		}
		block.released = true;
		if (!block.arena) { // from before the capture, which may read it
			block.arena = this.#arena!;
			block.arena.pointers.add(pointer);
		} else if (block.arena === this.#arena) {
			const { idle } = block.arena;
			const same = idle.get(block.bytes);
			if (same) same.push(pointer);
			else idle.set(block.bytes, [pointer]);
		}
	}
}
