// The functions of NVRTC, the run-time compiler, that this library calls.

import { C_STRING, HANDLE, INT, POINTER, STATUS } from "./c_types.ts";

/** Symbol table of NVRTC. */
export const nvrtcSymbols = {
	nvrtcVersion: { parameters: [POINTER, POINTER], result: STATUS },
	nvrtcGetErrorString: { parameters: [INT], result: C_STRING },
	nvrtcCreateProgram: {
		// program, source, name, number of headers, their texts, their names
		parameters: [POINTER, POINTER, POINTER, INT, POINTER, POINTER],
		result: STATUS,
	},
	nvrtcDestroyProgram: { parameters: [POINTER], result: STATUS },
	// Needs no context, so it may run on another thread while others compile.
	nvrtcCompileProgram: { parameters: [HANDLE, INT, POINTER], result: STATUS, nonblocking: true },
	nvrtcCompileProgramSync: {
		name: "nvrtcCompileProgram",
		parameters: [HANDLE, INT, POINTER],
		result: STATUS,
	},
	nvrtcGetCUBINSize: { parameters: [HANDLE, POINTER], result: STATUS },
	nvrtcGetCUBIN: { parameters: [HANDLE, POINTER], result: STATUS },
	nvrtcGetProgramLogSize: { parameters: [HANDLE, POINTER], result: STATUS },
	nvrtcGetProgramLog: { parameters: [HANDLE, POINTER], result: STATUS },
} as const satisfies Deno.ForeignLibraryInterface;
