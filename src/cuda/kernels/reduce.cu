// Reductions of x [outer, reduced, inner] over its middle axis. Rows (inner = 1) are walked by a warp each,
// columns in tiles by a warp each. What would leave warps idle is cut into `parts` along the reduced axis,
// whose results [outer, parts, inner] a second launch reduces: the order is fixed, and a sum's error small.
#include "prelude.cuh"

template <>
__device__ __forceinline__ unsigned char from_float<unsigned char>(float value) {
  return static_cast<unsigned char>(value);
}

// An operation: what it starts with, what it makes of an element (beside the center of its row or column),
// and how two results become one. Maxima of NaN are NaN.
struct Sum {
  static __device__ __forceinline__ float start() { return 0; }
  static __device__ __forceinline__ float take(float x, float) { return x; }
  static __device__ __forceinline__ float merge(float a, float b) { return a + b; }
};
struct SumAbsolute : Sum {
  static __device__ __forceinline__ float take(float x, float) { return absolute(x); }
};
struct SumSquares : Sum {
  static __device__ __forceinline__ float take(float x, float center) {
    return (x - center) * (x - center);
  }
};
// The center is the maximum. If that is infinite, what counts is whether the sum is 0, is not, or is NaN.
struct SumExp : Sum {
  static __device__ __forceinline__ float take(float x, float center) {
    float below = x - (absolute(center) < infinity() ? center : 0.0f);
    return exp2_nonpositive((below > 0 ? 0.0f : below) * 1.44269504f);
  }
};
// How many elements equal the center: the ties of a maximum or minimum.
struct Count : Sum {
  static __device__ __forceinline__ float take(float x, float center) {
    return same(x, center) ? 1.0f : 0.0f;
  }
};
struct CountAbsolute : Sum {
  static __device__ __forceinline__ float take(float x, float center) {
    return Count::take(absolute(x), center);
  }
};
struct Product {
  static __device__ __forceinline__ float start() { return 1; }
  static __device__ __forceinline__ float take(float x, float) { return x; }
  static __device__ __forceinline__ float merge(float a, float b) { return a * b; }
};
struct ProductOfNonzero : Product {
  static __device__ __forceinline__ float take(float x, float) { return x == 0 ? 1.0f : x; }
};
struct Max {
  static __device__ __forceinline__ float start() { return -infinity(); }
  static __device__ __forceinline__ float take(float x, float) { return x; }
  static __device__ __forceinline__ float merge(float a, float b) {
    return (b > a) | (b != b) ? b : a;
  }
};
struct MaxAbsolute : Max {
  static __device__ __forceinline__ float start() { return 0; }
  static __device__ __forceinline__ float take(float x, float) { return absolute(x); }
};
struct Min {
  static __device__ __forceinline__ float start() { return infinity(); }
  static __device__ __forceinline__ float take(float x, float) { return x; }
  static __device__ __forceinline__ float merge(float a, float b) {
    return (b < a) | (b != b) ? b : a;
  }
};
// Whether any, or every, element differs from 0.
struct Any : Max {
  static __device__ __forceinline__ float start() { return 0; }
  static __device__ __forceinline__ float take(float x, float) { return x != 0 ? 1.0f : 0.0f; }
};
struct All : Min {
  static __device__ __forceinline__ float start() { return 1; }
  static __device__ __forceinline__ float take(float x, float) { return x != 0 ? 1.0f : 0.0f; }
};

template <class Op>
__device__ __forceinline__ float merge_lanes(float value) {
#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
  for (int offset = WARP / 2; offset; offset /= 2) {
    value = Op::merge(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
#endif
  return value;
}

// Many results side by side, so that no element waits for the one before it.
template <class Op, class T>
__device__ __forceinline__ float reduce_row(const T *__restrict__ from, int count, float center) {
  constexpr int AT_ONCE = WARP == 1 ? 64 : 1;
  int j = lane();
  float result = Op::start();
  if (AT_ONCE * WARP <= count) {
    float partial[AT_ONCE];
    for (int t = 0; t < AT_ONCE; t++) partial[t] = Op::start();
    for (; j + AT_ONCE <= count; j += WARP * AT_ONCE) {
      for (int t = 0; t < AT_ONCE; t++) {
        partial[t] = Op::merge(partial[t], Op::take(to_float(from[j + t]), center));
      }
    }
    for (int width = AT_ONCE / 2; width; width /= 2) {
      for (int t = 0; t < width; t++) partial[t] = Op::merge(partial[t], partial[t + width]);
    }
    result = partial[0];
  }
  for (; j < count; j += WARP) result = Op::merge(result, Op::take(to_float(from[j]), center));
  return merge_lanes<Op>(result);
}

// y [rows, parts] = scale · what Op makes of a part of a row of x [rows, columns]. center [rows], or null
// for 0.
template <class Op, class T, class Y>
__device__ void reduce_rows(Y *__restrict__ y, const T *__restrict__ x,
                            const float *__restrict__ center, int rows, long long columns, int parts,
                            float scale) {
  long long items = static_cast<long long>(rows) * parts;
  for (long long item = row_begin(items); item < row_end(items); item += row_step()) {
    long long row = item / parts, part = item % parts;
    long long begin = columns * part / parts, end = columns * (part + 1) / parts;
    float value = reduce_row<Op>(x + row * columns + begin, static_cast<int>(end - begin),
                                 center ? center[row] : 0.0f);
    if (lane() == 0) y[item] = from_float<Y>(value * scale);
  }
}

// The same of columns: y [outer, parts, inner], x [outer, reduced, inner], center [outer, inner] or null.
template <class Op, class T, class Y>
__device__ void reduce_columns(Y *__restrict__ y, const T *__restrict__ x,
                               const float *__restrict__ center, int outer, long long reduced,
                               long long inner, int parts, float scale) {
  constexpr int EACH = WARP == 1 ? 512 : 2;  // columns a lane; on the host a few KB of each row
  long long tiles = (inner + EACH * WARP - 1) / (EACH * WARP), items = outer * parts * tiles;
  for (long long item = row_begin(items); item < row_end(items); item += row_step()) {
    long long first = item % tiles * EACH * WARP, piece = item / tiles, o = piece / parts;
    long long begin = reduced * (piece % parts) / parts, end = reduced * (piece % parts + 1) / parts;
    int width = static_cast<int>(inner - first < EACH * WARP ? inner - first : EACH * WARP);
    int each = WARP == 1 ? width : EACH;  // a constant where there are registers for it
    float value[EACH], middle[EACH];
    for (int t = 0; t < each; t++) {
      int c = t * WARP + lane();
      value[t] = Op::start();
      middle[t] = center && c < width ? center[o * inner + first + c] : 0.0f;
    }
    const T *from = x + (o * reduced + begin) * inner + first;
    for (long long r = begin; r < end; r++, from += inner) {
      for (int t = 0; t < each; t++) {
        int c = t * WARP + lane();
        if (c < width) value[t] = Op::merge(value[t], Op::take(to_float(from[c]), middle[t]));
      }
    }
    for (int t = 0; t < each; t++) {
      int c = t * WARP + lane();
      if (c < width) y[piece * inner + first + c] = from_float<Y>(value[t] * scale);
    }
  }
}

#define REDUCTION(NAME, OP, TYPE, T, Y)                                                            \
  extern "C" __global__ void NAME##_rows_##TYPE(Y *y, const T *x, const float *center, int rows,   \
                                                long long columns, int parts, float scale) {       \
    reduce_rows<OP>(y, x, center, rows, columns, parts, scale);                                    \
  }                                                                                                \
  extern "C" __global__ void NAME##_columns_##TYPE(Y *y, const T *x, const float *center,          \
                                                   int outer, long long reduced, long long inner,  \
                                                   int parts, float scale) {                       \
    reduce_columns<OP>(y, x, center, outer, reduced, inner, parts, scale);                         \
  }
REDUCTION(sum, Sum, float32, float, float)
REDUCTION(sum, Sum, bfloat16, bfloat16, float)
REDUCTION(sum_absolute, SumAbsolute, float32, float, float)
REDUCTION(sum_squares, SumSquares, float32, float, float)
REDUCTION(sum_exp, SumExp, float32, float, float)
REDUCTION(count, Count, float32, float, float)
REDUCTION(count, Count, bfloat16, bfloat16, float)
REDUCTION(count_absolute, CountAbsolute, float32, float, float)
REDUCTION(prod, Product, float32, float, float)
REDUCTION(prod_nonzero, ProductOfNonzero, float32, float, float)
REDUCTION(max, Max, float32, float, float)
REDUCTION(max, Max, bfloat16, bfloat16, float)
REDUCTION(max_absolute, MaxAbsolute, float32, float, float)
REDUCTION(min, Min, float32, float, float)
REDUCTION(min, Min, bfloat16, bfloat16, float)
REDUCTION(any, Any, uint8, unsigned char, unsigned char)
REDUCTION(all, All, uint8, unsigned char, unsigned char)

// y = √y: of sums of squares.
extern "C" __global__ void root_in_place(float *y, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) y[i] = sqrtf(y[i]);
}

// y = log y + x: of sums of exponentials beside their maxima.
extern "C" __global__ void log_plus_in_place(float *__restrict__ y, const float *__restrict__ x,
                                             long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) y[i] = logf(y[i]) + x[i];
}
