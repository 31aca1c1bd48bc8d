// A communicator: how processes combine what their devices hold, through NCCL.

import { fixedBuffer, textAt } from "../ffi/c_memory.ts";
import type { Nccl } from "../ffi/libraries.ts";
import { UNIQUE_ID_BYTES } from "../ffi/nccl_symbols.ts";
import type { Device } from "./device.ts";
import { CudaError } from "./errors.ts";

/** Types of elements that a {@linkcode Communicator} passes on. */
export type CommunicatedType = "uint8" | "int32" | "float32" | "float64";
/** How it combines them. */
export type Reduction = "sum" | "max" | "min";

const TYPES: Record<CommunicatedType, number> = { uint8: 1, int32: 2, float32: 7, float64: 8 };
const BYTES: Record<CommunicatedType, number> = { uint8: 1, int32: 4, float32: 4, float64: 8 };
const OPERATIONS: Record<Reduction, number> = { sum: 0, max: 2, min: 3 };

/** Makes the id that all ranks of a new communicator are given: one of them calls this. */
export async function uniqueId(device: Device): Promise<Uint8Array<ArrayBuffer>> {
	const nccl = await device.libraries.nccl(), id = fixedBuffer(UNIQUE_ID_BYTES);
	check(nccl, "ncclGetUniqueId", nccl.ncclGetUniqueId(id));
	return id;
}

/** Throws a {@linkcode CudaError} unless `code` is 0. */
function check(nccl: Nccl, name: string, code: number): void {
	if (code === 0) return;
	const said = [nccl.ncclGetErrorString(code), nccl.ncclGetLastError(0n)].map(textAt);
	throw new CudaError(name, code, said.filter(Boolean).join(": "));
}

/**
 * This process as one of several. Each call is queued on the device's current stream. All ranks must make the same
 * calls in the same order; memory that is sent and received may be the same.
 */
export class Communicator implements Disposable {
	/** Which of the processes this is, from 0 on. */
	readonly rank: number;
	/** How many they are. */
	readonly size: number;
	/** Bytes that this process has handed to calls, each counted once. */
	bytes = 0;
	readonly #device: Device;
	readonly #nccl: Nccl;
	#handle: bigint;

	private constructor(device: Device, nccl: Nccl, rank: number, size: number, handle: bigint) {
		this.#device = device;
		this.#nccl = nccl;
		this.rank = rank;
		this.size = size;
		this.#handle = handle;
	}

	/**
	 * Joins the others; blocks the thread until all have come.
	 *
	 * @param id what {@linkcode uniqueId} gave one of them
	 * @throws {CudaError} if that fails
	 */
	static async join(
		device: Device,
		id: Uint8Array<ArrayBuffer>,
		{ rank, size }: { rank: number; size: number },
	): Promise<Communicator> {
		const nccl = await device.libraries.nccl(), { out } = device;
		check(nccl, "ncclCommInitRank", nccl.ncclCommInitRank(out.buffer, size, id, rank));
		return new Communicator(device, nccl, rank, size, out.handle);
	}

	#queued(name: string, code: number, count: number, type: CommunicatedType): void {
		check(this.#nccl, name, code);
		this.bytes += count * BYTES[type];
	}

	/** Combines `count` elements of every rank; all ranks get the result. */
	allReduce(
		send: number,
		receive: number,
		count: number,
		type: CommunicatedType,
		reduction: Reduction = "sum",
	): void {
		const code = this.#nccl.ncclAllReduce(
			send,
			receive,
			count,
			TYPES[type],
			OPERATIONS[reduction],
			this.#handle,
			this.#device.stream,
		);
		this.#queued("ncclAllReduce", code, count, type);
	}

	/** Combines `count` elements of every rank; only `root` gets the result. */
	reduce(
		send: number,
		receive: number,
		count: number,
		type: CommunicatedType,
		root: number,
		reduction: Reduction = "sum",
	): void {
		const code = this.#nccl.ncclReduce(
			send,
			receive,
			count,
			TYPES[type],
			OPERATIONS[reduction],
			root,
			this.#handle,
			this.#device.stream,
		);
		this.#queued("ncclReduce", code, count, type);
	}

	/** Combines `count` elements for each rank, of every rank; each gets its own: rank r those from r · count on. */
	reduceScatter(
		send: number,
		receive: number,
		count: number,
		type: CommunicatedType,
		reduction: Reduction = "sum",
	): void {
		const code = this.#nccl.ncclReduceScatter(
			send,
			receive,
			count,
			TYPES[type],
			OPERATIONS[reduction],
			this.#handle,
			this.#device.stream,
		);
		this.#queued("ncclReduceScatter", code, count * this.size, type);
	}

	/** Gives all ranks the `count` elements of each, by rank. */
	allGather(send: number, receive: number, count: number, type: CommunicatedType): void {
		const code = this.#nccl.ncclAllGather(
			send,
			receive,
			count,
			TYPES[type],
			this.#handle,
			this.#device.stream,
		);
		this.#queued("ncclAllGather", code, count * this.size, type);
	}

	/** Gives all ranks the `count` elements of `root`. */
	broadcast(
		send: number,
		receive: number,
		count: number,
		type: CommunicatedType,
		root: number,
	): void {
		const code = this.#nccl.ncclBroadcast(
			send,
			receive,
			count,
			TYPES[type],
			root,
			this.#handle,
			this.#device.stream,
		);
		this.#queued("ncclBroadcast", code, count, type);
	}

	/** Sends to another rank, which must receive as much. */
	send(pointer: number, count: number, type: CommunicatedType, to: number): void {
		const { stream } = this.#device;
		const code = this.#nccl.ncclSend(pointer, count, TYPES[type], to, this.#handle, stream);
		this.#queued("ncclSend", code, count, type);
	}

	/** Receives from another rank. */
	receive(pointer: number, count: number, type: CommunicatedType, from: number): void {
		const { stream } = this.#device;
		const code = this.#nccl.ncclRecv(pointer, count, TYPES[type], from, this.#handle, stream);
		check(this.#nccl, "ncclRecv", code);
	}

	/** Queues the calls of `body` together, which may then run at the same time. */
	together(body: () => void): void {
		check(this.#nccl, "ncclGroupStart", this.#nccl.ncclGroupStart());
		try {
			body();
		} finally {
			check(this.#nccl, "ncclGroupEnd", this.#nccl.ncclGroupEnd());
		}
	}

	/** Throws if a call that was queued has failed since. */
	check(): void {
		if (this.#handle === 0n) return;
		const { out } = this.#device;
		const name = "ncclCommGetAsyncError";
		check(this.#nccl, name, this.#nccl.ncclCommGetAsyncError(this.#handle, out.buffer));
		check(this.#nccl, "a queued call of NCCL", out.int);
	}

	/** Gives up what is queued, so that nothing waits for a rank that is gone; the communicator is then of no use. */
	abort(): void {
		this.#end((handle) => this.#nccl.ncclCommAbort(handle), "ncclCommAbort");
	}

	/** Ends it, when what is queued is done; all ranks do so. Doing so twice is harmless. */
	[Symbol.dispose](): void {
		this.#end((handle) => this.#nccl.ncclCommDestroy(handle), "ncclCommDestroy");
	}

	#end(call: (handle: bigint) => number, name: string): void {
		const handle = this.#handle;
		this.#handle = 0n;
		if (handle !== 0n) check(this.#nccl, name, call(handle));
	}
}
