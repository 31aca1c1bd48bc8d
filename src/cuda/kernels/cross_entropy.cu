// Cross-entropy of logits x [rows, columns] with the classes `targets` [rows]: the log-sum-exp of each row is
// all that is kept, and the gradient is written once.
#include "prelude.cuh"

constexpr float LOG2_E = 1.44269504f;
constexpr int BLOCK = 4096;  // columns that a first-level cache holds while they are walked twice

// losses = log Σ exp x - (1 - smoothing) · x[target] - smoothing · mean(x), and log_sums = log Σ exp x. Rows
// whose target is `ignored` have loss 0, those whose target is no column NaN.
template <class T>
__device__ void cross_entropy(float *__restrict__ losses, float *__restrict__ log_sums,
                              const T *__restrict__ x, const int *__restrict__ targets, int rows,
                              int columns, int ignored, float smoothing) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * columns;
    float largest = -infinity(), sum = 0, total = 0;
    for (int first = 0; first < columns; first += BLOCK) {
      const T *block = from + first;
      int width = columns - first < BLOCK ? columns - first : BLOCK;
      float candidate = row_max(block, width);
      if (candidate > largest) {
        sum *= exp2_nonpositive((largest - candidate) * LOG2_E);
        largest = candidate;
      }
      float subtracted = largest > -infinity() ? largest : 0.0f, partial = 0;
      for (int c = lane(); c < width; c += WARP) {
        partial += exp2_nonpositive((to_float(block[c]) - subtracted) * LOG2_E);
      }
      sum += warp_sum(partial);
      if (smoothing > 0) {
        float plain = 0;
        for (int c = lane(); c < width; c += WARP) plain += to_float(block[c]);
        total += warp_sum(plain);
      }
    }
    if (lane() == 0) {
      int target = targets[row];
      bool is_column = target >= 0 && target < columns;
      float log_sum = logf(sum);
      float own = is_column ? to_float(from[target]) : __uint_as_float(0x7fc00000u);
      // The maximum and a logit like it may be large: their difference comes first.
      float loss = log_sum + (1.0f - smoothing) * (largest - own);
      if (smoothing > 0) loss += smoothing * (largest - total / static_cast<float>(columns));
      losses[row] = target == ignored ? 0.0f : loss;
      log_sums[row] = largest + log_sum;
    }
  }
}

// result [2]: the mean of the losses whose target is not ignored, and what it multiplies each with. One warp.
extern "C" __global__ void cross_entropy_mean(float *result, const float *losses, const int *targets,
                                              int rows, int ignored) {
  float sum = 0;
  int count = 0;
  for (int row = lane(); row < rows; row += WARP) {
    sum += losses[row];
    count += targets[row] != ignored;
  }
  sum = warp_sum(sum);
  float share = 1.0f / static_cast<float>(warp_sum(count));
  if (lane() == 0) {
    result[0] = sum * share;
    result[1] = share;
  }
}

// dx = (exp(x - log_sum) - (1 - smoothing) · [column = target] - smoothing / columns) · gradient · share.
// gradient [rows], or [1] if `shared`; share [1], or null for 1. Rows that are ignored have 0.
template <class T>
__device__ void cross_entropy_backward(T *__restrict__ dx, const T *__restrict__ x,
                                       const float *__restrict__ log_sums,
                                       const int *__restrict__ targets,
                                       const float *__restrict__ gradient,
                                       const float *__restrict__ share, int rows, int columns,
                                       int shared, int ignored, float smoothing) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * columns;
    T *to = dx + static_cast<long long>(row) * columns;
    int target = targets[row];
    if (target == ignored) {
      for (int c = lane(); c < columns; c += WARP) to[c] = from_float<T>(0.0f);
      continue;
    }
    bool is_column = target >= 0 && target < columns;
    float factor = gradient[shared ? 0 : row] * (share ? share[0] : 1.0f);
    factor = is_column ? factor : __uint_as_float(0x7fc00000u);
    float log_sum = log_sums[row], spread = smoothing / static_cast<float>(columns);
    for (int c = lane(); c < columns; c += WARP) {
      float power = exp2_nonpositive((to_float(from[c]) - log_sum) * LOG2_E);
      to[c] = from_float<T>((power - spread) * factor);
    }
    // By the lane that wrote this column.
    if (is_column && target % WARP == lane()) {
      float power = exp2_nonpositive((to_float(from[target]) - log_sum) * LOG2_E);
      to[target] = from_float<T>((power - spread - (1.0f - smoothing)) * factor);
    }
  }
}

#define CROSS_ENTROPY(TYPE, T)                                                                      \
  extern "C" __global__ void cross_entropy_##TYPE(float *losses, float *log_sums, const T *x,       \
                                                  const int *targets, int rows, int columns,        \
                                                  int ignored, float smoothing) {                   \
    cross_entropy(losses, log_sums, x, targets, rows, columns, ignored, smoothing);                 \
  }                                                                                                 \
  extern "C" __global__ void cross_entropy_backward_##TYPE(                                         \
      T *dx, const T *x, const float *log_sums, const int *targets, const float *gradient,          \
      const float *share, int rows, int columns, int shared, int ignored, float smoothing) {        \
    cross_entropy_backward(dx, x, log_sums, targets, gradient, share, rows, columns, shared,        \
                           ignored, smoothing);                                                     \
  }
CROSS_ENTROPY(float32, float)
CROSS_ENTROPY(bfloat16, bfloat16)
