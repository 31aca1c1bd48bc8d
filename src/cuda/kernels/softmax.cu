// Softmax and its logarithm over rows, a warp a row, and their gradients.
#include "prelude.cuh"

constexpr float LOG2_E = 1.44269504f;

// y = softmax(scale · x), x and y [rows, columns], scale > 0. With `queries` the rows are those of matrices
// [queries, columns] of attention scores, of which query i sees the first columns - queries + i + 1 keys, so
// that the last one sees all; the others have probability 0.
template <class T>
__device__ void softmax(T *__restrict__ y, const T *__restrict__ x, int rows, int columns, int queries,
                        float scale) {
  float scale_to_base_2 = scale * LOG2_E;
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * columns;
    T *to = y + static_cast<long long>(row) * columns;
    int visible = queries ? columns - queries + row % queries + 1 : columns;
    visible = visible > 0 ? visible : 0;
    float largest = row_max(from, visible);
    float sum = 0;
    if (sizeof(T) == sizeof(float)) {  // y keeps the exponentials meanwhile
      for (int c = lane(); c < visible; c += WARP) {
        float power = exp2_nonpositive((to_float(from[c]) - largest) * scale_to_base_2);
        to[c] = from_float<T>(power);
        sum += power;
      }
      float share = 1.0f / warp_sum(sum);
      for (int c = lane(); c < visible; c += WARP) to[c] = from_float<T>(to_float(to[c]) * share);
    } else {
      for (int c = lane(); c < visible; c += WARP) {
        sum += exp2_nonpositive((to_float(from[c]) - largest) * scale_to_base_2);
      }
      float share = 1.0f / warp_sum(sum);
      for (int c = lane(); c < visible; c += WARP) {
        float power = exp2_nonpositive((to_float(from[c]) - largest) * scale_to_base_2);
        to[c] = from_nonnegative<T>(power * share);
      }
    }
    for (int c = visible + lane(); c < columns; c += WARP) to[c] = from_float<T>(0.0f);
  }
}

// dx = scale · y · (dy - Σ y · dy).
template <class T>
__device__ void softmax_backward(T *__restrict__ dx, const T *__restrict__ y, const T *__restrict__ dy,
                                 int rows, int columns, float scale) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long first = static_cast<long long>(row) * columns;
    const T *probability = y + first, *gradient = dy + first;
    T *to = dx + first;
    float sum = 0;
    for (int c = lane(); c < columns; c += WARP) sum += to_float(probability[c]) * to_float(gradient[c]);
    sum = warp_sum(sum);
    for (int c = lane(); c < columns; c += WARP) {
      to[c] = from_float<T>(scale * to_float(probability[c]) * (to_float(gradient[c]) - sum));
    }
  }
}

// y = x - log Σ exp x.
template <class T>
__device__ void log_softmax(T *__restrict__ y, const T *__restrict__ x, int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * columns;
    T *to = y + static_cast<long long>(row) * columns;
    float largest = row_max(from, columns);
    float sum = 0;
    for (int c = lane(); c < columns; c += WARP) {
      sum += exp2_nonpositive((to_float(from[c]) - largest) * LOG2_E);
    }
    // Apart from the maximum, which may be much larger, and with fmaf, as a compiler may add the two first.
    float log_sum = logf(warp_sum(sum));
    for (int c = lane(); c < columns; c += WARP) {
      to[c] = from_float<T>(fmaf(-1.0f, largest, to_float(from[c])) - log_sum);
    }
  }
}

// dx = dy - exp(y) · Σ dy.
template <class T>
__device__ void log_softmax_backward(T *__restrict__ dx, const T *__restrict__ y,
                                     const T *__restrict__ dy, int rows, int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long first = static_cast<long long>(row) * columns;
    const T *logarithm = y + first, *gradient = dy + first;
    T *to = dx + first;
    float sum = 0;
    for (int c = lane(); c < columns; c += WARP) sum += to_float(gradient[c]);
    sum = warp_sum(sum);
    for (int c = lane(); c < columns; c += WARP) {
      float power = exp2_nonpositive(to_float(logarithm[c]) * LOG2_E);
      to[c] = from_float<T>(to_float(gradient[c]) - power * sum);
    }
  }
}

#define SOFTMAX(TYPE, T)                                                                            \
  extern "C" __global__ void softmax_##TYPE(T *y, const T *x, int rows, int columns, int queries,   \
                                            float scale) {                                          \
    softmax(y, x, rows, columns, queries, scale);                                                   \
  }                                                                                                 \
  extern "C" __global__ void softmax_backward_##TYPE(T *dx, const T *y, const T *dy, int rows,      \
                                                     int columns, float scale) {                    \
    softmax_backward(dx, y, dy, rows, columns, scale);                                              \
  }                                                                                                 \
  extern "C" __global__ void log_softmax_##TYPE(T *y, const T *x, int rows, int columns) {          \
    log_softmax(y, x, rows, columns);                                                               \
  }                                                                                                 \
  extern "C" __global__ void log_softmax_backward_##TYPE(T *dx, const T *y, const T *dy, int rows,  \
                                                         int columns) {                             \
    log_softmax_backward(dx, y, dy, rows, columns);                                                 \
  }
SOFTMAX(float32, float)
SOFTMAX(bfloat16, bfloat16)
