// Arithmetic of two tensors that are broadcast together, or of a tensor and a number: an operand whose
// pointer is null is `number_a` or `number_b` everywhere.
#include "math.cuh"
#include "strided.cuh"

#define OPERATION(name, type, of_value)                                             \
  struct f_##name {                                                                 \
    __device__ __forceinline__ static type value(type a, type b) { return of_value; } \
  };

OPERATION(add, float, a + b)
OPERATION(sub, float, a - b)
OPERATION(mul, float, a *b)
OPERATION(div, float, a / b)
OPERATION(pow, float, powf(a, b))
// NaN in either operand is the result.
OPERATION(maximum, float, b != b || a < b ? b : a)
OPERATION(minimum, float, b != b || b < a ? b : a)
// Whole numbers wrap around, as on a GPU; C++ says so of unsigned ones alone.
OPERATION(add_whole, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
OPERATION(sub_whole, int, static_cast<int>(static_cast<unsigned>(a) - static_cast<unsigned>(b)))
OPERATION(mul_whole, int, static_cast<int>(static_cast<unsigned>(a) * static_cast<unsigned>(b)))
OPERATION(maximum_whole, int, a < b ? b : a)
OPERATION(minimum_whole, int, b < a ? b : a)

// e: extents of the axes around a row; s and t: the operands' strides along a row (sc, tc) and around it.
#define BINARY(name, function, dtype, type, value_type)                                            \
  extern "C" __global__ void binary_##name##_##dtype(                                              \
      type *y, const type *a, const type *b, value_type number_a, value_type number_b,             \
      long long rows, long long columns, long long sc, long long tc, int e0, int e1, int e2,       \
      int e3, int e4, long long s0, long long s1, long long s2, long long s3, long long s4,        \
      long long t0, long long t1, long long t2, long long t3, long long t4) {                      \
    layout<2> over = {rows, columns, {e0, e1, e2, e3, e4}, {sc, tc},                               \
                      {{s0, s1, s2, s3, s4}, {t0, t1, t2, t3, t4}}};                               \
    binary<f_##function>(y, a, b, number_a, number_b, over);                                       \
  }

BINARY(add, add, float32, float, float)
BINARY(sub, sub, float32, float, float)
BINARY(mul, mul, float32, float, float)
BINARY(div, div, float32, float, float)
BINARY(pow, pow, float32, float, float)
BINARY(maximum, maximum, float32, float, float)
BINARY(minimum, minimum, float32, float, float)
BINARY(add, add, bfloat16, bfloat16, float)
BINARY(sub, sub, bfloat16, bfloat16, float)
BINARY(mul, mul, bfloat16, bfloat16, float)
BINARY(div, div, bfloat16, bfloat16, float)
BINARY(pow, pow, bfloat16, bfloat16, float)
BINARY(maximum, maximum, bfloat16, bfloat16, float)
BINARY(minimum, minimum, bfloat16, bfloat16, float)
BINARY(add, add_whole, int32, int, int)
BINARY(sub, sub_whole, int32, int, int)
BINARY(mul, mul_whole, int32, int, int)
BINARY(maximum, maximum_whole, int32, int, int)
BINARY(minimum, minimum_whole, int32, int, int)
