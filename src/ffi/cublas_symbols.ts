// The functions of cuBLAS that this library calls.

import { C_STRING, DEVICE_POINTER, HANDLE, INT, LONG_LONG, POINTER, STATUS } from "./c_types.ts";

/** Symbol table of cuBLAS. Matrices are column-major, as cuBLAS has them. */
export const cublasSymbols = {
	cublasCreate_v2: { parameters: [POINTER], result: STATUS },
	cublasDestroy_v2: { parameters: [HANDLE], result: STATUS },
	cublasGetVersion_v2: { parameters: [HANDLE, POINTER], result: STATUS },
	cublasGetStatusName: { parameters: [INT], result: C_STRING },
	cublasGetStatusString: { parameters: [INT], result: C_STRING },
	cublasSetStream_v2: { parameters: [HANDLE, HANDLE], result: STATUS },
	cublasGemmStridedBatchedEx: {
		parameters: [
			HANDLE,
			INT, // transpose of A, of B
			INT,
			INT, // m, n, k
			INT,
			INT,
			POINTER, // alpha
			DEVICE_POINTER, // A, type, leading dimension, stride
			INT,
			INT,
			LONG_LONG,
			DEVICE_POINTER, // B
			INT,
			INT,
			LONG_LONG,
			POINTER, // beta
			DEVICE_POINTER, // C
			INT,
			INT,
			LONG_LONG,
			INT, // batch count
			INT, // compute type
			INT, // algorithm
		],
		result: STATUS,
	},
} as const satisfies Deno.ForeignLibraryInterface;
