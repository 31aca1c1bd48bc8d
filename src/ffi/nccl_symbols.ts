// The functions of NCCL that this library calls.

import { C_STRING, DEVICE_POINTER, HANDLE, INT, POINTER, SIZE, STATUS } from "./c_types.ts";

/** Bytes of a `ncclUniqueId`. */
export const UNIQUE_ID_BYTES = 128;

/** A `ncclUniqueId`, passed by value. */
const UNIQUE_ID: { readonly struct: "u64"[] } = {
	struct: Array<"u64">(UNIQUE_ID_BYTES / 8).fill("u64"),
};

/** Symbol table of NCCL. */
export const ncclSymbols = {
	ncclGetVersion: { parameters: [POINTER], result: STATUS },
	ncclGetUniqueId: { parameters: [POINTER], result: STATUS },
	// communicator, number of ranks, id, rank
	ncclCommInitRank: { parameters: [POINTER, INT, UNIQUE_ID, INT], result: STATUS },
	ncclCommDestroy: { parameters: [HANDLE], result: STATUS },
	ncclCommAbort: { parameters: [HANDLE], result: STATUS },
	ncclCommGetAsyncError: { parameters: [HANDLE, POINTER], result: STATUS },
	ncclGetErrorString: { parameters: [INT], result: C_STRING },
	ncclGetLastError: { parameters: [HANDLE], result: C_STRING },
	ncclGroupStart: { parameters: [], result: STATUS },
	ncclGroupEnd: { parameters: [], result: STATUS },
	// sent, received, count, type, operation, communicator, stream
	ncclAllReduce: {
		parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, INT, INT, HANDLE, HANDLE],
		result: STATUS,
	},
	ncclReduceScatter: {
		parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, INT, INT, HANDLE, HANDLE],
		result: STATUS,
	},
	// sent, received, count, type, operation, root, communicator, stream
	ncclReduce: {
		parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, INT, INT, INT, HANDLE, HANDLE],
		result: STATUS,
	},
	// sent, received, count, type, root, communicator, stream
	ncclBroadcast: {
		parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, INT, INT, HANDLE, HANDLE],
		result: STATUS,
	},
	// sent, received, count, type, communicator, stream
	ncclAllGather: {
		parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, INT, HANDLE, HANDLE],
		result: STATUS,
	},
	// memory, count, type, peer, communicator, stream
	ncclSend: { parameters: [DEVICE_POINTER, SIZE, INT, INT, HANDLE, HANDLE], result: STATUS },
	ncclRecv: { parameters: [DEVICE_POINTER, SIZE, INT, INT, HANDLE, HANDLE], result: STATUS },
} as const satisfies Deno.ForeignLibraryInterface;
