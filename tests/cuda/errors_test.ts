// A failed C call as an exception: the function, its code, NVIDIA's name and words, and what was tried.

import { assertEquals, assertThrows } from "@std/assert";
import { checkCublas, checkDriver, CudaError } from "../../src/cuda/errors.ts";
import { openDevice } from "./kernels/bench.ts";

const { libraries } = await openDevice();

Deno.test("success throws nothing", () => {
  checkDriver(libraries, "cuInit", 0);
  checkCublas(libraries, "cublasCreate_v2", 0, "context");
});

Deno.test("a driver error carries its name, its words and the context", () => {
  const error = assertThrows(
    () => checkDriver(libraries, "cuLaunchKernel", 700, "kernel k"),
    CudaError,
  );
  assertEquals([error.name, error.function, error.code], ["CudaError", "cuLaunchKernel", 700]);
  assertEquals(
    error.message,
    "cuLaunchKernel failed with code 700: CUDA_ERROR_ILLEGAL_ADDRESS " +
      "(an illegal memory access was encountered); kernel k",
  );
});

Deno.test("a code that the driver does not know is told as such", () => {
  const error = assertThrows(() => checkDriver(libraries, "cuInit", 54321), CudaError);
  assertEquals(error.message, "cuInit failed with code 54321: unknown (unknown)");
});

Deno.test("a cuBLAS status carries its words", () => {
  const error = assertThrows(() => checkCublas(libraries, "cublasCreate_v2", 1), CudaError);
  assertEquals(
    error.message,
    "cublasCreate_v2 failed with code 1: CUBLAS_STATUS_NOT_INITIALIZED (the library was not initialized)",
  );
});
