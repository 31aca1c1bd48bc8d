// The functions of cuDNN that this library calls.

import { C_STRING, DEVICE_POINTER, HANDLE, INT, POINTER, SIZE, STATUS } from "./c_types.ts";

/** Symbol table of cuDNN. */
export const cudnnSymbols = {
	cudnnCreate: { parameters: [POINTER], result: STATUS },
	cudnnDestroy: { parameters: [HANDLE], result: STATUS },
	cudnnGetVersion: { parameters: [], result: SIZE },
	cudnnGetErrorString: { parameters: [INT], result: C_STRING },
	cudnnSetStream: { parameters: [HANDLE, HANDLE], result: STATUS },
	cudnnCreateTensorDescriptor: { parameters: [POINTER], result: STATUS },
	cudnnDestroyTensorDescriptor: { parameters: [HANDLE], result: STATUS },
	// descriptor, format, type, n, c, h, w
	cudnnSetTensor4dDescriptor: {
		parameters: [HANDLE, INT, INT, INT, INT, INT, INT],
		result: STATUS,
	},
	cudnnSoftmaxForward: {
		parameters: [
			HANDLE,
			INT, // algorithm, mode
			INT,
			POINTER, // alpha
			HANDLE, // x
			DEVICE_POINTER,
			POINTER, // beta
			HANDLE, // y
			DEVICE_POINTER,
		],
		result: STATUS,
	},
	cudnnSoftmaxBackward: {
		parameters: [
			HANDLE,
			INT, // algorithm, mode
			INT,
			POINTER, // alpha
			HANDLE, // y
			DEVICE_POINTER,
			HANDLE, // gradient of y
			DEVICE_POINTER,
			POINTER, // beta
			HANDLE, // gradient of x
			DEVICE_POINTER,
		],
		result: STATUS,
	},
} as const satisfies Deno.ForeignLibraryInterface;
