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

/** Symbol table of the CUDA driver API. */
export const driverSymbols = {
  cuInit: { parameters: [UINT], result: STATUS },
  cuDriverGetVersion: { parameters: [POINTER], result: STATUS },
  cuDeviceGetCount: { parameters: [POINTER], result: STATUS },
  cuDeviceGet: { parameters: [POINTER, INT], result: STATUS },
  cuDeviceGetName: { parameters: [POINTER, INT, INT], result: STATUS },
  cuDeviceGetAttribute: { parameters: [POINTER, INT, INT], result: STATUS },
  cuDeviceTotalMem_v2: { parameters: [POINTER, INT], result: STATUS },
  cuDeviceGetUuid_v2: { parameters: [POINTER, INT], result: STATUS },
  cuDeviceCanAccessPeer: { parameters: [POINTER, INT, INT], result: STATUS },
  cuDeviceGetDefaultMemPool: { parameters: [POINTER, INT], result: STATUS },
  cuDevicePrimaryCtxRetain: { parameters: [POINTER, INT], result: STATUS },
  cuDevicePrimaryCtxRelease_v2: { parameters: [INT], result: STATUS },
  cuCtxSetCurrent: { parameters: [HANDLE], result: STATUS },
  cuCtxSynchronize: { parameters: [], result: STATUS },
  cuGetErrorName: { parameters: [INT, POINTER], result: STATUS },
  cuGetErrorString: { parameters: [INT, POINTER], result: STATUS },
  cuStreamCreate: { parameters: [POINTER, UINT], result: STATUS },
  cuStreamDestroy_v2: { parameters: [HANDLE], result: STATUS },
  cuStreamSynchronize: { parameters: [HANDLE], result: STATUS },
  cuStreamQuery: { parameters: [HANDLE], result: STATUS },
  cuStreamWaitEvent: { parameters: [HANDLE, HANDLE, UINT], result: STATUS },
  cuStreamBeginCapture_v2: { parameters: [HANDLE, INT], result: STATUS },
  cuStreamIsCapturing: { parameters: [HANDLE, POINTER], result: STATUS },
  cuStreamEndCapture: { parameters: [HANDLE, POINTER], result: STATUS },
  // The last parameter is 64 flags, of which this library sets none.
  cuGraphInstantiateWithFlags: { parameters: [POINTER, HANDLE, "u64"], result: STATUS },
  cuGraphLaunch: { parameters: [HANDLE, HANDLE], result: STATUS },
  cuGraphExecDestroy: { parameters: [HANDLE], result: STATUS },
  cuGraphDestroy: { parameters: [HANDLE], result: STATUS },
  cuEventCreate: { parameters: [POINTER, UINT], result: STATUS },
  cuEventDestroy_v2: { parameters: [HANDLE], result: STATUS },
  cuEventRecord: { parameters: [HANDLE, HANDLE], result: STATUS },
  cuEventQuery: { parameters: [HANDLE], result: STATUS },
  cuEventSynchronize: { parameters: [HANDLE], result: STATUS },
  cuEventElapsedTime: { parameters: [POINTER, HANDLE, HANDLE], result: STATUS },
  cuMemAllocAsync: { parameters: [POINTER, SIZE, HANDLE], result: STATUS },
  cuMemFreeAsync: { parameters: [DEVICE_POINTER, HANDLE], result: STATUS },
  cuMemPoolSetAttribute: { parameters: [HANDLE, INT, POINTER], result: STATUS },
  cuMemPoolGetAttribute: { parameters: [HANDLE, INT, POINTER], result: STATUS },
  cuMemPoolTrimTo: { parameters: [HANDLE, SIZE], result: STATUS },
  cuMemGetInfo_v2: { parameters: [POINTER, POINTER], result: STATUS },
  cuMemHostAlloc: { parameters: [POINTER, SIZE, UINT], result: STATUS },
  cuMemFreeHost: { parameters: [HANDLE], result: STATUS },
  cuMemcpyHtoDAsync_v2: { parameters: [DEVICE_POINTER, POINTER, SIZE, HANDLE], result: STATUS },
  cuMemcpyDtoHAsync_v2: { parameters: [POINTER, DEVICE_POINTER, SIZE, HANDLE], result: STATUS },
  cuMemcpyDtoH_v2: { parameters: [POINTER, DEVICE_POINTER, SIZE], result: STATUS },
  cuMemcpyDtoDAsync_v2: {
    parameters: [DEVICE_POINTER, DEVICE_POINTER, SIZE, HANDLE],
    result: STATUS,
  },
  cuMemsetD8Async: { parameters: [DEVICE_POINTER, "u8", SIZE, HANDLE], result: STATUS },
  cuModuleLoadData: { parameters: [POINTER, POINTER], result: STATUS },
  cuModuleUnload: { parameters: [HANDLE], result: STATUS },
  cuModuleGetFunction: { parameters: [POINTER, HANDLE, POINTER], result: STATUS },
  cuLaunchKernel: {
    parameters: [
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
    result: STATUS,
  },
} as const satisfies Deno.ForeignLibraryInterface;
