// A failed C call as an exception that carries its cause: the function, its code and NVIDIA's words.

import { OutParameter, textAt } from "../ffi/c_memory.ts";
import type { Libraries } from "../ffi/libraries.ts";

/** Thrown when a function of the CUDA driver, NVRTC, cuBLAS or cuDNN fails. */
export class CudaError extends Error {
  /** Name of the class. */
  override readonly name = "CudaError";
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

/** Throws a {@linkcode CudaError} unless `code` is 0; `context` adds what was attempted. */
export function checkDriver(
  libraries: Libraries,
  functionName: string,
  code: number,
  context?: string,
): void {
  if (code === 0) return;
  const out = new OutParameter();
  const text = (get: "cuGetErrorName" | "cuGetErrorString") =>
    libraries.driver[get](code, out.buffer) === 0 ? textAt(out.pointer) : "unknown";
  const meaning = `${text("cuGetErrorName")} (${text("cuGetErrorString")})`;
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
  const meaning = textAt(libraries.cublas.cublasGetStatusString(code));
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
