// Compiles kernel sources with NVRTC (NVIDIA's, or the host driver's), through the cache on disk.

import { addressOf, cString, fixedBuffer, OutParameter, textAt, textIn } from "../ffi/c_memory.ts";
import type { Libraries, Nvrtc } from "../ffi/libraries.ts";
import { CompileError, CudaError } from "./errors.ts";
import dequantize from "./kernels/dequantize.cuh" with { type: "text" };
import functions from "./kernels/functions.cuh" with { type: "text" };
import grids from "./kernels/grids.cuh" with { type: "text" };
import math from "./kernels/math.cuh" with { type: "text" };
import prelude from "./kernels/prelude.cuh" with { type: "text" };
import strided from "./kernels/strided.cuh" with { type: "text" };
import { cachePath, readCached, writeCached } from "./module_cache.ts";

/** What sources can include. */
const HEADERS: Record<string, string> = {
	"dequantize.cuh": dequantize,
	"functions.cuh": functions,
	"grids.cuh": grids,
	"math.cuh": math,
	"prelude.cuh": prelude,
	"strided.cuh": strided,
};

/** The headers that a text includes, and those that they include. */
function includedBy(text: string): string[] {
	const names = [...text.matchAll(/#include "(\w+\.cuh)"/g)].map(([, name]) => name!);
	return names.flatMap((name) => [HEADERS[name] ?? "", ...includedBy(HEADERS[name] ?? "")]);
}

/** A source to compile. */
export interface KernelSource {
	/** File name for the compiler's messages, such as `"softmax.cu"`. */
	name: string;
	/** CUDA C++; the headers in `kernels/` can be included. */
	text: string;
}

/** What the compiler made of a source. */
export interface Compilation {
	/** The code for the device. */
	binary: Uint8Array<ArrayBuffer>;
	/** The compiler's words, such as warnings. */
	log: string;
}

/** The options that a source is compiled with for an architecture such as `"sm_90"`. */
export function compilerOptions(architecture: string): string[] {
	return [`--gpu-architecture=${architecture}`, "--std=c++17"];
}

/** A source in NVRTC's hands: between its two functions the caller compiles it, waiting or not. */
class Program implements Disposable {
	/** What to call `nvrtcCompileProgram` with. */
	readonly call: [program: number, options: number, texts: Uint8Array<ArrayBuffer>];
	readonly #nvrtc: Nvrtc;
	readonly #name: string;
	readonly #program = new OutParameter();
	readonly #held: Uint8Array[] = []; // what C points to

	constructor(nvrtc: Nvrtc, source: KernelSource, options: string[]) {
		this.#nvrtc = nvrtc;
		this.#name = source.name;
		this.#check(
			"nvrtcCreateProgram",
			nvrtc.nvrtcCreateProgram(
				this.#program.buffer,
				cString(source.text),
				cString(source.name),
				Object.keys(HEADERS).length,
				this.#strings(Object.values(HEADERS)),
				this.#strings(Object.keys(HEADERS)),
			),
		);
		this.call = [this.#program.size, options.length, this.#strings(options)];
	}

	/** What a compilation that ended with `status` gave. */
	result(status: number): Compilation {
		const nvrtc = this.#nvrtc, [program] = this.call, size = new OutParameter();
		let log = "";
		if (nvrtc.nvrtcGetProgramLogSize(program, size.buffer) === 0) {
			const buffer = fixedBuffer(Math.max(1, size.size));
			nvrtc.nvrtcGetProgramLog(program, buffer);
			log = textIn(buffer);
		}
		this.#check("nvrtcCompileProgram", status, log || "the compiler gave no reason");
		this.#check("nvrtcGetCUBINSize", nvrtc.nvrtcGetCUBINSize(program, size.buffer));
		const binary = fixedBuffer(size.size);
		this.#check("nvrtcGetCUBIN", nvrtc.nvrtcGetCUBIN(program, binary));
		return { binary, log };
	}

	[Symbol.dispose](): void {
		this.#nvrtc.nvrtcDestroyProgram(this.#program.buffer);
		this.#held.length = 0;
	}

	#strings(texts: string[]): Uint8Array<ArrayBuffer> {
		const buffers = texts.map(cString), pointers = fixedBuffer(8 * Math.max(1, texts.length));
		new BigUint64Array(pointers.buffer).set(buffers.map(addressOf));
		this.#held.push(...buffers, pointers);
		return pointers;
	}

	#check(name: string, code: number, log?: string): void {
		if (code === 0) return;
		const meaning = textAt(this.#nvrtc.nvrtcGetErrorString(code));
		if (log === undefined) throw new CudaError(name, code, meaning);
		throw new CompileError(name, code, meaning, this.#name, log);
	}
}

/**
 * Compiles a source; needs no device, and may run several times at once.
 *
 * @throws {CompileError} if the source does not compile, with the compiler's words
 */
export async function compile(
	nvrtc: Nvrtc,
	source: KernelSource,
	options: string[],
): Promise<Compilation> {
	using program = new Program(nvrtc, source, options);
	return program.result(await nvrtc.nvrtcCompileProgram(...program.call));
}

/** The same, blocking the thread. */
export function compileSync(nvrtc: Nvrtc, source: KernelSource, options: string[]): Compilation {
	using program = new Program(nvrtc, source, options);
	return program.result(nvrtc.nvrtcCompileProgramSync(...program.call));
}

/** Where the compiled form of a source is kept. */
function pathOf(libraries: Libraries, { name, text }: KernelSource, options: string[]): string {
	return cachePath([libraries.identity, ...includedBy(text), name, text, ...options]);
}

/**
 * The compiled form of a source for one architecture, from the cache or newly made.
 *
 * @param architecture such as `"sm_90"`
 * @param onCompile called before a compilation starts
 * @throws {CompileError} if the source does not compile, with the compiler's words
 */
export async function compileCached(
	libraries: Libraries,
	source: KernelSource,
	architecture: string,
	onCompile?: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
	const options = compilerOptions(architecture), path = pathOf(libraries, source, options);
	const cached = readCached(path);
	if (cached) return cached;
	onCompile?.();
	const { binary } = await compile(libraries.nvrtc, source, options);
	writeCached(path, binary);
	return binary;
}

/** The same, blocking the thread. */
export function compileCachedSync(
	libraries: Libraries,
	source: KernelSource,
	architecture: string,
	onCompile?: () => void,
): Uint8Array<ArrayBuffer> {
	const options = compilerOptions(architecture), path = pathOf(libraries, source, options);
	const cached = readCached(path);
	if (cached) return cached;
	onCompile?.();
	const { binary } = compileSync(libraries.nvrtc, source, options);
	writeCached(path, binary);
	return binary;
}
