// Sorts rows, a warp each, by counting the digits of their keys from the last to the first: each lane counts and
// moves a part of the row, so that equal elements keep their order. For the first `top` alone, only elements
// that can be among them are sorted. NaN is larger than any number, and -0 equals 0, as in PyTorch.
#include "prelude.cuh"

// The most counters that a lane has: few where 32 lanes must add them up.
constexpr int MOST_BITS = WARP == 1 ? 11 : 4;

// Bits of a digit: fewer for short rows, which the counters would cost more than another pass.
__device__ __forceinline__ int digit_bits(int count) {
  return WARP > 1 ? MOST_BITS : count < 8192 ? 8 : MOST_BITS;
}

struct entry {
  unsigned key;
  int index;
};

// The number by whose order rows are sorted.
__device__ __forceinline__ unsigned key_of(float x, int descending) {
  unsigned bits = x == 0 ? 0u : __float_as_uint(x);
  unsigned key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  key = x != x ? 0xffffffffu : key;
  return descending ? ~key : key;
}

// The sum of the lanes before this one; `total` of all.
__device__ __forceinline__ int sum_before(int value, int *total) {
  int sum = value;
#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
  for (int offset = 1; offset < WARP; offset *= 2) {
    int before = __shfl_up_sync(0xffffffffu, sum, offset);
    sum += lane() >= offset ? before : 0;
  }
  *total = __shfl_sync(0xffffffffu, sum, WARP - 1);
#else
  *total = sum;
#endif
  return sum - value;
}

// This lane's part of `count` elements.
__device__ __forceinline__ int part_begin(int count, int lane) {
  return static_cast<int>(static_cast<long long>(count) * lane / WARP);
}

template <class T>
__device__ __forceinline__ int count_up_to(unsigned last, const T *from, int columns, int descending) {
  int count = 0;
  for (int j = lane(); j < columns; j += WARP) count += key_of(to_float(from[j]), descending) <= last;
  return warp_sum(count);
}

// A key that `top` elements or a few more do not exceed, by bisection.
template <class T>
__device__ unsigned last_key(const T *from, int columns, int top, int descending) {
  unsigned least = 0, most = 0xffffffffu;
  while (least < most) {
    unsigned middle = least + (most - least) / 2;
    int count = count_up_to(middle, from, columns, descending);
    if (count < top) {
      least = middle + 1;
    } else {
      most = middle;
      if (count <= top + columns / 64) break;
    }
  }
  return most;
}

// values and indices [rows, top], x [rows, columns], scratch [rows, 2, columns].
template <class T>
__device__ void sort_rows(T *__restrict__ values, int *__restrict__ indices, const T *__restrict__ x,
                          entry *__restrict__ scratch, int rows, int columns, int top,
                          int descending) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * columns;
    entry *source = scratch + static_cast<long long>(row) * 2 * columns, *target = source + columns;
    int begin = part_begin(columns, lane()), end = part_begin(columns, lane() + 1);

    unsigned last = top < columns ? last_key(from, columns, top, descending) : 0xffffffffu;
    int kept = 0, count;
    for (int j = begin; j < end; j++) kept += key_of(to_float(from[j]), descending) <= last;
    int place = sum_before(kept, &count);
    for (int j = begin, stop; j < end; j = stop) {
      stop = WARP == 1 && j + 64 <= end ? j + 64 : end;
      int found = 0;
      for (int i = j; i < stop; i++) found |= key_of(to_float(from[i]), descending) <= last;
      if (!found) continue;
      for (int i = j; i < stop; i++) {
        unsigned key = key_of(to_float(from[i]), descending);
        if (key <= last) source[place++] = {key, i};
      }
    }
    __syncwarp();

    begin = part_begin(count, lane());
    end = part_begin(count, lane() + 1);
    int digit = digit_bits(count), bins = 1 << digit;
    for (int shift = 0; shift < 32; shift += digit) {
      int places[1 << MOST_BITS];
      for (int d = 0; d < bins; d++) places[d] = 0;
      for (int j = begin; j < end; j++) places[source[j].key >> shift & (bins - 1)]++;
      int base = 0;
      for (int d = 0; d < bins; d++) {
        int total, before = sum_before(places[d], &total);
        places[d] = base + before;
        base += total;
      }
      for (int j = begin; j < end; j++) target[places[source[j].key >> shift & (bins - 1)]++] = source[j];
      entry *swapped = source;
      source = target;
      target = swapped;
      __syncwarp();
    }

    for (int j = lane(); j < top; j += WARP) {
      values[static_cast<long long>(row) * top + j] = from[source[j].index];
      indices[static_cast<long long>(row) * top + j] = source[j].index;
    }
  }
}

// dx [rows, columns], zeroed before: dx[row, indices[row, j]] = dy[row, j].
template <class T>
__device__ void unsort_rows(T *__restrict__ dx, const T *__restrict__ dy,
                            const int *__restrict__ indices, int rows, int columns, int top) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    T *to = dx + static_cast<long long>(row) * columns;
    long long first = static_cast<long long>(row) * top;
    for (int j = lane(); j < top; j += WARP) to[indices[first + j]] = dy[first + j];
  }
}

#define SORT(TYPE, T)                                                                              \
  extern "C" __global__ void sort_##TYPE(T *values, int *indices, const T *x, entry *scratch,      \
                                         int rows, int columns, int top, int descending) {         \
    sort_rows(values, indices, x, scratch, rows, columns, top, descending);                        \
  }                                                                                                \
  extern "C" __global__ void unsort_##TYPE(T *dx, const T *dy, const int *indices, int rows,       \
                                           int columns, int top) {                                 \
    unsort_rows(dx, dy, indices, rows, columns, top);                                              \
  }
SORT(float32, float)
SORT(bfloat16, bfloat16)

// Quantiles of sorted rows: y = x[lower] + weight · (x[lower + 1] - x[lower]), NaN where the row has one.
extern "C" __global__ void quantile(float *y, const float *sorted, int rows, int columns, int lower,
                                    float weight) {
  for (long long row = span_begin(rows); row < span_end(rows); row += span_step()) {
    const float *from = sorted + row * columns;
    float below = from[lower], most = from[columns - 1];
    float value = weight > 0 ? below + weight * (from[lower + 1] - below) : below;
    y[row] = most != most ? most : value;
  }
}

// dx [rows, columns], zeroed before; indices [rows, columns] of the sorted elements.
extern "C" __global__ void quantile_backward(float *dx, const float *g, const int *indices, int rows,
                                             int columns, int lower, float weight) {
  for (long long row = span_begin(rows); row < span_end(rows); row += span_step()) {
    const int *index = indices + row * columns + lower;
    dx[row * columns + index[0]] = (1.0f - weight) * g[row];
    if (weight > 0) dx[row * columns + index[1]] = weight * g[row];
  }
}
