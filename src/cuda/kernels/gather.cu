// Elements and rows by index, as bits of so many bytes. What an index beyond the table names has all bits
// set: NaN, or -1.
#include "prelude.cuh"

// The bits that stand for what is not there.
template <class T>
__device__ __forceinline__ T nothing() { return static_cast<T>(~static_cast<T>(0)); }

// to [outer, count, width] = rows `ids` [count] of each table [table_rows, width], a warp a row.
template <class T>
__device__ void gather_rows(T *__restrict__ to, const T *__restrict__ tables,
                            const int *__restrict__ ids, int outer, int count, int table_rows,
                            int width) {
  long long rows = static_cast<long long>(outer) * count;
  for (long long row = row_begin(rows); row < row_end(rows); row += row_step()) {
    int id = ids[row % count];
    T *target = to + row * width;
    if (id < 0 || id >= table_rows) {
      for (int c = lane(); c < width; c += WARP) target[c] = nothing<T>();
      continue;
    }
    const T *from = tables + (row / count * table_rows + id) * width;
    for (int c = lane(); c < width; c += WARP) target[c] = from[c];
  }
}

// to [outer, count, inner] = from [outer, extent, inner] at `indices`, which has to's shape; with
// `zero_beyond`, 0 where an index is beyond the axis.
template <class T>
__device__ void take_along(T *__restrict__ to, const T *__restrict__ from,
                           const int *__restrict__ indices, int outer, int extent, int count,
                           int inner, int zero_beyond) {
  long long slice = static_cast<long long>(count) * inner, size = outer * slice;
  T otherwise = zero_beyond ? static_cast<T>(0) : nothing<T>();
  for (long long i = span_begin(size); i < span_end(size); i += span_step()) {
    int index = indices[i];
    bool there = index >= 0 && index < extent;
    long long at = (i / slice * extent + index) * inner + (inner == 1 ? 0 : i % inner);
    to[i] = there ? from[at] : otherwise;
  }
}

#define GATHER(bytes, type)                                                                        \
  extern "C" __global__ void gather_rows_##bytes(type *to, const type *tables, const int *ids,     \
                                                 int outer, int count, int table_rows,             \
                                                 int width) {                                      \
    gather_rows(to, tables, ids, outer, count, table_rows, width);                                 \
  }                                                                                                \
  extern "C" __global__ void take_along_##bytes(type *to, const type *from, const int *indices,    \
                                                int outer, int extent, int count, int inner,       \
                                                int zero_beyond) {                                      \
    take_along(to, from, indices, outer, extent, count, inner, zero_beyond);                            \
  }

GATHER(1, unsigned char)
GATHER(2, unsigned short)
GATHER(4, unsigned)
GATHER(8, unsigned long long)
