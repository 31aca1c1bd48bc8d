// Statistics of |x| that find outliers: mean, exact median, the k largest values, how many lie over a
// threshold, and maxima by row and by column. The bits of |x| order as its values do. A sample says between
// which bits the values of two ranks lie (the median and the k-th largest); one pass over the data lists
// what lies there, and rounds of counting bits, 11 at a time, find the values in the lists. Where the
// sample was wrong, or a list too short for all that are equal, the rounds count in the data itself.
#include "prelude.cuh"
#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int BINS = 2048;  // of a round
constexpr int SAMPLE_BITS = 13, SAMPLE_BINS = 1 << SAMPLE_BITS, SAMPLE_SHIFT = 31 - SAMPLE_BITS;
constexpr int GROUPS = 64;  // of bins
constexpr int UNIT = 64;    // neighbours in a row that are sampled together
constexpr int CHUNK = 256;  // values that the host scans at once

// What is known so far; of two ranks in [0] and [1]: of the lower median and of the k-th largest |x|. All in
// 32 bits; src/outliers/magnitudes.ts reads it.
struct selection {
  unsigned low[2], high[2];  // bits of |x| between which the value lies, both included
  unsigned found[2];         // how many values lie there
  unsigned listed[2];        // whether the list holds all of these, and they hold the rank
  unsigned rank[2];          // from the smallest, among the values that share the bits so far
  unsigned offset[2];        // bits of the value above `low`, as far as they are known
  unsigned unknown[2];       // how many of them are not, the last ones
  unsigned below;            // how many values lie below low[0]
  unsigned greater;          // how many exceed the k-th largest: fewer than k
  unsigned ties;             // how many equal it
  unsigned over;             // how many have |x| > limit
  float limit;               // tau · mean|x|
  float mean;                // mean|x|
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

// sums[g] = what the g-th of GROUPS equal parts of `bins` holds. One block, as for `find_bin`.
__device__ __forceinline__ void sum_groups(long long *sums, const unsigned *bins, int count) {
  __syncthreads();
  int size = count / GROUPS;
  for (int g = threadIdx.x; g < GROUPS; g += blockDim.x) {
    long long sum = 0;
    for (int i = 0; i < size; i++) sum += bins[g * size + i];
    sums[g] = sum;
  }
  __syncthreads();
}

// The bin of a rank; takes from the rank what lies in the bins before.
__device__ __forceinline__ int find_bin(const long long *sums, const unsigned *bins, int count,
                                        long long &rank) {
  int group = 0, size = count / GROUPS;
  while (group < GROUPS - 1 && sums[group] <= rank) rank -= sums[group++];
  int bin = group * size;
  while (bin < group * size + size - 1 && bins[bin] <= rank) rank -= bins[bin++];
  return bin;
}

// What entries of a row are multiplied by: with `means`, they count as multiples of their row's mean.
__device__ __forceinline__ float row_scale(const float *means, int row) {
  return means[row] > 0 ? 1.0f / means[row] : 0.0f;
}

// Calls visit(index, value) for each entry of x [rows, columns], a warp a row.
template <class Visit>
__device__ __forceinline__ void visit_all(const float *x, const float *means, int rows, int columns,
                                          Visit visit) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long first = static_cast<long long>(row) * columns;
    float scale = means ? row_scale(means, row) : 1.0f;
    for (int c = lane(); c < columns; c += WARP) {
      visit(first + c, means ? x[first + c] * scale : x[first + c]);
    }
  }
}

// Counts the leading bits of a sample of |x|: of one in `every` units. Which one changes from group to
// group, so that it is not always the same features. bins [SAMPLE_BINS], zeroed.
extern "C" __global__ void magnitude_sample(unsigned *bins, const float *x, const float *means,
                                            int rows, int columns, int every) {
  __shared__ unsigned block_bins[SAMPLE_BINS];
  clear_bins(block_bins, SAMPLE_BINS);
  unsigned *local = block_memory(block_bins);
  long long across = (columns + UNIT - 1) / UNIT, units = across * rows;
  for (long long group = warp_id(); group * every < units; group += warp_count()) {
    unsigned hash = static_cast<unsigned>(group) * 2654435769u >> 16;
    long long unit = group * every + static_cast<int>(hash) % every;
    if (unit >= units) continue;
    int row = static_cast<int>(unit / across), first = static_cast<int>(unit % across) * UNIT;
    const float *from = x + static_cast<long long>(row) * columns;
    float scale = means ? row_scale(means, row) : 1.0f;
    int end = columns - first < UNIT ? columns : first + UNIT;
    for (int c = first + lane(); c < end; c += WARP) {
      unsigned bits = magnitude(means ? from[c] * scale : from[c]);
      block_add(local + (bits >> SAMPLE_SHIFT), 1);
    }
  }
  add_bins(bins, block_bins, SAMPLE_BINS);
}

// Finds between which bits the two values lie, from the sample. One warp; the bins are zero afterwards.
extern "C" __global__ void magnitude_bounds(selection *result, unsigned *bins, long long count,
                                            int top) {
  __shared__ long long sums[GROUPS];
  sum_groups(sums, bins, SAMPLE_BINS);
  if (threadIdx.x == 0) {
    long long sampled = 0;
    for (int g = 0; g < GROUPS; g++) sampled += sums[g];
    bool whole = sampled == count;
    // A sample of n independent values misses the median's rank by √n / 2 (one standard deviation).
    // Neighbours depend on each other: eight times that. And of the largest four times as many as needed.
    long long middle = (sampled - 1) / 2;
    long long slack = whole ? 0 : static_cast<long long>(4 * sqrtf(static_cast<float>(sampled)));
    long long largest = whole ? top : 4 * top * sampled / count + 16;
    long long first = middle > slack ? middle - slack : 0, last = middle + slack;
    long long from = sampled > largest ? sampled - largest : 0;
    auto bin = [&](long long rank) {
      return static_cast<unsigned>(find_bin(sums, bins, SAMPLE_BINS, rank));
    };
    *result = selection{};
    result->low[0] = bin(first) << SAMPLE_SHIFT;
    result->high[0] = ((bin(last) + 1) << SAMPLE_SHIFT) - 1;
    result->low[1] = bin(from) << SAMPLE_SHIFT;
    result->high[1] = 0x7fffffffu;
  }
  __syncthreads();
  clear_bins(bins, SAMPLE_BINS);
}

// Copies those of `count` numbers, a multiple of 16, that lie in [low, low + width]; returns how many. `to` has
// room for all: each is written, and overwritten by the next if it is not wanted, as a branch would often be
// mispredicted.
__device__ __forceinline__ unsigned keep_between(unsigned *to, const unsigned *from, int count,
                                                 unsigned low, unsigned width) {
  unsigned kept = 0;
#ifdef __AVX512F__
  __m512i lows = _mm512_set1_epi32(static_cast<int>(low));
  __m512i widths = _mm512_set1_epi32(static_cast<int>(width));
  for (int i = 0; i < count; i += 16) {
    __m512i part = _mm512_loadu_si512(from + i);
    __mmask16 wanted = _mm512_cmple_epu32_mask(_mm512_sub_epi32(part, lows), widths);
    _mm512_storeu_si512(to + kept, _mm512_maskz_compress_epi32(wanted, part));
    kept += static_cast<unsigned>(__builtin_popcount(wanted));
  }
#else
  for (int i = 0; i < count; i++) {
    to[kept] = from[i];
    kept += from[i] - low <= width;
  }
#endif
  return kept;
}

// Reads all of x: sums |x| a warp, in double, so that the sum of millions of values keeps its digits; counts
// and lists what lies within the bounds, in no particular order. sums [warps], middle [middle_room]: bits of
// |x| around the median; list [list_room][2]: index and bits of x of the largest.
extern "C" __global__ void magnitude_scan(selection *result, double *sums, unsigned *middle,
                                          unsigned *list, const float *x, const float *means,
                                          int rows, int columns, unsigned middle_room,
                                          unsigned list_room) {
  unsigned low = result->low[0], width = result->high[0] - low, top = result->low[1];
  unsigned below = 0;
  double sum = 0;
  // On the host values wait here, so that not each of them goes to the shared counter.
  constexpr unsigned WAITING = 1024;
  unsigned waiting[WARP == 1 ? WAITING + CHUNK : 1], held = 0;
  auto flush = [&] {
    unsigned slot = atomicAdd(&result->found[0], held);
    for (unsigned i = 0; i < held && slot + i < middle_room; i++) middle[slot + i] = waiting[i];
    held = 0;
  };
  auto list_large = [&](long long index, float value) {
    if (magnitude(value) < top) return;
    unsigned slot = atomicAdd(&result->found[1], 1u);
    if (slot >= list_room) return;
    list[2 * slot] = static_cast<unsigned>(index);
    list[2 * slot + 1] = __float_as_uint(value);
  };
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    long long first = static_cast<long long>(row) * columns;
    const float *from = x + first;
    float scale = means ? row_scale(means, row) : 1.0f;
    auto load = [&](int c) { return means ? from[c] * scale : from[c]; };
    int c = lane();
    if (WARP == 1) {
      while (columns - c >= 16) {
        int count = columns - c < CHUNK ? (columns - c) & ~15 : CHUNK;
        unsigned bits[CHUNK], smaller = 0, largest = 0;
        for (int j = 0; j < count; j++) {
          bits[j] = magnitude(load(c + j));
          sum += static_cast<double>(__uint_as_float(bits[j]));
          smaller += bits[j] < low;
          largest = bits[j] > largest ? bits[j] : largest;
        }
        below += smaller;
        held += keep_between(waiting + held, bits, count, low, width);
        if (largest >= top) {
          for (int j = 0; j < count; j += 16) {
            unsigned some = 0;
            for (int t = 0; t < 16; t++) some |= bits[j + t] >= top;
            for (int t = 0; t < 16 && some; t++) list_large(first + c + j + t, load(c + j + t));
          }
        }
        if (held >= WAITING) flush();
        c += count;
      }
    }
    for (; c < columns; c += WARP) {
      float value = load(c);
      unsigned bits = magnitude(value);
      sum += static_cast<double>(__uint_as_float(bits));
      below += bits < low;
      if (bits - low <= width) {
        waiting[held++] = bits;
        if (WARP > 1 || held >= WAITING) flush();
      }
      list_large(first + c, value);
    }
  }
  if (held) flush();
  sum = warp_sum(sum);
  below = warp_sum(below);
  if (lane() == 0) {
    sums[warp_id()] = sum;
    if (below) atomicAdd(&result->below, below);
  }
}

// Finds the mean, and where each rank is to be sought: in its list, or in all of the data. One warp.
extern "C" __global__ void magnitude_begin(selection *result, const double *sums, int warps,
                                           long long count, int top, float tau,
                                           unsigned middle_room, unsigned list_room) {
  double sum = 0;
  for (int i = lane(); i < warps; i += WARP) sum += sums[i];
  sum = warp_sum(sum);
  if (threadIdx.x > 0) return;
  result->mean = static_cast<float>(sum / static_cast<double>(count));
  result->limit = tau * result->mean;
  long long ranks[2] = {(count - 1) / 2, count > top ? count - top : 0};
  long long below[2] = {result->below, count - result->found[1]};
  unsigned room[2] = {middle_room, list_room};
  for (int which = 0; which < 2; which++) {
    long long rank = ranks[which] - below[which];
    bool listed = rank >= 0 && rank < result->found[which] && result->found[which] <= room[which];
    if (!listed) {
      result->low[which] = 0;
      result->high[which] = 0x7fffffffu;
    }
    result->listed[which] = listed;
    result->rank[which] = static_cast<unsigned>(listed ? rank : ranks[which]);
    unsigned width = result->high[which] - result->low[which], bits = 0;
    while (width >> bits) bits++;
    result->unknown[which] = bits;
  }
}

// Counts the next 11 unknown bits of the values that share each rank's bits so far. bins [2][BINS], zeroed.
extern "C" __global__ void magnitude_refine(unsigned *bins, const selection *result,
                                            const unsigned *middle, const unsigned *list,
                                            const float *x, const float *means, int rows,
                                            int columns) {
  __shared__ unsigned block_bins[BINS];
  for (int which = 0; which < 2; which++) {
    unsigned unknown = result->unknown[which], shift = unknown > 11 ? unknown - 11 : 0;
    if (!unknown) continue;
    clear_bins(block_bins, BINS);
    unsigned *local = block_memory(block_bins);
    unsigned low = result->low[which], known = result->offset[which] >> unknown;
    unsigned mask = (1u << (unknown - shift)) - 1;
    auto visit = [&](unsigned bits) {
      unsigned offset = bits - low;
      if (offset >> unknown == known) block_add(local + (offset >> shift & mask), 1);
    };
    if (result->listed[which]) {
      long long count = result->found[which];
      for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
        visit(which == 0 ? middle[i] : list[2 * i + 1] & 0x7fffffffu);
      }
    } else {
      visit_all(x, means, rows, columns, [&](long long, float value) { visit(magnitude(value)); });
    }
    add_bins(bins + which * BINS, block_bins, BINS);
  }
}

// Adds the bits that `magnitude_refine` counted to both ranks' values, and empties the bins. One warp.
extern "C" __global__ void magnitude_narrow(selection *result, unsigned *bins) {
  __shared__ long long sums[GROUPS];
  for (int which = 0; which < 2; which++) {
    unsigned *counts = bins + which * BINS;
    sum_groups(sums, counts, BINS);
    unsigned unknown = result->unknown[which], shift = unknown > 11 ? unknown - 11 : 0;
    if (threadIdx.x == 0 && unknown) {
      long long rank = result->rank[which];
      unsigned bin = static_cast<unsigned>(find_bin(sums, counts, BINS, rank));
      result->offset[which] |= bin << shift;
      result->rank[which] = static_cast<unsigned>(rank);
      result->unknown[which] = shift;
    }
  }
  __syncthreads();
  clear_bins(bins, 2 * BINS);
}

// Lists the largest values as pairs of index and bits of x, in no particular order: those that exceed
// the k-th largest in the first k places, those that equal it after them, as many as fit. Counts what
// exceeds the limit. largest [capacity][2], capacity >= top.
extern "C" __global__ void magnitude_collect(selection *result, unsigned *largest,
                                             const unsigned *list, const float *x,
                                             const float *means, int rows, int columns, int top,
                                             int capacity) {
  unsigned threshold = result->low[1] + result->offset[1], limit = magnitude(result->limit);
  unsigned over = 0;
  auto visit = [&](long long index, float value) {
    unsigned bits = magnitude(value);
    over += bits > limit;
    if (bits < threshold) return;
    unsigned slot = bits > threshold ? atomicAdd(&result->greater, 1u)
                                     : static_cast<unsigned>(top) + atomicAdd(&result->ties, 1u);
    if (slot < static_cast<unsigned>(capacity)) {
      largest[2 * slot] = static_cast<unsigned>(index);
      largest[2 * slot + 1] = __float_as_uint(value);
    }
  };
  // The list has all that exceeds the limit, unless the limit is small.
  if (result->listed[1] && limit >= result->low[1]) {
    long long count = result->found[1];
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
      visit(list[2 * i], __uint_as_float(list[2 * i + 1]));
    }
  } else {
    visit_all(x, means, rows, columns, visit);
  }
  over = warp_sum(over);
  if (over && lane() == 0) atomicAdd(&result->over, over);
}

// maxima[row] = max|x| and means[row] = mean|x| of x [rows, columns].
extern "C" __global__ void row_magnitudes(float *maxima, float *means, const float *x, int rows,
                                          int columns) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
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
  for (int tile = row_begin(tiles); tile < row_end(tiles); tile += row_step()) {
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
