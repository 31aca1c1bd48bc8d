// Conversions between types.
#include "prelude.cuh"

__device__ __forceinline__ float to_float(int value) { return static_cast<float>(value); }
__device__ __forceinline__ float to_float(unsigned char value) { return value; }

// Towards zero; what an int cannot hold becomes the nearest that it can, and NaN 0.
template <>
__device__ __forceinline__ int from_float<int>(float value) {
  float limited = value > -2147483648.0f ? value : -2147483648.0f;
  limited = value != value ? 0.0f : limited;
  return limited < 2147483648.0f ? static_cast<int>(limited) : 2147483647;
}

#define CAST(from, from_type, to, to_type)                                                         \
  extern "C" __global__ void cast_##from##_to_##to(                                                \
      to_type *__restrict__ y, const from_type *__restrict__ x, long long count) {                 \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      y[i] = from_float<to_type>(to_float(x[i]));                                                  \
    }                                                                                              \
  }

CAST(float32, float, bfloat16, bfloat16)
CAST(bfloat16, bfloat16, float32, float)
CAST(int32, int, float32, float)
CAST(float32, float, int32, int)
CAST(uint8, unsigned char, float32, float)
