// Statistics of |x| that find outliers: mean, exact median, the largest values, everything over a
// threshold, and maxima by row and by column. The bits of |x| order as its values do, so the median and
// the k-th largest value are found by counting leading bits: 11, then 11, then 10.
#include "prelude.cuh"

constexpr int BINS = 2048;

// What one tensor's passes leave behind; `Selection` in src/outliers/statistics.ts reads it.
struct selection {
  unsigned median_bits;     // leading bits of the median found so far, at their place in the word
  unsigned median_rank;     // rank of the median among the values that share them, 0-based
  unsigned threshold_bits;  // values with at least these bits are collected
  unsigned collected;       // how many were found; may exceed the capacity of the list
  unsigned over;            // how many have |x| > tau · mean
  float mean;
  float limit;  // tau · mean
  float maximum;
};

__device__ __forceinline__ unsigned magnitude(float value) {
  return __float_as_uint(value) & 0x7fffffffu;
}

__device__ __forceinline__ void clear_block_bins(unsigned *bins) {
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;
  __syncthreads();
}

__device__ __forceinline__ void add_block_bins(unsigned *total, const unsigned *bins) {
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) {
    if (bins[i]) atomicAdd(total + i, bins[i]);
  }
}

// Counts the 11 leading bits of |x| (after the sign) and sums |x| a warp, in double, so that the sum of
// millions of values keeps its digits. bins [2048], zeroed; sums [warps].
extern "C" __global__ void magnitude_histogram(unsigned *bins, double *sums, const float *x,
                                               long long count) {
  __shared__ unsigned block_bins[BINS];
  clear_block_bins(block_bins);
  unsigned *local = block_bins;
  double sum = 0;
  if (WARP == 1) {
    // Two tables in turn: equal neighbours would wait for each other's counter.
    unsigned second[BINS] = {};
    long long i = span_begin(count), end = span_end(count);
    while (i < end) {
      long long stop = i + 1024 < end ? i + 1024 : end;
      float partial = 0;
      for (long long j = i; j < stop; j++) partial += absolute(x[j]);
      sum += static_cast<double>(partial);
      for (; i + 2 <= stop; i += 2) {
        local[magnitude(x[i]) >> 20]++;
        second[magnitude(x[i + 1]) >> 20]++;
      }
      for (; i < stop; i++) local[magnitude(x[i]) >> 20]++;
    }
    for (int bin = 0; bin < BINS; bin++) local[bin] += second[bin];
  } else {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      unsigned bits = magnitude(x[i]);
      sum += static_cast<double>(__uint_as_float(bits));
      block_add(local + (bits >> 20), 1);
    }
    sum = warp_sum(sum);
  }
  add_block_bins(bins, block_bins);
  if (lane() == 0) sums[warp_id()] = sum;
}

// One warp's lane 0 reads the histogram: in which bin the lower median lies, from which bin on at least
// `top` values lie, and the mean. threshold = the lower of that bin's edge and tau · mean.
extern "C" __global__ void magnitude_select(selection *result, const unsigned *bins,
                                            const double *sums, int warps, long long count, int top,
                                            float tau) {
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int i = 0; i < warps; i++) sum += sums[i];
  result->mean = static_cast<float>(sum / static_cast<double>(count));
  result->limit = tau * result->mean;
  long long rank = (count - 1) / 2, below = 0;
  int bin = 0;
  while (below + bins[bin] <= rank) below += bins[bin++];
  result->median_bits = static_cast<unsigned>(bin) << 20;
  result->median_rank = static_cast<unsigned>(rank - below);
  long long above = 0;
  int edge = BINS;
  while (edge > 0 && above < top) above += bins[--edge];
  unsigned threshold = static_cast<unsigned>(edge) << 20;
  unsigned limit = magnitude(result->limit);
  result->threshold_bits = threshold < limit ? threshold : limit;
}

// Counts the next `width` bits (11, then 10) of the values that share the median's bits so far, and on
// the first call (`collect`) lists what reaches the threshold: pairs of index and bits of x, in no
// particular order.
extern "C" __global__ void magnitude_refine(unsigned *bins, selection *result, unsigned *list,
                                            int capacity, const float *x, long long count,
                                            int shift, int width, int collect) {
  __shared__ unsigned block_bins[BINS];
  clear_block_bins(block_bins);
  unsigned *local = block_bins;
  unsigned prefix = result->median_bits >> (shift + width), mask = (1u << width) - 1;
  unsigned threshold = collect ? result->threshold_bits : 0xffffffffu, limit = magnitude(result->limit);
  auto visit = [&](long long i) {
    unsigned bits = magnitude(x[i]);
    if (bits >> (shift + width) == prefix) block_add(local + (bits >> shift & mask), 1);
    if (bits >= threshold) {
      unsigned slot = atomicAdd(&result->collected, 1u);
      if (slot < static_cast<unsigned>(capacity)) {
        list[2 * slot] = static_cast<unsigned>(i);
        list[2 * slot + 1] = __float_as_uint(x[i]);
      }
      if (bits > limit) atomicAdd(&result->over, 1u);
    }
  };
  if (WARP == 1) {
    // Few values are of interest: look at 64 at once, and one by one only where there is something.
    long long i = span_begin(count), end = span_end(count);
    for (; i + 64 <= end; i += 64) {
      unsigned interesting = 0;
      for (int j = 0; j < 64; j++) {
        unsigned bits = magnitude(x[i + j]);
        interesting |= (bits >> (shift + width) == prefix) | (bits >= threshold);
      }
      if (interesting) {
        for (int j = 0; j < 64; j++) visit(i + j);
      }
    }
    for (; i < end; i++) visit(i);
  } else {
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) visit(i);
  }
  add_block_bins(bins, block_bins);
}

// Adds the bits that `magnitude_refine` counted to the median, and empties the bins.
extern "C" __global__ void magnitude_narrow(selection *result, unsigned *bins, int shift) {
  if (threadIdx.x == 0) {
    unsigned rank = result->median_rank;
    int bin = 0;
    while (bin < BINS - 1 && bins[bin] <= rank) rank -= bins[bin++];
    result->median_bits |= static_cast<unsigned>(bin) << shift;
    result->median_rank = rank;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += blockDim.x) bins[i] = 0;
}

// maxima[row] = max|x| and means[row] = mean|x| of x [rows, columns].
extern "C" __global__ void row_magnitudes(float *maxima, float *means, const float *x, int rows,
                                          int columns) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const float *from = x + static_cast<long long>(row) * columns;
    float largest = 0, sum = 0;
    for (int c = lane(); c < columns; c += WARP) {
      float value = absolute(from[c]);
      largest = value > largest ? value : largest;
      sum += value;
    }
    largest = warp_max(largest);
    sum = warp_sum(sum);
    if (lane() == 0) {
      maxima[row] = largest;
      means[row] = sum / static_cast<float>(columns);
    }
  }
}

// maxima[c] = max|x|, rows_of[c] = the first row that has it, means[c] = mean|x| of x [rows, columns],
// by column. A warp walks down a tile of columns.
extern "C" __global__ void column_magnitudes(float *maxima, int *rows_of, float *means,
                                             const float *x, int rows, int columns) {
  int tiles = (columns + TILE - 1) / TILE;
  for (int tile = warp_id(); tile < tiles; tile += warp_count()) {
    int first = tile * TILE, width = columns - first < TILE ? columns - first : TILE;
    float largest[TILE / WARP], sum[TILE / WARP];
    int where[TILE / WARP];
    for (int t = 0; t < TILE / WARP; t++) {
      largest[t] = -1;
      sum[t] = 0;
      where[t] = 0;
    }
    for (int row = 0; row < rows; row++) {
      const float *from = x + static_cast<long long>(row) * columns + first;
      auto visit = [&](int t) {
        float value = absolute(from[t * WARP + lane()]);
        where[t] = value > largest[t] ? row : where[t];
        largest[t] = value > largest[t] ? value : largest[t];
        sum[t] += value;
      };
      if (width == TILE) {
        for (int t = 0; t < TILE / WARP; t++) visit(t);
      } else {
        for (int t = 0; t * WARP + lane() < width; t++) visit(t);
      }
    }
    for (int t = 0; t * WARP + lane() < width; t++) {
      int column = first + t * WARP + lane();
      maxima[column] = largest[t];
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
