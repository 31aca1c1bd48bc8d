// A failed C call as an exception that carries its cause: the function, its code and NVIDIA's words.

import { OutParameter, textAt } from "../ffi/c_memory.ts";
import type { Libraries } from "../ffi/libraries.ts";

/** Thrown when a function of the CUDA driver, NVRTC, cuBLAS or cuDNN fails. */
export class CudaError extends Error {
	/** Name of the class. */
	override readonly name: string = "CudaError";
	/** The C function that failed, such as `"cuMemAllocAsync"`. */
	readonly function: string;
	/** Its status code. */
	readonly code: number;

	/**
	 * Makes an error of a failed call.
	 *
	 * @param functionName the C function that failed
	 * @param code its status code
	 * @param text what the code means, and what was attempted
	 */
	constructor(functionName: string, code: number, text: string) {
		super(`${functionName} failed with code ${code}: ${text}`);
		this.function = functionName;
		this.code = code;
	}
}

/** What an {@linkcode OutOfMemoryError} knows. */
export interface OutOfMemory {
	/** Bytes asked for. */
	requested: number;
	/** What they were for. */
	label: string;
	/** Bytes that this library has allocated and not freed. */
	live: number;
	/** What holds them, by label, the largest first. */
	holders: readonly { label: string; bytes: number; count: number }[];
	/** Bytes of the device that nothing holds. */
	free: number;
	/** Bytes of the device. */
	total: number;
}

/** Thrown when the device has too little memory. The device stays usable: free some, and try again. */
export class OutOfMemoryError extends CudaError {
	/** Name of the class. */
	override readonly name = "OutOfMemoryError";
	/** What was asked for, and what holds the rest. */
	readonly memory: OutOfMemory;

	/** Makes the error of a failed allocation. */
	constructor(libraries: Libraries, functionName: string, memory: OutOfMemory) {
		const SHOWN = 5, OUT_OF_MEMORY = 2;
		const { requested, label, live, holders, free, total } = memory;
		const parts = holders.slice(0, SHOWN)
			.map(({ label, bytes, count }) => `${formatBytes(bytes)} ${label} (${count})`);
		if (holders.length > SHOWN) parts.push(`${holders.length - SHOWN} more`);
		super(
			functionName,
			OUT_OF_MEMORY,
			`${driverMeaning(libraries, OUT_OF_MEMORY)}; asked for ${
				formatBytes(requested)
			} (${label}) ` +
				`while ${formatBytes(live)} are in use${parts.length ? `: ${parts.join(", ")}` : ""}; ` +
				`${formatBytes(free)} of ${formatBytes(total)} are free`,
		);
		this.memory = memory;
	}
}

/** Thrown when a kernel does not compile, with the compiler's words. */
export class CompileError extends CudaError {
	/** Name of the class. */
	override readonly name = "CompileError";
	/** The file of the first error, as the source was named; undefined if the compiler names none. */
	readonly file: string | undefined;
	/** Its line, counted from 1. */
	readonly line: number | undefined;
	/** All that the compiler said. */
	readonly log: string;

	/** Makes the error of a failed compilation of the source `name`. */
	constructor(functionName: string, code: number, meaning: string, name: string, log: string) {
		super(functionName, code, `${meaning} while compiling ${name}:\n${log.trim()}`);
		// `file(line): error: …` is NVRTC's way, `file:line:column: error: …` GCC's.
		const first = /^(.+?)(?:\((\d+)\)|:(\d+)(?::\d+)?)\s*: (?:\w+ )?error\b/m.exec(log);
		this.file = first?.[1];
		this.line = first ? Number(first[2] ?? first[3]) : undefined;
		this.log = log;
	}
}

/** A number of bytes for people, such as `"1.5 GiB"`. */
export function formatBytes(bytes: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
	return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}

function driverMeaning(libraries: Libraries, code: number): string {
	const out = new OutParameter();
	const text = (get: "cuGetErrorName" | "cuGetErrorString") =>
		libraries.driver[get](code, out.buffer) === 0 ? textAt(out.pointer) : "unknown";
	return `${text("cuGetErrorName")} (${text("cuGetErrorString")})`;
}

/** Throws a {@linkcode CudaError} unless `code` is 0; `context` adds what was attempted. */
export function checkDriver(
	libraries: Libraries,
	functionName: string,
	code: number,
	context?: string,
): void {
	if (code === 0) return;
	const meaning = driverMeaning(libraries, code);
	fail(functionName, code, meaning, context);
}

/** The same for a status of cuBLAS. */
export function checkCublas(
	libraries: Libraries,
	functionName: string,
	code: number,
	context?: string,
): void {
	if (code === 0) return;
	const { cublas } = libraries;
	const meaning = `${textAt(cublas.cublasGetStatusName(code))} (${
		textAt(cublas.cublasGetStatusString(code))
	})`;
	fail(functionName, code, meaning, context);
}

/** The same for a status of cuDNN. */
export function checkCudnn(
	libraries: Libraries,
	functionName: string,
	code: number,
	context?: string,
): void {
	if (code === 0) return;
	fail(functionName, code, textAt(libraries.cudnn().cudnnGetErrorString(code)), context);
}

function fail(functionName: string, code: number, meaning: string, context?: string): never {
	throw new CudaError(functionName, code, context ? `${meaning}; ${context}` : meaning);
}
