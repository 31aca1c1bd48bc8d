// Copies between strided places, as bits of 1, 2, 4 or 8 bytes an element. Strides count elements.
#include "prelude.cuh"

constexpr int OUTER = 5;      // axes around a row
constexpr int PIECE = 4096;   // columns that a warp takes at a time, so that a long row has many

// The place of an item in nested axes, outermost first, and the offsets that belong to it.
struct place {
  int extent[OUTER], index[OUTER];
  long long to_stride[OUTER], from_stride[OUTER];
  long long to, from;

  __device__ __forceinline__ void seek(long long item) {
    to = from = 0;
    for (int axis = OUTER - 1; axis >= 0; axis--) {
      index[axis] = static_cast<int>(item % extent[axis]);
      item /= extent[axis];
      to += index[axis] * to_stride[axis];
      from += index[axis] * from_stride[axis];
    }
  }

  __device__ __forceinline__ void step() {
    for (int axis = OUTER - 1; axis >= 0; axis--) {
      to += to_stride[axis];
      from += from_stride[axis];
      if (++index[axis] < extent[axis]) return;
      index[axis] = 0;
      to -= extent[axis] * to_stride[axis];
      from -= extent[axis] * from_stride[axis];
    }
  }
};

// to[i, ..., c] = from[i, ..., c] over the axes of `at` and `columns`, a warp a piece of a row.
template <class T>
__device__ void copy_rows(T *__restrict__ to, const T *__restrict__ from, long long rows,
                          int columns, long long to_column, long long from_column, place at) {
  int pieces = (columns + PIECE - 1) / PIECE;
  long long items = rows * pieces;
  long long item = items * warp_id() / warp_count(), end = items * (warp_id() + 1) / warp_count();
  if (item >= end) return;
  at.seek(item / pieces);
  int piece = static_cast<int>(item % pieces);
  for (; item < end; item++) {
    int first = piece * PIECE, count = columns - first < PIECE ? columns - first : PIECE;
    T *target = to + at.to + first * to_column;
    const T *source = from + at.from + first * from_column;
    if (to_column == 1 && from_column == 1) {
      for (int c = lane(); c < count; c += WARP) target[c] = source[c];
    } else if (to_column == 1 && from_column == 0) {
      T value = *source;
      for (int c = lane(); c < count; c += WARP) target[c] = value;
    } else {
      for (int c = lane(); c < count; c += WARP) target[c * to_column] = source[c * from_column];
    }
    if (++piece == pieces) {
      piece = 0;
      at.step();
    }
  }
}

// The same where not the columns but the rows of the last axis of `at` lie together in `from`: by square
// tiles through memory that a block shares, so that both sides move whole lines.
template <class T>
__device__ void copy_tiles(T *__restrict__ to, const T *__restrict__ from, long long matrices,
                           int rows, int columns, long long to_row, long long from_column,
                           place at) {
  constexpr int EDGE = WARP == 1 ? 64 : 32;  // wide enough for whole lines, small enough for a cache
  __shared__ T tile[EDGE][EDGE + 1];  // one more, so that a column's elements lie in different banks
  int across = (columns + EDGE - 1) / EDGE, down = (rows + EDGE - 1) / EDGE;
  int warp = threadIdx.x / WARP, warps = warps_in_block();
  for (long long item = blockIdx.x; item < matrices * down * across; item += gridDim.x) {
    int first_column = static_cast<int>(item % across) * EDGE;
    int first_row = static_cast<int>(item / across % down) * EDGE;
    int width = columns - first_column < EDGE ? columns - first_column : EDGE;
    int height = rows - first_row < EDGE ? rows - first_row : EDGE;
    at.seek(item / across / down);
    const T *source = from + at.from + first_row + first_column * from_column;
    T *target = to + at.to + first_row * to_row + first_column;
    for (int c = warp; c < width; c += warps) {
      for (int r = lane(); r < height; r += WARP) tile[c][r] = source[c * from_column + r];
    }
    __syncthreads();
    for (int r = warp; r < height; r += warps) {
      for (int c = lane(); c < width; c += WARP) target[r * to_row + c] = tile[c][r];
    }
    __syncthreads();
  }
}

// `to` and `from` are the first elements; e, t and f are extents and strides of the axes around a row.
#define COPY_STRIDED(bytes, type)                                                                  \
  extern "C" __global__ void copy_strided_##bytes(                                                 \
      type *to, const type *from, long long rows, int columns, long long to_column,                \
      long long from_column, int e0, int e1, int e2, int e3, int e4, long long t0, long long t1,   \
      long long t2, long long t3, long long t4, long long f0, long long f1, long long f2,          \
      long long f3, long long f4) {                                                                \
    place at = {{e0, e1, e2, e3, e4}, {}, {t0, t1, t2, t3, t4}, {f0, f1, f2, f3, f4}, 0, 0};       \
    copy_rows(to, from, rows, columns, to_column, from_column, at);                                \
  }

COPY_STRIDED(1, unsigned char)
COPY_STRIDED(2, unsigned short)
COPY_STRIDED(4, unsigned)
COPY_STRIDED(8, unsigned long long)

// Rows lie `to_row` apart in `to` and together in `from`; columns together in `to` and `from_column`
// apart in `from`. Of the axes around them there are four.
#define COPY_TRANSPOSED(bytes, type)                                                               \
  extern "C" __global__ void copy_transposed_##bytes(                                              \
      type *to, const type *from, long long matrices, int rows, int columns, long long to_row,     \
      long long from_column, int e0, int e1, int e2, int e3, long long t0, long long t1,           \
      long long t2, long long t3, long long f0, long long f1, long long f2, long long f3) {        \
    place at = {{e0, e1, e2, e3, 1}, {}, {t0, t1, t2, t3, 0}, {f0, f1, f2, f3, 0}, 0, 0};          \
    copy_tiles(to, from, matrices, rows, columns, to_row, from_column, at);                        \
  }

COPY_TRANSPOSED(1, unsigned char)
COPY_TRANSPOSED(2, unsigned short)
COPY_TRANSPOSED(4, unsigned)
COPY_TRANSPOSED(8, unsigned long long)
