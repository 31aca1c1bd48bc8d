// Activations of neural networks: y = f(x), or f(x + bias) with a bias a column, and their gradients.
#include "functions.cuh"

template <class F, class T>
__device__ void forward(T *__restrict__ y, const T *__restrict__ x, const T *__restrict__ bias,
                        int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long at = static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      y[at + c] = from_float<T>(F::value(to_float(x[at + c]) + to_float(bias[c])));
    }
  }
}

template <class F, class T>
__device__ void backward(T *__restrict__ dx, const T *__restrict__ g, const T *__restrict__ x,
                         const T *__restrict__ bias, int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long at = static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      float input = to_float(x[at + c]) + to_float(bias[c]);
      dx[at + c] = from_float<T>(F::backward(to_float(g[at + c]), input));
    }
  }
}

#define ACTIVATION(name, dtype, type)                                                              \
  extern "C" __global__ void unary_##name##_##dtype(                                               \
      type *__restrict__ y, const type *__restrict__ x, long long count) {                         \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      y[i] = from_float<type>(f_##name::value(to_float(x[i])));                                    \
    }                                                                                              \
  }                                                                                                \
  extern "C" __global__ void unary_##name##_backward_##dtype(                                      \
      type *__restrict__ dx, const type *__restrict__ g, const type *__restrict__ x,               \
      long long count) {                                                                           \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      dx[i] = from_float<type>(f_##name::backward(to_float(g[i]), to_float(x[i])));                \
    }                                                                                              \
  }                                                                                                \
  extern "C" __global__ void bias_##name##_##dtype(type *y, const type *x, const type *bias,       \
                                                   int rows, int columns) {                        \
    forward<f_##name>(y, x, bias, rows, columns);                                                  \
  }                                                                                                \
  extern "C" __global__ void bias_##name##_backward_##dtype(                                       \
      type *dx, const type *g, const type *x, const type *bias, int rows, int columns) {           \
    backward<f_##name>(dx, g, x, bias, rows, columns);                                             \
  }

ACTIVATION(relu, float32, float)
ACTIVATION(silu, float32, float)
ACTIVATION(gelu, float32, float)
ACTIVATION(gelu_tanh, float32, float)
ACTIVATION(softplus, float32, float)
ACTIVATION(relu, bfloat16, bfloat16)
ACTIVATION(silu, bfloat16, bfloat16)
ACTIVATION(gelu, bfloat16, bfloat16)
ACTIVATION(gelu_tanh, bfloat16, bfloat16)
ACTIVATION(softplus, bfloat16, bfloat16)
