// Functions of one tensor, element by element, and their derivatives.
#include "functions.cuh"

template <class F, class T>
__device__ void forward(T *__restrict__ y, const T *__restrict__ x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = from_float<T>(F::value(to_float(x[i])));
  }
}

// `saved` is x or y.
template <class F, class T>
__device__ void backward(T *__restrict__ dx, const T *__restrict__ g, const T *__restrict__ saved,
                         long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    dx[i] = from_float<T>(F::backward(to_float(g[i]), to_float(saved[i])));
  }
}

#define UNARY(name)                                                                                \
  extern "C" __global__ void unary_##name##_float32(float *y, const float *x, long long count) {   \
    forward<f_##name>(y, x, count);                                                                \
  }                                                                                                \
  extern "C" __global__ void unary_##name##_bfloat16(bfloat16 *y, const bfloat16 *x,               \
                                                     long long count) {                            \
    forward<f_##name>(y, x, count);                                                                \
  }                                                                                                \
  extern "C" __global__ void unary_##name##_backward_float32(                                      \
      float *dx, const float *g, const float *saved, long long count) {                            \
    backward<f_##name>(dx, g, saved, count);                                                       \
  }                                                                                                \
  extern "C" __global__ void unary_##name##_backward_bfloat16(                                     \
      bfloat16 *dx, const bfloat16 *g, const bfloat16 *saved, long long count) {                   \
    backward<f_##name>(dx, g, saved, count);                                                       \
  }

UNARY(abs)
UNARY(square)
UNARY(log)
UNARY(log1p)
UNARY(erf)
UNARY(exp)
UNARY(expm1)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(reciprocal)
UNARY(tanh)
UNARY(sigmoid)

// sin and cos. Beyond LARGEST_ANGLE libm takes over, which does not vectorize: on the host by pieces that hold
// such an angle (or NaN), on a GPU always, where it is the quicker way for small angles too.
template <int QUARTERS, class Result>
__device__ void periodic(const float *angle, int count, Result result) {
  if (WARP == 1) {
    unsigned largest = 0;
    for (int i = 0; i < count; i++) {
      unsigned size = magnitude(angle[i]);
      largest = size > largest ? size : largest;
    }
    if (largest <= __float_as_uint(LARGEST_ANGLE)) {
      for (int i = 0; i < count; i++) result(i, sin_of_quarters(angle[i], QUARTERS));
      return;
    }
  }
  for (int i = 0; i < count; i++) result(i, QUARTERS == 0 ? sinf(angle[i]) : cosf(angle[i]));
}

constexpr int ANGLES = WARP == 1 ? 256 : 1;  // of a piece

template <int QUARTERS, class T>
__device__ void periodic_forward(T *__restrict__ y, const T *__restrict__ x, long long count) {
  long long end = span_end(count);
  for (long long i = span_begin(count); i < end; i += span_step() * ANGLES) {
    int length = end - i < ANGLES ? static_cast<int>(end - i) : ANGLES;
    float angle[ANGLES];
    for (int k = 0; k < length; k++) angle[k] = to_float(x[i + k]);
    periodic<QUARTERS>(angle, length, [=](int k, float value) { y[i + k] = from_float<T>(value); });
  }
}

template <int QUARTERS, class T>
__device__ void periodic_backward(T *__restrict__ dx, const T *__restrict__ g,
                                  const T *__restrict__ x, long long count) {
  long long end = span_end(count);
  for (long long i = span_begin(count); i < end; i += span_step() * ANGLES) {
    int length = end - i < ANGLES ? static_cast<int>(end - i) : ANGLES;
    float angle[ANGLES];
    for (int k = 0; k < length; k++) angle[k] = to_float(x[i + k]);
    periodic<1 - QUARTERS>(angle, length, [=](int k, float value) {
      dx[i + k] = from_float<T>(to_float(g[i + k]) * (QUARTERS == 0 ? value : -value));
    });
  }
}

#define PERIODIC(name, quarters, dtype, type)                                                      \
  extern "C" __global__ void unary_##name##_##dtype(type *y, const type *x, long long count) {     \
    periodic_forward<quarters>(y, x, count);                                                       \
  }                                                                                                \
  extern "C" __global__ void unary_##name##_backward_##dtype(type *dx, const type *g,              \
                                                             const type *x, long long count) {     \
    periodic_backward<quarters>(dx, g, x, count);                                                  \
  }

PERIODIC(sin, 0, float32, float)
PERIODIC(cos, 1, float32, float)
PERIODIC(sin, 0, bfloat16, bfloat16)
PERIODIC(cos, 1, bfloat16, bfloat16)

// Functions whose gradients take no other kernel: -g, and 0 of those that are flat almost everywhere.
struct f_neg {
  __device__ __forceinline__ static float value(float x) { return -x; }
};
struct f_sign {
  __device__ __forceinline__ static float value(float x) { return sign_of(x); }
};
struct f_floor {
  __device__ __forceinline__ static float value(float x) { return floorf(x); }
};
struct f_round {
  __device__ __forceinline__ static float value(float x) { return rintf(x); }
};

#define FORWARD(name, dtype, type)                                                                 \
  extern "C" __global__ void unary_##name##_##dtype(type *y, const type *x, long long count) {     \
    forward<f_##name>(y, x, count);                                                                \
  }

FORWARD(neg, float32, float)
FORWARD(sign, float32, float)
FORWARD(floor, float32, float)
FORWARD(round, float32, float)
FORWARD(neg, bfloat16, bfloat16)
FORWARD(sign, bfloat16, bfloat16)
FORWARD(floor, bfloat16, bfloat16)
FORWARD(round, bfloat16, bfloat16)

// NaN stays NaN. The gradient passes where x lies within the limits.
#define CLAMP(dtype, type)                                                                         \
  extern "C" __global__ void unary_clamp_##dtype(type *y, const type *x, float low, float high,    \
                                                 long long count) {                                \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      float value = to_float(x[i]);                                                                \
      value = value < low ? low : value;                                                           \
      y[i] = from_float<type>(value > high ? high : value);                                        \
    }                                                                                              \
  }                                                                                                \
  extern "C" __global__ void unary_clamp_backward_##dtype(                                         \
      type *dx, const type *g, const type *x, float low, float high, long long count) {            \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      float value = to_float(x[i]);                                                                \
      dx[i] = from_float<type>((value >= low) & (value <= high) ? to_float(g[i]) : 0.0f);          \
    }                                                                                              \
  }

CLAMP(float32, float)
CLAMP(bfloat16, bfloat16)
