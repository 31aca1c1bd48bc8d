// Gradients of reductions over the middle axis of x [outer, reduced, inner]: the gradient of each result goes
// to the elements that it came from.
#include "prelude.cuh"

// What an element x takes of the gradient g of its result; `a` and `b` are values of the result's place, 1 and
// 0 where there are none.

// Of Σ (x - b)² / 2, divided by a, which is 0 only if all gradients are.
struct Centered {
  static __device__ __forceinline__ float share(float x, float g, float a, float b) {
    return a == 0 ? 0.0f : g / a * (x - b);
  }
};
// Of log Σ exp x, which is b.
struct Exp {
  static __device__ __forceinline__ float share(float x, float g, float, float b) {
    return g * exp2_nonpositive((x - b) * 1.44269504f);
  }
};
// Of Σ |x|.
struct Sign {
  static __device__ __forceinline__ float share(float x, float g, float, float) {
    return x > 0 ? g : x < 0 ? -g : x == 0 ? 0.0f : x;
  }
};
// Of an extremum b that `a` elements have.
struct Equal {
  static __device__ __forceinline__ float share(float x, float g, float a, float b) {
    return same(x, b) ? g / a : 0.0f;
  }
};
struct EqualAbsolute {
  static __device__ __forceinline__ float share(float x, float g, float a, float b) {
    return Sign::share(x, Equal::share(absolute(x), g, a, b), 0, 0);
  }
};
// Of a product: g is multiplied by the product of the elements that are not 0 already, and b are 0.
struct Factor {
  static __device__ __forceinline__ float share(float x, float g, float a, float b) {
    return b == 0 ? g * a / x : b == 1 && x == 0 ? g * a : 0.0f;
  }
};

// dx = scale · share of Op; g, a and b [outer, inner], where a and b may be null.
template <class Op, class T>
__device__ void spread(T *__restrict__ dx, const T *__restrict__ x, const float *__restrict__ g,
                       const float *__restrict__ a, const float *__restrict__ b, int outer, int reduced,
                       int inner, float scale) {
  if (inner == 1) {
    for (int row = row_begin(outer); row < row_end(outer); row += row_step()) {
      const T *from = x + static_cast<long long>(row) * reduced;
      T *to = dx + static_cast<long long>(row) * reduced;
      float gradient = scale * g[row], first = a ? a[row] : 1.0f, second = b ? b[row] : 0.0f;
      for (int c = lane(); c < reduced; c += WARP) {
        to[c] = from_float<T>(Op::share(to_float(from[c]), gradient, first, second));
      }
    }
    return;
  }
  long long rows = static_cast<long long>(outer) * reduced;
  for (long long row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + row * inner;
    T *to = dx + row * inner;
    long long place = row / reduced * inner;
    for (int c = lane(); c < inner; c += WARP) {
      float first = a ? a[place + c] : 1.0f, second = b ? b[place + c] : 0.0f;
      to[c] = from_float<T>(Op::share(to_float(from[c]), scale * g[place + c], first, second));
    }
  }
}

#define SPREAD(NAME, OP, TYPE, T)                                                                  \
  extern "C" __global__ void spread_##NAME##_##TYPE(T *dx, const T *x, const float *g,             \
                                                    const float *a, const float *b, int outer,     \
                                                    int reduced, int inner, float scale) {         \
    spread<OP>(dx, x, g, a, b, outer, reduced, inner, scale);                                      \
  }
SPREAD(centered, Centered, float32, float)
SPREAD(exp, Exp, float32, float)
SPREAD(sign, Sign, float32, float)
SPREAD(equal, Equal, float32, float)
SPREAD(equal, Equal, bfloat16, bfloat16)
SPREAD(equal_absolute, EqualAbsolute, float32, float)
SPREAD(factor, Factor, float32, float)
