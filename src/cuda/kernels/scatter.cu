// Sums by index, the gradients of what gather.cu does. Each sum has its one warp or lane, which takes what
// belongs to it in order, so that the result is the same from run to run. Indices beyond the table are
// left out.
#include "prelude.cuh"

#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
__device__ __forceinline__ unsigned ballot(bool mine) { return __ballot_sync(0xffffffffu, mine); }
#else
__device__ __forceinline__ unsigned ballot(bool mine) { return mine; }
#endif

// tables [outer, table_rows, width], rows `ids` [count] += rows [outer, count, width]; if `fresh`, what was
// there counts as 0. A warp looks through all ids for those of its rows.
template <class T>
__device__ void add_rows(float *__restrict__ tables, const T *__restrict__ rows,
                         const int *__restrict__ ids, int outer, int count, int table_rows,
                         int width, int fresh) {
  long long all = static_cast<long long>(outer) * table_rows;
  if (fresh) {
    for (long long row = warp_id(); row < all; row += warp_count()) {
      float *to = tables + row * width;
      for (int c = lane(); c < width; c += WARP) to[c] = 0;
    }
  }
  for (int table = 0; table < outer; table++) {
    long long before = static_cast<long long>(table) * table_rows;
    for (int first = 0; first < count; first += WARP) {
      int at = first + lane(), id = at < count ? ids[at] : -1;
      bool mine = id >= 0 && id < table_rows && (before + id) % warp_count() == warp_id();
      unsigned lanes = ballot(mine);
      for (int i = 0; i < WARP && lanes >> i; i++) {
        if (!(lanes >> i & 1)) continue;
        const T *from = rows + (static_cast<long long>(table) * count + first + i) * width;
        float *to = tables + (before + ids[first + i]) * width;
        for (int c = lane(); c < width; c += WARP) to[c] += to_float(from[c]);
      }
    }
  }
}

// to [outer, extent, inner] at `indices` += from; `indices` and `from` are [outer, count, inner].
template <class T>
__device__ void add_along(float *__restrict__ to, const T *__restrict__ from,
                          const int *__restrict__ indices, int outer, int extent, int count,
                          int inner) {
  long long size = static_cast<long long>(outer) * inner;
  for (long long line = span_begin(size); line < span_end(size); line += span_step()) {
    long long table = line / inner, column = line % inner;
    for (int k = 0; k < count; k++) {
      long long at = (table * count + k) * inner + column;
      int index = indices[at];
      if (index < 0 || index >= extent) continue;
      to[(table * extent + index) * inner + column] += to_float(from[at]);
    }
  }
}

#define SCATTER(dtype, T)                                                                          \
  extern "C" __global__ void add_rows_##dtype(float *tables, const T *rows, const int *ids,        \
                                              int outer, int count, int table_rows, int width,     \
                                              int fresh) {                                         \
    add_rows(tables, rows, ids, outer, count, table_rows, width, fresh);                           \
  }                                                                                                \
  extern "C" __global__ void add_along_##dtype(float *to, const T *from, const int *indices,       \
                                               int outer, int extent, int count, int inner) {      \
    add_along(to, from, indices, outer, extent, count, inner);                                     \
  }

SCATTER(float32, float)
SCATTER(bfloat16, bfloat16)
