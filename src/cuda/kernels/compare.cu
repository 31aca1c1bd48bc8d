// Comparisons of two tensors that are broadcast together, or of a tensor and a number: 0 or 1 an element. An
// operand whose pointer is null is `number_a` or `number_b` everywhere.
#include "strided.cuh"

#define COMPARISON(name, of_value)                  \
  struct f_##name {                                 \
    template <class T>                              \
    __device__ __forceinline__ static int value(T a, T b) { \
      return of_value;                              \
    }                                               \
  };

COMPARISON(equal, a == b)
COMPARISON(not_equal, a != b)
COMPARISON(less, a < b)
COMPARISON(less_equal, a <= b)
COMPARISON(and, (a != 0) & (b != 0))
COMPARISON(or, (a != 0) | (b != 0))

// e: extents of the axes around a row; s and t: the operands' strides along a row (sc, tc) and around it.
#define COMPARE(name, dtype, type, value_type)                                                     \
  extern "C" __global__ void compare_##name##_##dtype(                                             \
      unsigned char *y, const type *a, const type *b, value_type number_a, value_type number_b,    \
      long long rows, long long columns, long long sc, long long tc, int e0, int e1, int e2,       \
      int e3, int e4, long long s0, long long s1, long long s2, long long s3, long long s4,        \
      long long t0, long long t1, long long t2, long long t3, long long t4) {                      \
    layout<2> over = {rows, columns, {e0, e1, e2, e3, e4}, {sc, tc},                               \
                      {{s0, s1, s2, s3, s4}, {t0, t1, t2, t3, t4}}};                               \
    binary<f_##name>(y, a, b, number_a, number_b, over);                                           \
  }

COMPARE(equal, float32, float, float)
COMPARE(not_equal, float32, float, float)
COMPARE(less, float32, float, float)
COMPARE(less_equal, float32, float, float)
COMPARE(equal, bfloat16, bfloat16, float)
COMPARE(not_equal, bfloat16, bfloat16, float)
COMPARE(less, bfloat16, bfloat16, float)
COMPARE(less_equal, bfloat16, bfloat16, float)
COMPARE(equal, int32, int, int)
COMPARE(not_equal, int32, int, int)
COMPARE(less, int32, int, int)
COMPARE(less_equal, int32, int, int)
COMPARE(equal, uint8, unsigned char, int)
COMPARE(not_equal, uint8, unsigned char, int)
COMPARE(and, uint8, unsigned char, int)
COMPARE(or, uint8, unsigned char, int)
