// Exchange of the two middle axes: heads before tokens, or tokens before heads.
#include "prelude.cuh"

template <class To, class From>
__device__ __forceinline__ void convert_row(To *to, const From *from, int count) {
  for (int i = lane(); i < count; i += WARP) to[i] = from_float<To>(to_float(from[i]));
}
__device__ __forceinline__ void convert_row(float *to, const float *from, int count) {
  copy_row(to, from, count);
}

// x [A, B, C, D] -> y [A, C, B, D], a warp a row of D.
template <class To, class From>
__device__ void swap_axes(To *y, const From *x, int a, int b, int c, int d) {
  int rows = a * b * c;
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    int second = row % c, first = row / c % b, matrix = row / c / b;
    const From *from = x + static_cast<long long>(row) * d;
    To *to = y + ((static_cast<long long>(matrix) * c + second) * b + first) * d;
    convert_row(to, from, d);
  }
}

extern "C" __global__ void swap_axes_float32_to_float32(float *y, const float *x, int a, int b, int c,
                                                        int d) {
  swap_axes(y, x, a, b, c, d);
}

extern "C" __global__ void swap_axes_float32_to_bfloat16(bfloat16 *y, const float *x, int a, int b,
                                                         int c, int d) {
  swap_axes(y, x, a, b, c, d);
}

extern "C" __global__ void swap_axes_bfloat16_to_float32(float *y, const bfloat16 *x, int a, int b,
                                                         int c, int d) {
  swap_axes(y, x, a, b, c, d);
}
