// Statistics of |x| that find outliers: mean, exact median, the k largest values, how many lie over a
// threshold, and maxima by row and by column. The bits of |x| order as its values do, so the values of
// two ranks (the median and the k-th largest) are found by counting leading bits: 11, then 11, then 9.
#include "prelude.cuh"

constexpr int BINS = 2048;

// What the passes over one tensor leave behind, all in 32 bits; src/outliers/magnitudes.ts reads it.
struct selection {
  unsigned bits[2];  // leading bits found so far of the lower median and of the k-th largest |x|
  unsigned rank[2];  // their ranks, from the smallest, among the values that share those bits
  unsigned greater;  // how many exceed the k-th largest: fewer than k
  unsigned ties;     // how many equal it
  unsigned over;     // how many have |x| > limit
  float limit;       // tau · mean|x|
  float mean;        // mean|x|
};

__device__ __forceinline__ void clear_bins(unsigned *bins, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) bins[i] = 0;
  __syncthreads();
}

__device__ __forceinline__ void add_bins(unsigned *total, const unsigned *bins, int count) {
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    if (bins[i]) atomicAdd(total + i, bins[i]);
  }
}

// Counts the 11 leading bits of |x| (after the sign) and sums |x| a warp, in double, so that the sum of
// millions of values keeps its digits. bins [2048], zeroed; sums [warps].
extern "C" __global__ void magnitude_histogram(unsigned *bins, double *sums, const float *x,
                                               long long count) {
  // Four tables in turn: equal neighbours would wait for each other's counter.
  __shared__ unsigned block_bins[4 * BINS];
  clear_bins(block_bins, 4 * BINS);
  unsigned *local = block_bins;
  double sum = 0;
  if (WARP == 1) {
    long long i = span_begin(count), end = span_end(count);
    while (i < end) {
      long long stop = i + 1024 < end ? i + 1024 : end;
      float partial = 0;
      for (long long j = i; j < stop; j++) partial += absolute(x[j]);
      sum += static_cast<double>(partial);
      for (; i + 4 <= stop; i += 4) {
        for (int t = 0; t < 4; t++) local[t * BINS + (magnitude(x[i + t]) >> 20)]++;
      }
      for (; i < stop; i++) local[magnitude(x[i]) >> 20]++;
    }
  } else {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      unsigned bits = magnitude(x[i]);
      sum += static_cast<double>(__uint_as_float(bits));
      block_add(local + lane() % 4 * BINS + (bits >> 20), 1);
    }
    sum = warp_sum(sum);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) {
    local[i] += local[BINS + i] + local[2 * BINS + i] + local[3 * BINS + i];
  }
  add_bins(bins, local, BINS);
  if (lane() == 0) sums[warp_id()] = sum;
}

// Finds the bins of both ranks and the mean. One block; bins [2 · 2048] are zero afterwards.
extern "C" __global__ void magnitude_begin(selection *result, unsigned *bins, const double *sums,
                                           int warps, long long count, int top, float tau) {
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int i = 0; i < warps; i++) sum += sums[i];
    result->mean = static_cast<float>(sum / static_cast<double>(count));
    result->limit = tau * result->mean;
    result->greater = result->ties = result->over = 0;
    long long ranks[2] = {(count - 1) / 2, count > top ? count - top : 0};
    for (int which = 0; which < 2; which++) {
      long long below = 0;
      int bin = 0;
      while (bin < BINS - 1 && below + bins[bin] <= ranks[which]) below += bins[bin++];
      result->bits[which] = static_cast<unsigned>(bin) << 20;
      result->rank[which] = static_cast<unsigned>(ranks[which] - below);
    }
  }
  __syncthreads();
  clear_bins(bins, 2 * BINS);
}

// Counts the next `width` bits of the values that share each rank's bits so far. bins [2][2048].
extern "C" __global__ void magnitude_refine(unsigned *bins, const selection *result, const float *x,
                                            long long count, int shift, int width) {
  __shared__ unsigned block_bins[2 * BINS];
  clear_bins(block_bins, 2 * BINS);
  unsigned *local = block_bins;
  int known = shift + width;
  unsigned first = result->bits[0] >> known, second = result->bits[1] >> known;
  unsigned mask = (1u << width) - 1;
  auto visit = [&](unsigned bits) {
    if (bits >> known == first) block_add(local + (bits >> shift & mask), 1);
    if (bits >> known == second) block_add(local + BINS + (bits >> shift & mask), 1);
  };
  if (WARP == 1) {
    // Few values are of interest: 64 are flagged at once, and only flagged ones are visited.
    long long i = span_begin(count), end = span_end(count);
    for (; i + 64 <= end; i += 64) {
      union {
        unsigned char flags[64];
        unsigned long long words[8];
      };
      for (int j = 0; j < 64; j++) {
        unsigned leading = magnitude(x[i + j]) >> known;
        flags[j] = (leading == first) | (leading == second);
      }
      for (int w = 0; w < 8; w++) {
        for (unsigned long long word = words[w]; word; word &= word - 1) {
          visit(magnitude(x[i + 8 * w + (__ffsll(static_cast<long long>(word)) - 1) / 8]));
        }
      }
    }
    for (; i < end; i++) visit(magnitude(x[i]));
  } else {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      visit(magnitude(x[i]));
    }
  }
  add_bins(bins, block_bins, 2 * BINS);
}

// Adds the bits that `magnitude_refine` counted to both ranks' values, and empties the bins. One block.
extern "C" __global__ void magnitude_narrow(selection *result, unsigned *bins, int shift) {
  if (threadIdx.x == 0) {
    for (int which = 0; which < 2; which++) {
      const unsigned *counts = bins + which * BINS;
      unsigned rank = result->rank[which];
      int bin = 0;
      while (bin < BINS - 1 && counts[bin] <= rank) rank -= counts[bin++];
      result->bits[which] |= static_cast<unsigned>(bin) << shift;
      result->rank[which] = rank;
    }
  }
  __syncthreads();
  clear_bins(bins, 2 * BINS);
}

// Lists the largest values as pairs of index and bits of x, in no particular order: those that exceed
// the k-th largest in the first k places, those that equal it after them, as many as fit. Counts what
// exceeds the limit. list [capacity][2], capacity >= top.
extern "C" __global__ void magnitude_collect(selection *result, unsigned *list, const float *x,
                                             long long count, int top, int capacity) {
  unsigned threshold = result->bits[1], limit = magnitude(result->limit);
  unsigned over = 0;
  auto visit = [&](long long i) {
    unsigned bits = magnitude(x[i]);
    if (bits < threshold) return;
    unsigned slot = bits > threshold ? atomicAdd(&result->greater, 1u)
                                     : static_cast<unsigned>(top) + atomicAdd(&result->ties, 1u);
    if (slot < static_cast<unsigned>(capacity)) {
      list[2 * slot] = static_cast<unsigned>(i);
      list[2 * slot + 1] = __float_as_uint(x[i]);
    }
  };
  if (WARP == 1) {
    long long i = span_begin(count), end = span_end(count);
    for (; i + 32 <= end; i += 32) {
      unsigned interesting = 0;
      for (int j = 0; j < 32; j++) {
        unsigned bits = magnitude(x[i + j]);
        interesting |= bits >= threshold;
        over += bits > limit;
      }
      if (interesting) {
        for (int j = 0; j < 32; j++) visit(i + j);
      }
    }
    for (; i < end; i++) {
      over += magnitude(x[i]) > limit;
      visit(i);
    }
  } else {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      over += magnitude(x[i]) > limit;
      visit(i);
    }
    over = warp_sum(over);
  }
  if (over && lane() == 0) atomicAdd(&result->over, over);
}

// maxima[row] = max|x| and means[row] = mean|x| of x [rows, columns].
extern "C" __global__ void row_magnitudes(float *maxima, float *means, const float *x, int rows,
                                          int columns) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const float *from = x + static_cast<long long>(row) * columns;
    unsigned largest = 0;
    float sum = 0;
    for (int c = lane(); c < columns; c += WARP) {
      unsigned bits = magnitude(from[c]);
      largest = bits > largest ? bits : largest;
      sum += __uint_as_float(bits);
    }
    largest = warp_max(largest);
    sum = warp_sum(sum);
    if (lane() == 0) {
      maxima[row] = __uint_as_float(largest);
      means[row] = sum / static_cast<float>(columns);
    }
  }
}

// maxima[c] = max|x|, rows_of[c] = the first row that has it, means[c] = mean|x| of x [rows, columns],
// by column. A warp walks down a tile of columns. Bits are compared, so that NaN is the largest, as it is
// in row_magnitudes.
extern "C" __global__ void column_magnitudes(float *maxima, int *rows_of, float *means,
                                             const float *x, int rows, int columns) {
  int tiles = (columns + TILE - 1) / TILE;
  for (int tile = warp_id(); tile < tiles; tile += warp_count()) {
    int first = tile * TILE, width = columns - first < TILE ? columns - first : TILE;
    unsigned largest[TILE / WARP];
    float sum[TILE / WARP];
    int where[TILE / WARP];
    for (int t = 0; t < TILE / WARP; t++) {
      largest[t] = 0;
      sum[t] = 0;
      where[t] = 0;
    }
    for (int row = 0; row < rows; row++) {
      const float *from = x + static_cast<long long>(row) * columns + first;
      auto visit = [&](int t) {
        unsigned bits = magnitude(from[t * WARP + lane()]);
        where[t] = bits > largest[t] ? row : where[t];
        largest[t] = bits > largest[t] ? bits : largest[t];
        sum[t] += __uint_as_float(bits);
      };
      if (width == TILE) {
        for (int t = 0; t < TILE / WARP; t++) visit(t);
      } else {
        for (int t = 0; t * WARP + lane() < width; t++) visit(t);
      }
    }
    for (int t = 0; t * WARP + lane() < width; t++) {
      int column = first + t * WARP + lane();
      maxima[column] = __uint_as_float(largest[t]);
      rows_of[column] = where[t];
      means[column] = sum[t] / static_cast<float>(rows);
    }
  }
}

// y = |x| / means[row], with the sign of x: a weight's ratio to its row.
extern "C" __global__ void row_ratios(float *y, const float *x, const float *means, int rows,
                                      int columns) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const float *from = x + static_cast<long long>(row) * columns;
    float *to = y + static_cast<long long>(row) * columns;
    float scale = means[row] > 0 ? 1.0f / means[row] : 0.0f;
    for (int c = lane(); c < columns; c += WARP) to[c] = from[c] * scale;
  }
}
