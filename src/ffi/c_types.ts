// The C types of the bound functions, as Deno's FFI spells them. Handles and device pointers are
// passed as plain numbers: user addresses stay below 2^53, and BigInt would be slow in hot paths.

/** An opaque pointer-sized handle (`CUstream`, `CUmodule`, `cublasHandle_t`, ...), passed as a number. */
export const HANDLE = "usize";
/** A `CUdeviceptr`, passed as a number. */
export const DEVICE_POINTER = "u64";
/** A pointer to memory of the caller: a typed array, or null. */
export const POINTER = "buffer";
/** A C `int`, and every C enumeration. */
export const INT = "i32";
/** A C `unsigned int`. */
export const UINT = "u32";
/** A C `size_t`. */
export const SIZE = "usize";
/** A C `long long`. */
export const LONG_LONG = "i64";
/** A returned `const char *`. */
export const C_STRING = "pointer";
/** The status code that a function returns. */
export const STATUS = "i32";
