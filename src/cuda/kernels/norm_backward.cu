// Gradients of norms of rows. With h = g · gain, a gradient g of y = x̂ · gain + bias gives x
// dx = scale · (h - x̂ · mean(h · x̂)), for the layer norm minus scale · mean(h) too; it gives the gain the
// sum over rows of g · x̂, and the bias that of g.
#include "prelude.cuh"

// A warp takes a part of the rows, and sums over them what gain and bias get: parts [part_count, 1 or 2,
// columns], of gain, then of the bias if it is a layer norm; it is null if they are not needed. `base` is
// what dx begins with, or null. x, means and scales as the norm had or left them.
template <bool CENTERED, class T>
__device__ void norm_backward(float *__restrict__ dx, float *__restrict__ parts,
                              const T *__restrict__ g, const float *__restrict__ base,
                              const float *__restrict__ x, const float *__restrict__ gain,
                              const float *__restrict__ means, const float *__restrict__ scales,
                              int rows, int columns, int part_count) {
  float share = 1.0f / static_cast<float>(columns);
  for (int part = warp_id(); part < part_count; part += warp_count()) {
    float *gain_part = nullptr, *bias_part = nullptr;
    if (parts) {
      gain_part = parts + static_cast<long long>(part) * (CENTERED ? 2 : 1) * columns;
      bias_part = gain_part + (CENTERED ? columns : 0);
      for (int c = lane(); c < columns; c += WARP) {
        gain_part[c] = 0;
        if (CENTERED) bias_part[c] = 0;
      }
    }
    int first = static_cast<int>(static_cast<long long>(rows) * part / part_count);
    int end = static_cast<int>(static_cast<long long>(rows) * (part + 1) / part_count);
    for (int row = first; row < end; row++) {
      long long place = static_cast<long long>(row) * columns;
      const float *from = x + place;
      const T *given = g + place;
      float *to = dx + place;
      float mean = CENTERED ? means[row] : 0.0f, scale = scales[row];
      float sum = 0, product = 0;
      for (int c = lane(); c < columns; c += WARP) {
        float unit = (from[c] - mean) * scale, change = to_float(given[c]);
        float weighted = change * gain[c];
        if (CENTERED) sum += weighted;
        product += weighted * unit;
      }
      if (parts) {
        for (int c = lane(); c < columns; c += WARP) {
          float unit = (from[c] - mean) * scale, change = to_float(given[c]);
          gain_part[c] += change * unit;
          if (CENTERED) bias_part[c] += change;
        }
      }
      sum = CENTERED ? warp_sum(sum) * share : 0.0f;
      product = warp_sum(product) * share;
      if (base) {
        const float *start = base + place;
        for (int c = lane(); c < columns; c += WARP) {
          float unit = (from[c] - mean) * scale;
          to[c] = start[c] + scale * (to_float(given[c]) * gain[c] - sum - unit * product);
        }
      } else {
        for (int c = lane(); c < columns; c += WARP) {
          float unit = (from[c] - mean) * scale;
          to[c] = scale * (to_float(given[c]) * gain[c] - sum - unit * product);
        }
      }
    }
  }
}

#define NORMS_BACKWARD(dtype, T)                                                                   \
  extern "C" __global__ void rms_norm_backward_##dtype(                                            \
      float *dx, float *parts, const T *g, const float *base, const float *x, const float *gain,   \
      const float *means, const float *scales, int rows, int columns, int part_count) {            \
    norm_backward<false>(dx, parts, g, base, x, gain, means, scales, rows, columns, part_count);   \
  }                                                                                                \
  extern "C" __global__ void layer_norm_backward_##dtype(                                          \
      float *dx, float *parts, const T *g, const float *base, const float *x, const float *gain,   \
      const float *means, const float *scales, int rows, int columns, int part_count) {            \
    norm_backward<true>(dx, parts, g, base, x, gain, means, scales, rows, columns, part_count);    \
  }

NORMS_BACKWARD(float32, float)
NORMS_BACKWARD(bfloat16, bfloat16)

// total [columns] = the sum over parts [part_count, columns], in their order.
extern "C" __global__ void sum_parts(float *__restrict__ total, const float *__restrict__ parts,
                                     int part_count, int columns) {
  for (long long c = span_begin(columns); c < span_end(columns); c += span_step()) {
    float sum = 0;
    for (int part = 0; part < part_count; part++) {
      sum += parts[static_cast<long long>(part) * columns + c];
    }
    total[c] = sum;
  }
}
