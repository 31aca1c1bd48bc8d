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

UNARY(neg)
UNARY(abs)
UNARY(square)
UNARY(log)
UNARY(log1p)
UNARY(erf)
UNARY(silu)
UNARY(gelu)
UNARY(gelu_tanh)
UNARY(softplus)
UNARY(relu)
UNARY(exp)
UNARY(expm1)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(reciprocal)
UNARY(tanh)
UNARY(sigmoid)
