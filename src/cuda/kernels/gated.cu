// Gated activations: y = f(gate) · up, as in the MLP of LLaMA (swiglu: x_down = silu(gate) · up), and the
// gradients of gate and up at once.
#include "functions.cuh"

// For glu the halves change places, as in the paper that it comes from: up · sigmoid(gate).
struct f_swiglu : f_silu { static constexpr int GATE = 0; };
struct f_geglu : f_gelu { static constexpr int GATE = 0; };
struct f_geglu_tanh : f_gelu_tanh { static constexpr int GATE = 0; };
struct f_reglu : f_relu { static constexpr int GATE = 0; };
struct f_glu {
  static constexpr int GATE = 1;
  __device__ __forceinline__ static float value(float x) { return logistic(x).share; }
  __device__ __forceinline__ static float backward(float g, float x) {
    return g * logistic(x).slope;
  }
};

// x [rows, 2·columns] holds two halves in each row, of which GATE is the gate.
template <class F, class To, class From>
__device__ void gated(To *__restrict__ y, const From *__restrict__ x, int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const From *gate = x + (2LL * row + F::GATE) * columns;
    const From *up = x + (2LL * row + 1 - F::GATE) * columns;
    To *to = y + static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      to[c] = from_float<To>(F::value(to_float(gate[c])) * to_float(up[c]));
    }
  }
}

template <class F, class To, class From>
__device__ void gated_backward(From *__restrict__ dx, const To *__restrict__ g,
                               const From *__restrict__ x, int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long gate = (2LL * row + F::GATE) * columns, up = (2LL * row + 1 - F::GATE) * columns;
    const To *from = g + static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      float z = to_float(x[gate + c]), gradient = to_float(from[c]);
      dx[gate + c] = from_float<From>(F::backward(gradient * to_float(x[up + c]), z));
      dx[up + c] = from_float<From>(gradient * F::value(z));
    }
  }
}

#define GATED(name, from, from_type, to, to_type)                                                  \
  extern "C" __global__ void gated_##name##_##from##_to_##to(to_type *y, const from_type *x,       \
                                                             int rows, int columns) {              \
    gated<f_##name>(y, x, rows, columns);                                                          \
  }                                                                                                \
  extern "C" __global__ void gated_##name##_backward_##from##_to_##to(                             \
      from_type *dx, const to_type *g, const from_type *x, int rows, int columns) {                \
    gated_backward<f_##name>(dx, g, x, rows, columns);                                             \
  }

GATED(swiglu, float32, float, float32, float)
GATED(swiglu, float32, float, bfloat16, bfloat16)
GATED(swiglu, bfloat16, bfloat16, float32, float)
GATED(swiglu, bfloat16, bfloat16, bfloat16, bfloat16)
GATED(geglu, float32, float, float32, float)
GATED(geglu, bfloat16, bfloat16, bfloat16, bfloat16)
GATED(geglu_tanh, float32, float, float32, float)
GATED(geglu_tanh, bfloat16, bfloat16, bfloat16, bfloat16)
GATED(reglu, float32, float, float32, float)
GATED(reglu, bfloat16, bfloat16, bfloat16, bfloat16)
GATED(glu, float32, float, float32, float)
GATED(glu, bfloat16, bfloat16, bfloat16, bfloat16)
