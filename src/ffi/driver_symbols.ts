// The functions of the CUDA driver (libcuda) that this library calls: the one table that both NVIDIA's
// driver and the host driver are opened with.

import {
	DEVICE_POINTER,
	FIXED_POINTER,
	HANDLE,
	INT,
	POINTER,
	SIZE,
	STATUS,
	UINT,
} from "./c_types.ts";

/** The parameters of each; all return a status code. */
const PARAMETERS = {
	cuInit: [UINT],
	cuDriverGetVersion: [POINTER],
	cuDeviceGetCount: [POINTER],
	cuDeviceGet: [POINTER, INT],
	cuDeviceGetName: [POINTER, INT, INT],
	cuDeviceGetAttribute: [POINTER, INT, INT],
	cuDeviceTotalMem_v2: [POINTER, INT],
	cuDeviceGetUuid_v2: [POINTER, INT],
	cuDeviceCanAccessPeer: [POINTER, INT, INT],
	cuDeviceGetDefaultMemPool: [POINTER, INT],
	cuDevicePrimaryCtxRetain: [POINTER, INT],
	cuDevicePrimaryCtxRelease_v2: [INT],
	cuCtxSetCurrent: [HANDLE],
	cuCtxSynchronize: [],
	cuGetErrorName: [INT, POINTER],
	cuGetErrorString: [INT, POINTER],
	cuStreamCreate: [POINTER, UINT],
	cuStreamDestroy_v2: [HANDLE],
	cuStreamSynchronize: [HANDLE],
	cuStreamQuery: [HANDLE],
	cuStreamWaitEvent: [HANDLE, HANDLE, UINT],
	cuStreamBeginCapture_v2: [HANDLE, INT],
	cuStreamIsCapturing: [HANDLE, POINTER],
	cuStreamEndCapture: [HANDLE, POINTER],
	// The last parameter is 64 flags, of which this library sets none.
	cuGraphInstantiateWithFlags: [POINTER, HANDLE, "u64"],
	cuGraphLaunch: [HANDLE, HANDLE],
	cuGraphExecDestroy: [HANDLE],
	cuGraphDestroy: [HANDLE],
	cuEventCreate: [POINTER, UINT],
	cuEventDestroy_v2: [HANDLE],
	cuEventRecord: [HANDLE, HANDLE],
	cuEventQuery: [HANDLE],
	cuEventSynchronize: [HANDLE],
	cuEventElapsedTime: [POINTER, HANDLE, HANDLE],
	cuMemAllocAsync: [POINTER, SIZE, HANDLE],
	cuMemFreeAsync: [DEVICE_POINTER, HANDLE],
	cuMemPoolSetAttribute: [HANDLE, INT, POINTER],
	cuMemPoolGetAttribute: [HANDLE, INT, POINTER],
	cuMemPoolTrimTo: [HANDLE, SIZE],
	cuMemGetInfo_v2: [POINTER, POINTER],
	cuMemHostAlloc: [POINTER, SIZE, UINT],
	cuMemFreeHost: [HANDLE],
	cuMemcpyHtoDAsync_v2: [DEVICE_POINTER, POINTER, SIZE, HANDLE],
	cuMemcpyDtoHAsync_v2: [POINTER, DEVICE_POINTER, SIZE, HANDLE],
	cuMemcpyDtoH_v2: [POINTER, DEVICE_POINTER, SIZE],
	cuMemcpyDtoDAsync_v2: [DEVICE_POINTER, DEVICE_POINTER, SIZE, HANDLE],
	cuMemsetD8Async: [DEVICE_POINTER, "u8", SIZE, HANDLE],
	cuModuleLoadData: [POINTER, POINTER],
	cuModuleUnload: [HANDLE],
	cuModuleGetFunction: [POINTER, HANDLE, POINTER],
	cuLaunchKernel: [
		HANDLE, // function
		UINT, // grid x, y, z
		UINT,
		UINT,
		UINT, // block x, y, z
		UINT,
		UINT,
		UINT, // dynamic shared memory, bytes
		HANDLE, // stream
		FIXED_POINTER, // kernelParams: unused, null
		FIXED_POINTER, // extra: the packed arguments
	],
} as const satisfies Record<string, Deno.NativeType[]>;

/** Symbol table of the CUDA driver API. */
export const driverSymbols: {
	readonly [Name in keyof typeof PARAMETERS]: {
		readonly parameters: typeof PARAMETERS[Name];
		readonly result: typeof STATUS;
	};
} = Object.fromEntries(
	Object.entries(PARAMETERS).map(([name, parameters]) => [name, { parameters, result: STATUS }]),
) as typeof driverSymbols;
