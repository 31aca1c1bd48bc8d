// Normalization of rows.
#include "prelude.cuh"

// y = x / sqrt(mean(x²) + epsilon) · weight, a warp a row.
template <class T>
__device__ void rms_norm(T *__restrict__ y, const float *__restrict__ x,
                         const float *__restrict__ weight, int rows, int columns,
                         float epsilon) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const float *from = x + static_cast<long long>(row) * columns;
    T *to = y + static_cast<long long>(row) * columns;
    float sum = 0;
    for (int c = lane(); c < columns; c += WARP) sum += from[c] * from[c];
    sum = warp_sum(sum);
    float scale = 1.0f / sqrtf(sum / static_cast<float>(columns) + epsilon);
    for (int c = lane(); c < columns; c += WARP) to[c] = from_float<T>(from[c] * scale * weight[c]);
  }
}

extern "C" __global__ void rms_norm_float32(float *y, const float *x, const float *weight, int rows,
                                            int columns, float epsilon) {
  rms_norm(y, x, weight, rows, columns, epsilon);
}

extern "C" __global__ void rms_norm_bfloat16(bfloat16 *y, const float *x, const float *weight,
                                             int rows, int columns, float epsilon) {
  rms_norm(y, x, weight, rows, columns, epsilon);
}
