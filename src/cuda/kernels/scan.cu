// Cumulative sums along the middle axis of x [outer, count, inner], from its end if `reverse`. What was summed
// so far is kept in double: its error would be in all sums that follow.
#include "prelude.cuh"

// The sum of the lanes up to this one.
__device__ __forceinline__ float scan_lanes(float value) {
#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
  for (int offset = 1; offset < WARP; offset *= 2) {
    float before = __shfl_up_sync(0xffffffffu, value, offset);
    value += lane() >= offset ? before : 0.0f;
  }
#endif
  return value;
}

// One step of a row, whose sum so far is `sum`.
__device__ __forceinline__ void scan_step(float *to, const float *from, double *sum, int first, int count,
                                          int reverse) {
  int j = first + lane(), at = reverse ? count - 1 - j : j;
  float value = j < count ? from[at] : 0.0f;
  double partial = *sum + static_cast<double>(scan_lanes(value));
  if (j < count) to[at] = static_cast<float>(partial);
#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
  *sum = __shfl_sync(0xffffffffu, partial, WARP - 1);
#else
  *sum = partial;
#endif
}

// Rows: inner = 1. A warp takes one; on the host several in turn, as each sum waits for the one before.
extern "C" __global__ void scan_rows(float *__restrict__ y, const float *__restrict__ x, int rows,
                                     int count, int reverse) {
  constexpr int EACH = WARP == 1 ? 4 : 1;
  for (int row = warp_id() * EACH; row < rows; row += warp_count() * EACH) {
    const float *from = x + static_cast<long long>(row) * count;
    float *to = y + static_cast<long long>(row) * count;
    if (row + EACH <= rows) {
      double sum[EACH] = {};
      for (int first = 0; first < count; first += WARP) {
        for (int t = 0; t < EACH; t++) {
          long long offset = static_cast<long long>(t) * count;
          scan_step(to + offset, from + offset, &sum[t], first, count, reverse);
        }
      }
    } else {
      for (int t = 0; row + t < rows; t++, from += count, to += count) {
        double sum = 0;
        for (int first = 0; first < count; first += WARP) {
          scan_step(to, from, &sum, first, count, reverse);
        }
      }
    }
  }
}

// Columns, a tile of them a warp.
extern "C" __global__ void scan_columns(float *__restrict__ y, const float *__restrict__ x, int outer,
                                        int count, int inner, int reverse) {
  constexpr int EACH = WARP == 1 ? 64 : 1;
  long long tiles = (inner + EACH * WARP - 1) / (EACH * WARP), items = outer * tiles;
  for (long long item = row_begin(items); item < row_end(items); item += row_step()) {
    int first = static_cast<int>(item % tiles) * EACH * WARP;
    int width = inner - first < EACH * WARP ? inner - first : EACH * WARP;
    int each = WARP == 1 ? width : EACH;
    double sum[EACH] = {};
    for (int r = 0; r < count; r++) {
      long long row = item / tiles * count + (reverse ? count - 1 - r : r);
      const float *from = x + row * inner + first;
      float *to = y + row * inner + first;
      for (int t = 0; t < each; t++) {
        int c = t * WARP + lane();
        if (c >= width) continue;
        sum[t] += static_cast<double>(from[c]);
        to[c] = static_cast<float>(sum[t]);
      }
    }
  }
}
