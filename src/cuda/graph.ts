// Graphs: work that is queued once and launched many times, for the cost of one call.

import type { Device } from "./device.ts";
import type { Arena } from "./memory.ts";
import { Stream } from "./stream.ts";

/**
 * Work captured by `device.capture(…)`. Each launch runs all of it, on the memory that it was captured with.
 *
 * @example Launch a step many times
 * ```ts
 * import { Device, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using x = Tensor.from(device, "float32", [1], [1]);
 * using y = Tensor.zeros(device, "float32", [1]);
 * using graph = device.capture(() => device.copy(y.pointer, x.pointer, 4));
 * graph.launch();
 * console.log(await y.data()); // Float32Array [1]
 * ```
 */
export class Graph implements Disposable {
	readonly #device: Device;
	readonly #arena: Arena;
	readonly #launchedOn = new Set<Stream>();
	#executable: bigint | undefined;

	/** For {@linkcode capture}. */
	constructor(device: Device, executable: bigint, arena: Arena) {
		this.#device = device;
		this.#executable = executable;
		this.#arena = arena;
	}

	/** Queues all of its work on the current stream. Launches of one graph follow each other. */
	launch(): void {
		if (this.#executable === undefined) {
			throw new ReferenceError("Cannot launch a graph: it was disposed of");
		}
		const device = this.#device;
		device.check(
			"cuGraphLaunch",
			device.libraries.driver.cuGraphLaunch(this.#executable, device.stream),
		);
		this.#launchedOn.add(device.currentStream);
	}

	/** Frees it, and the memory that was freed in its capture. Doing so twice is harmless. */
	[Symbol.dispose](): void {
		if (this.#executable === undefined) return;
		const device = this.#device, { driver } = device.libraries;
		device.refuseInCapture("dispose of a graph");
		device.check("cuGraphExecDestroy", driver.cuGraphExecDestroy(this.#executable));
		this.#executable = undefined;
		device.allocations.disposeArena(this.#arena, this.#launchedOn);
	}
}

const allocating = new WeakMap<Device, Stream>();

/** Captures what `body` queues; see {@linkcode Device.capture}. */
export function capture(device: Device, body: () => void): Graph {
	device.refuseInCapture("capture");
	const { driver } = device.libraries, stream = device.currentStream;
	let allocator = allocating.get(device);
	if (!allocator) allocating.set(device, allocator = new Stream(device));
	void stream.blas; // made now, for it could not be made during the capture
	// Relaxed: memory is allocated during the capture, though not by it. What this library must not do
	// meanwhile it refuses by itself.
	const RELAXED = 2;
	device.check("cuStreamBeginCapture", driver.cuStreamBeginCapture_v2(stream.handle, RELAXED));
	const arena = device.allocations.beginCapture(allocator);
	let graph = 0n, executable: bigint | undefined, made: Graph | undefined;
	try {
		let failure: { error: unknown } | undefined;
		try {
			const result: unknown = body();
			if (result instanceof Promise) {
				result.catch(() => {}); // it may well fail outside of the capture; the error below says why
				throw new TypeError(
					"Cannot capture an asynchronous function: what it queues later would not be captured",
				);
			}
		} catch (error) {
			failure = { error };
		}
		device.allocations.endCapture();
		const code = driver.cuStreamEndCapture(stream.handle, device.out.buffer);
		graph = device.out.handle;
		if (failure) throw failure.error;
		device.check("cuStreamEndCapture", code);
		executable = device.made(
			"cuGraphInstantiateWithFlags",
			(out) => driver.cuGraphInstantiateWithFlags(out, graph, 0),
		);
		allocator.synchronizeSync(); // what it allocated is there before anything uses it
		return made = new Graph(device, executable, arena);
	} finally {
		if (graph !== 0n) driver.cuGraphDestroy(graph);
		if (!made) {
			if (executable !== undefined) driver.cuGraphExecDestroy(executable);
			driver.cuStreamSynchronize(allocator.handle); // for what is not freed
			device.allocations.disposeArena(arena, []);
		}
	}
}
