// Losses of predictions x and targets t, element by element: each one, sums of parts, and gradients.
#include "math.cuh"
#include "prelude.cuh"

struct SquaredError {
  static __device__ __forceinline__ float loss(float x, float t) { return (x - t) * (x - t); }
  static __device__ __forceinline__ float by_x(float x, float t) { return 2.0f * (x - t); }
  static __device__ __forceinline__ float by_t(float x, float t) { return 2.0f * (t - x); }
};
// -t log p - (1 - t) log(1 - p) of p = 1 / (1 + e^-x), without overflow.
struct BinaryCrossEntropy {
  static __device__ __forceinline__ float loss(float x, float t) {
    return (x < 0 ? 0.0f : x) - x * t + fast_log1p(exp2_nonpositive(-absolute(x) * 1.44269504f));
  }
  static __device__ __forceinline__ float by_x(float x, float t) {
    float power = exp2_nonpositive(-absolute(x) * 1.44269504f);
    return (x < 0 ? power : 1.0f) / (1.0f + power) - t;
  }
  static __device__ __forceinline__ float by_t(float x, float) { return -x; }
};
// t (log t - x), which is 0 where t is.
struct KlDivergence {
  static __device__ __forceinline__ float loss(float x, float t) {
    return t == 0 ? 0.0f : t * (fast_log(t) - x);
  }
  static __device__ __forceinline__ float by_x(float, float t) { return -t; }
  static __device__ __forceinline__ float by_t(float x, float t) {
    return t == 0 ? 0.0f : fast_log(t) + 1.0f - x;
  }
};

template <class Loss>
__device__ void each_loss(float *__restrict__ y, const float *__restrict__ x,
                          const float *__restrict__ t, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = Loss::loss(x[i], t[i]);
  }
}

// y [parts]: sums of equal parts of the losses, a warp each, to be summed again.
template <class Loss>
__device__ void loss_parts(float *__restrict__ y, const float *__restrict__ x,
                           const float *__restrict__ t, long long count, int parts) {
  for (int part = warp_id(); part < parts; part += warp_count()) {
    long long begin = count * part / parts;
    int width = static_cast<int>(count * (part + 1) / parts - begin);
    const float *from = x + begin, *target = t + begin;
    float sum = 0;
    for (int c = lane(); c < width; c += WARP) sum += Loss::loss(from[c], target[c]);
    sum = warp_sum(sum);
    if (lane() == 0) y[part] = sum;
  }
}

// dx and dt, each of which may be null, times scale · g; g [count], or [1] if `shared`.
template <class Loss>
__device__ void loss_backward(float *__restrict__ dx, float *__restrict__ dt,
                              const float *__restrict__ x, const float *__restrict__ t,
                              const float *__restrict__ g, int shared, long long count, float scale) {
  float factor = shared ? scale * g[0] : scale;
  if (dx) {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      dx[i] = Loss::by_x(x[i], t[i]) * (shared ? factor : factor * g[i]);
    }
  }
  if (dt) {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      dt[i] = Loss::by_t(x[i], t[i]) * (shared ? factor : factor * g[i]);
    }
  }
}

#define LOSS(NAME, LOSS)                                                                            \
  extern "C" __global__ void NAME##_each(float *y, const float *x, const float *t,                  \
                                         long long count) {                                         \
    each_loss<LOSS>(y, x, t, count);                                                                \
  }                                                                                                 \
  extern "C" __global__ void NAME##_parts(float *y, const float *x, const float *t,                 \
                                          long long count, int parts) {                             \
    loss_parts<LOSS>(y, x, t, count, parts);                                                        \
  }                                                                                                 \
  extern "C" __global__ void NAME##_backward(float *dx, float *dt, const float *x, const float *t,  \
                                             const float *g, int shared, long long count,           \
                                             float scale) {                                         \
    loss_backward<LOSS>(dx, dt, x, t, g, shared, count, scale);                                     \
  }
LOSS(squared_error, SquaredError)
LOSS(binary_cross_entropy, BinaryCrossEntropy)
LOSS(kl_divergence, KlDivergence)
