// The C types of the bound functions, as Deno's FFI spells them. Device pointers are numbers here, since
// user addresses stay below 2^53; Deno takes them as such, and quicker as bigints (docs/decisions.md).

/** An opaque pointer-sized handle (`CUstream`, `CUmodule`, `cublasHandle_t`, ...), kept as a bigint. */
export const HANDLE = "usize";
/** A `CUdeviceptr`. */
export const DEVICE_POINTER = "u64";
/** A pointer to memory of the caller: a typed array, or null. */
export const POINTER = "buffer";
/** A pointer to memory of the caller that does not move, as a pointer object. */
export const FIXED_POINTER = "pointer";
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
