// The set of opened C libraries that everything above works with, and how NVIDIA's are found. The host
// driver's set is opened in `src/host`; nothing above `src/cuda/libraries.ts` knows which it has.

import { OutParameter } from "./c_memory.ts";
import { cublasSymbols } from "./cublas_symbols.ts";
import { cudnnSymbols } from "./cudnn_symbols.ts";
import { driverSymbols } from "./driver_symbols.ts";
import { ncclSymbols } from "./nccl_symbols.ts";
import { nvrtcSymbols } from "./nvrtc_symbols.ts";

/**
 * The functions of a library. 64-bit parameters can be plain numbers, which Deno also takes; a call with
 * one costs some 0.3 µs more than a call with bigints, so what is called often gets those.
 */
export type Functions<S extends Deno.ForeignLibraryInterface> = {
	[Name in keyof Deno.DynamicLibrary<S>["symbols"]]: Deno.DynamicLibrary<S>["symbols"][Name] extends
		(...args: infer A) => infer R
		? (...args: { [I in keyof A]: A[I] extends bigint ? number | bigint : A[I] }) => R
		: never;
};
/** The CUDA driver's functions. */
export type Driver = Functions<typeof driverSymbols>;
/** NVRTC's functions. */
export type Nvrtc = Functions<typeof nvrtcSymbols>;
/** cuBLAS's functions. */
export type Cublas = Functions<typeof cublasSymbols>;
/** cuDNN's functions. */
export type Cudnn = Functions<typeof cudnnSymbols>;
/** NCCL's functions. */
export type Nccl = Functions<typeof ncclSymbols>;

/** The opened libraries of one kind of device. */
export interface Libraries {
	/** NVIDIA's libraries, or the host driver. */
	readonly kind: "cuda" | "host";
	/** What compiled code depends on besides its source: part of the key of cached modules. */
	readonly identity: string;
	/** The files they were loaded from, or the names the system found them by. */
	readonly paths: Record<"driver" | "nvrtc" | "cublas", string>;
	/** The CUDA driver. */
	readonly driver: Driver;
	/** The run-time compiler. */
	readonly nvrtc: Nvrtc;
	/** Matrix products. */
	readonly cublas: Cublas;
	/** cuDNN, opened at the first call; throws a {@linkcode LibraryError} where it is not installed. */
	readonly cudnn: () => Cudnn;
	/**
	 * NCCL, opened (for the host driver: built, where need be) at the first call; fails with a
	 * {@linkcode LibraryError} where it, or MPI, is not installed.
	 */
	readonly nccl: () => Promise<Nccl>;
}

const CUDA_MAJORS = [13, 12, 11];

function versioned(name: string, majors: number[] = CUDA_MAJORS): string[] {
	return [...majors.map((major) => `${name}.${major}`), name]
		.flatMap((file) => [file, `/usr/local/cuda/lib64/${file}`]);
}

/** NVIDIA's libraries, and the files that each is looked for in, in this order. */
export const NVIDIA_LIBRARIES = {
	driver: { what: "the CUDA driver", names: ["libcuda.so.1", "libcuda.so"] },
	nvrtc: { what: "NVRTC", names: versioned("libnvrtc.so") },
	cublas: { what: "cuBLAS", names: versioned("libcublas.so") },
};

/** Thrown when no library of a list could be opened; the message lists every name and why it failed. */
export class LibraryError extends Error {
	/** Name of the class. */
	override readonly name = "LibraryError";
}

/** Opens the first of `names` that loads; throws a {@linkcode LibraryError} that lists all failures. */
export function openLibrary<S extends Deno.ForeignLibraryInterface>(
	what: string,
	names: string[],
	symbols: S,
): { path: string; symbols: Functions<S> } {
	const failures: string[] = [];
	for (const path of names) {
		try {
			return { path, symbols: Deno.dlopen(path, symbols).symbols as unknown as Functions<S> };
		} catch (error) {
			if (error instanceof Deno.errors.NotCapable) {
				throw new LibraryError(
					`Cannot load ${what}: Deno needs the permission --allow-ffi (run with --allow-ffi, or -A)`,
					{ cause: error },
				);
			}
			failures.push(`  ${path}: ${error instanceof Error ? error.message.split("\n")[0] : error}`);
		}
	}
	throw new LibraryError(`Cannot load ${what}; tried\n${failures.join("\n")}`);
}

/**
 * Opens NVIDIA's driver, NVRTC and cuBLAS, where a device answers.
 *
 * @returns the libraries
 * @throws {LibraryError} if a library is missing or no device answers, with what was tried
 */
export function openNvidia(): Libraries {
	const open = <S extends Deno.ForeignLibraryInterface>(
		library: keyof typeof NVIDIA_LIBRARIES,
		symbols: S,
	) => openLibrary(NVIDIA_LIBRARIES[library].what, NVIDIA_LIBRARIES[library].names, symbols);
	const driver = open("driver", driverSymbols);
	const count = new OutParameter();
	const status = driver.symbols.cuInit(0) || driver.symbols.cuDeviceGetCount(count.buffer);
	if (status !== 0 || count.int === 0) {
		throw new LibraryError(
			`Cannot use the CUDA driver ${driver.path}: ` +
				(status !== 0 ? `it answers with error ${status}` : "it finds no device"),
		);
	}
	const nvrtc = open("nvrtc", nvrtcSymbols);
	const cublas = open("cublas", cublasSymbols);
	let cudnn: Cudnn | undefined, nccl: Nccl | undefined;
	const major = new OutParameter();
	const minor = new OutParameter();
	nvrtc.symbols.nvrtcVersion(major.buffer, minor.buffer);
	return {
		kind: "cuda",
		identity: `nvrtc ${major.int}.${minor.int} ${nvrtc.path}`,
		paths: { driver: driver.path, nvrtc: nvrtc.path, cublas: cublas.path },
		driver: driver.symbols,
		nvrtc: nvrtc.symbols,
		cublas: cublas.symbols,
		cudnn: () =>
			cudnn ??= openLibrary("cuDNN", versioned("libcudnn.so", [9, 8]), cudnnSymbols).symbols,
		// deno-lint-ignore require-await -- the host driver's takes a while
		nccl: async () =>
			nccl ??= openLibrary("NCCL", versioned("libnccl.so", [2]), ncclSymbols).symbols,
	};
}
