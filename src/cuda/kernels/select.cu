// Elementwise functions of three tensors that are broadcast together: a choice between two of them, and
// gradients of two operands. `b` or `c` whose pointer is null is `number_b` or `number_c` everywhere.
#include "math.cuh"
#include "strided.cuh"

struct f_where {
  template <class T>
  __device__ __forceinline__ static T value(int condition, T b, T c) {
    return condition ? b : c;
  }
};

// From the gradient g of b ∘ c, that of b; where the two are equal, each has half of a maximum's.
#define GRADIENT(name, of_value)                                                                \
  struct f_##name {                                                                             \
    __device__ __forceinline__ static float value(float g, float b, float c) { return of_value; } \
  };

GRADIENT(div_denominator, -g *(b / c) / c)
GRADIENT(maximum, b < c ? 0.0f : b == c ? 0.5f * g : g)
GRADIENT(minimum, c < b ? 0.0f : b == c ? 0.5f * g : g)
GRADIENT(pow_base, c == 0 ? 0.0f : g *c *powf(b, c - 1.0f))
GRADIENT(pow_exponent, (b == 0) & (c >= 0) ? 0.0f : g *powf(b, c) * fast_log(b))

// e: extents of the axes around a row; s, t and u: the operands' strides along a row (sc, tc, uc) and around it.
#define TERNARY(name, dtype, type, a_type, value_type)                                             \
  extern "C" __global__ void select_##name##_##dtype(                                              \
      type *y, const a_type *a, const type *b, const type *c, value_type number_b,                 \
      value_type number_c, long long rows, long long columns, long long sc, long long tc,          \
      long long uc, int e0, int e1, int e2, int e3, int e4, long long s0, long long s1,            \
      long long s2, long long s3, long long s4, long long t0, long long t1, long long t2,          \
      long long t3, long long t4, long long u0, long long u1, long long u2, long long u3,          \
      long long u4) {                                                                              \
    layout<3> over = {rows, columns, {e0, e1, e2, e3, e4}, {sc, tc, uc},                           \
                      {{s0, s1, s2, s3, s4}, {t0, t1, t2, t3, t4}, {u0, u1, u2, u3, u4}}};         \
    ternary<f_##name>(y, a, b, c, number_b, number_c, over);                                       \
  }

TERNARY(where, float32, float, unsigned char, float)
TERNARY(where, bfloat16, bfloat16, unsigned char, float)
TERNARY(where, int32, int, unsigned char, int)
TERNARY(where, uint8, unsigned char, unsigned char, int)
TERNARY(div_denominator, float32, float, float, float)
TERNARY(div_denominator, bfloat16, bfloat16, bfloat16, float)
TERNARY(maximum, float32, float, float, float)
TERNARY(maximum, bfloat16, bfloat16, bfloat16, float)
TERNARY(minimum, float32, float, float, float)
TERNARY(minimum, bfloat16, bfloat16, bfloat16, float)
TERNARY(pow_base, float32, float, float, float)
TERNARY(pow_base, bfloat16, bfloat16, bfloat16, float)
TERNARY(pow_exponent, float32, float, float, float)
TERNARY(pow_exponent, bfloat16, bfloat16, bfloat16, float)
