// Compiles kernel sources with NVRTC (NVIDIA's, or the host driver's), through the cache on disk.

import { addressOf, cString, fixedBuffer, OutParameter, textAt, textIn } from "../ffi/c_memory.ts";
import type { Libraries, Nvrtc } from "../ffi/libraries.ts";
import { CompileError, CudaError } from "./errors.ts";
import dequantize from "./kernels/dequantize.cuh" with { type: "text" };
import functions from "./kernels/functions.cuh" with { type: "text" };
import math from "./kernels/math.cuh" with { type: "text" };
import prelude from "./kernels/prelude.cuh" with { type: "text" };
import strided from "./kernels/strided.cuh" with { type: "text" };
import { cachePath, readCached, writeCached } from "./module_cache.ts";

/** What sources can include. */
const HEADERS: Record<string, string> = {
  "dequantize.cuh": dequantize,
  "functions.cuh": functions,
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

/**
 * Compiles a source; needs no device, and may run several times at once.
 *
 * @throws {CudaError} if the source does not compile, with the compiler's words
 */
export async function compile(
  nvrtc: Nvrtc,
  source: KernelSource,
  options: string[],
): Promise<Compilation> {
  const check = (name: string, code: number, log?: string) => {
    if (code === 0) return;
    const meaning = textAt(nvrtc.nvrtcGetErrorString(code));
    if (log === undefined) throw new CudaError(name, code, meaning);
    throw new CompileError(name, code, meaning, source.name, log);
  };
  const strings = (texts: string[]) => {
    const buffers = texts.map(cString);
    const pointers = fixedBuffer(8 * Math.max(1, texts.length));
    new BigUint64Array(pointers.buffer).set(buffers.map(addressOf));
    return { pointers, buffers }; // the caller holds `buffers` while C reads `pointers`
  };
  const headers = strings(Object.values(HEADERS));
  const headerNames = strings(Object.keys(HEADERS));
  const optionStrings = strings(options);
  const program = new OutParameter();
  const size = new OutParameter();
  check(
    "nvrtcCreateProgram",
    nvrtc.nvrtcCreateProgram(
      program.buffer,
      cString(source.text),
      cString(source.name),
      headers.buffers.length,
      headers.pointers,
      headerNames.pointers,
    ),
  );
  const handle = program.size;
  try {
    const status = await nvrtc.nvrtcCompileProgram(handle, options.length, optionStrings.pointers);
    let log = "";
    if (nvrtc.nvrtcGetProgramLogSize(handle, size.buffer) === 0) {
      const buffer = fixedBuffer(Math.max(1, size.size));
      nvrtc.nvrtcGetProgramLog(handle, buffer);
      log = textIn(buffer);
    }
    check("nvrtcCompileProgram", status, log || "the compiler gave no reason");
    check("nvrtcGetCUBINSize", nvrtc.nvrtcGetCUBINSize(handle, size.buffer));
    const binary = fixedBuffer(size.size);
    check("nvrtcGetCUBIN", nvrtc.nvrtcGetCUBIN(handle, binary));
    return { binary, log };
  } finally {
    nvrtc.nvrtcDestroyProgram(program.buffer);
    // Keeps what C points to alive until here.
    void [headers.buffers, headerNames.buffers, optionStrings.buffers];
  }
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
  const options = compilerOptions(architecture);
  const path = cachePath([
    libraries.identity,
    ...includedBy(source.text),
    source.name,
    source.text,
    ...options,
  ]);
  const cached = readCached(path);
  if (cached) return cached;
  onCompile?.();
  const { binary } = await compile(libraries.nvrtc, source, options);
  writeCached(path, binary);
  return binary;
}
