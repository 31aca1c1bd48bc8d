// Makes calls of the host driver fail, to test what happens then. NVIDIA's libraries are never touched.

import { STATUS } from "../ffi/c_types.ts";

const VARIABLE = "OUTLIERSCOPE_FAIL";

/** What a function fails with: out of memory where it allocates, else an error of unknown cause. */
function failureOf(name: string): number {
	const OUT_OF_MEMORY = 2, UNKNOWN = 999;
	if (name.startsWith("nvrtc")) return 11; // NVRTC_ERROR_INTERNAL_ERROR
	if (name.startsWith("cublas")) return 13; // CUBLAS_STATUS_EXECUTION_FAILED
	if (name.startsWith("cudnn")) return 5000; // CUDNN_STATUS_EXECUTION_FAILED
	if (name.startsWith("nccl")) return 2; // ncclSystemError
	return /^cuMem\w*Alloc/.test(name) ? OUT_OF_MEMORY : UNKNOWN;
}

/**
 * The functions themselves, unless the environment variable `OUTLIERSCOPE_FAIL` exists: then functions of
 * which one call fails, and does nothing, as the variable says at that time. `cuLaunchKernel:3` is the
 * third call of that function since the variable has this value, `*:3` the third call of any; it is
 * `cuLaunchKernel:0` when that call has failed. Any other value fails nothing.
 */
export function withFaults<F extends object>(
	functions: F,
	symbols: Deno.ForeignLibraryInterface,
): F {
	if (Deno.env.get(VARIABLE) === undefined) return functions;
	let seen = "", wanted = "", left = 0;
	const fails = (name: string): boolean => {
		const value = Deno.env.get(VARIABLE) ?? "";
		if (value !== seen) {
			const [, function_, count] = /^(\*|\w+):(\d+)$/.exec(value) ?? [];
			[seen, wanted, left] = [value, function_ ?? "", Number(count ?? 0)];
		}
		if (left === 0 || (wanted !== "*" && wanted !== name) || --left > 0) return false;
		Deno.env.set(VARIABLE, `${name}:0`);
		return true;
	};
	const guarded = Object.entries(functions).map(([name, call]) => {
		const symbol = symbols[name]!;
		if ("type" in symbol || symbol.result !== STATUS) return [name, call];
		const code = failureOf(name);
		const failed = symbol.nonblocking ? Promise.resolve(code) : code;
		return [name, (...args: unknown[]) => {
			if (!fails(name)) return call(...args);
			if (name === "cuStreamEndCapture") call(...args); // a capture ends even by an error
			return failed;
		}];
	});
	return Object.fromEntries(guarded);
}
