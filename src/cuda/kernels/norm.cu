// Normalization of rows, alone or of a sum: the root-mean-square norm x̂ = x / √(mean(x²) + ε), and the layer
// norm, the same of x - mean(x).
#include "prelude.cuh"

// y = x̂ · gain + bias, a warp a row. With a branch, x + branch takes the place of x, and is left in `sums`.
// What the backward pass needs is left in `means` and in `scales`, x̂'s factor. Null where there is none:
// branch, sums, means, scales, bias.
template <bool CENTERED, class T>
__device__ void norm(T *__restrict__ y, float *__restrict__ sums, float *__restrict__ means,
                     float *__restrict__ scales, const float *__restrict__ x,
                     const float *__restrict__ branch, const float *__restrict__ gain,
                     const float *__restrict__ bias, int rows, int columns, float epsilon) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long place = static_cast<long long>(row) * columns;
    const float *from = x + place;
    T *to = y + place;
    if (branch) {
      const float *added = branch + place;
      float *total = sums + place;
      for (int c = lane(); c < columns; c += WARP) total[c] = from[c] + added[c];
      from = total;
    }
    float mean = 0;
    if (CENTERED) {
      for (int c = lane(); c < columns; c += WARP) mean += from[c];
      mean = warp_sum(mean) / static_cast<float>(columns);
    }
    float squares = 0;
    for (int c = lane(); c < columns; c += WARP) {
      float centered = CENTERED ? from[c] - mean : from[c];
      squares += centered * centered;
    }
    squares = warp_sum(squares);
    float scale = 1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon);
    if (means && lane() == 0) means[row] = mean;
    if (scales && lane() == 0) scales[row] = scale;
    if (bias) {
      for (int c = lane(); c < columns; c += WARP) {
        to[c] = from_float<T>((CENTERED ? from[c] - mean : from[c]) * scale * gain[c] + bias[c]);
      }
    } else {
      for (int c = lane(); c < columns; c += WARP) {
        to[c] = from_float<T>((CENTERED ? from[c] - mean : from[c]) * scale * gain[c]);
      }
    }
  }
}

#define NORMS(dtype, T)                                                                            \
  extern "C" __global__ void rms_norm_##dtype(T *y, float *sums, float *means, float *scales,      \
                                              const float *x, const float *branch,                 \
                                              const float *gain, const float *bias, int rows,      \
                                              int columns, float epsilon) {                        \
    norm<false>(y, sums, means, scales, x, branch, gain, bias, rows, columns, epsilon);            \
  }                                                                                                \
  extern "C" __global__ void layer_norm_##dtype(T *y, float *sums, float *means, float *scales,    \
                                                const float *x, const float *branch,               \
                                                const float *gain, const float *bias, int rows,    \
                                                int columns, float epsilon) {                      \
    norm<true>(y, sums, means, scales, x, branch, gain, bias, rows, columns, epsilon);             \
  }

NORMS(float32, float)
NORMS(bfloat16, bfloat16)
