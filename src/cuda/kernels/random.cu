// Random numbers from a counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). An element is a function of the seed, the number of the draw and the element's
// index, so any device, warp size and number of blocks gives the same bits. For that, float arithmetic is
// written as fmaf, and as products that no sum and no other product takes: all else a compiler may
// contract or reorder as it likes.
#include "prelude.cuh"

struct Words {
  unsigned a, b, c, d;
};

__device__ __forceinline__ unsigned high_product(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}

__device__ __forceinline__ Words philox(Words counter, unsigned key0, unsigned key1) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned high0 = high_product(0xd2511f53u, counter.a), low0 = 0xd2511f53u * counter.a;
    unsigned high1 = high_product(0xcd9e8d57u, counter.c), low1 = 0xcd9e8d57u * counter.c;
    counter = {high1 ^ counter.b ^ key0, low1, high0 ^ counter.d ^ key1, low0};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

// Four words come of a block. Within a tile of 32 blocks, element i is word i / 32 of block i % 32, so
// that neighbouring lanes write neighbouring elements.
constexpr int BLOCKS = 32, TILE_ELEMENTS = 4 * BLOCKS;

template <bool FULL, class Put>
__device__ __forceinline__ void random_tile(long long tile, long long seed, long long draw,
                                            Put put) {
  unsigned draw_low = static_cast<unsigned>(draw), draw_high = static_cast<unsigned>(draw >> 32);
  unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
  unsigned first = static_cast<unsigned>(tile) * BLOCKS, high = static_cast<unsigned>(tile >> 27);
  for (int block = lane(); block < BLOCKS; block += WARP) {
    Words words = philox({first + block, high, draw_low, draw_high}, key0, key1);
    put.template four<FULL>(tile * TILE_ELEMENTS, block, words);
  }
}

// Calls put.four(first, block, words) for each block: its elements are i = first + block, i + 32, i + 64
// and i + 96, as far as they are below `count`.
template <class Put>
__device__ __forceinline__ void random_walk(long long count, long long seed, long long draw,
                                            Put put) {
  long long full = count / TILE_ELEMENTS;
  long long begin = WARP == 1 ? span_begin(full) : warp_id();
  long long end = WARP == 1 ? span_end(full) : full, step = WARP == 1 ? 1 : warp_count();
  for (long long tile = begin; tile < end; tile += step) {
    random_tile<true>(tile, seed, draw, put);
  }
  if (full * TILE_ELEMENTS < count && warp_id() == 0) random_tile<false>(full, seed, draw, put);
}

template <bool FULL, class To>
__device__ __forceinline__ void store(To *__restrict__ y, long long i, long long count, To a, To b,
                                      To c, To d) {
  if (FULL || i < count) y[i] = a;
  if (FULL || i + BLOCKS < count) y[i + BLOCKS] = b;
  if (FULL || i + 2 * BLOCKS < count) y[i + 2 * BLOCKS] = c;
  if (FULL || i + 3 * BLOCKS < count) y[i + 3 * BLOCKS] = d;
}

// (word + 1/2) / 2^32, rounded: in (0, 1].
__device__ __forceinline__ float open_unit(unsigned word) {
  return fmaf(static_cast<float>(word), 2.32830644e-10f, 1.16415322e-10f);
}

// ln x for normal x in (0, 1], within 2 ulp: x = 2^e · (1 + f) with 1 + f from √½ to √2, and ln(1 + f) as
// f + f² p(f).
__device__ __forceinline__ float unit_log(float x) {
  unsigned bits = __float_as_uint(x), shifted = bits - 0x3f3504f3u;
  int exponent = static_cast<int>(shifted) >> 23;
  float f = __uint_as_float(bits - (static_cast<unsigned>(exponent) << 23)) - 1.0f;
  float p = 0.0898024314f;
  p = fmaf(p, f, -0.144263476f);
  p = fmaf(p, f, 0.148832098f);
  p = fmaf(p, f, -0.165518612f);
  p = fmaf(p, f, 0.199635327f);
  p = fmaf(p, f, -0.250025809f);
  p = fmaf(p, f, 0.333339304f);
  p = fmaf(p, f, -0.499999821f);
  return fmaf(static_cast<float>(exponent), 0.693147182f, fmaf(p, f * f, f));
}

template <class To>
struct Uniform {
  To *__restrict__ y;
  long long count;
  float low, width, largest;

  __device__ __forceinline__ To one(unsigned word) const {
    float value = fmaf(static_cast<float>(static_cast<int>(word >> 8)), width, low);
    return from_float<To>(value > largest ? largest : value);
  }
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    store<FULL>(y, tile + block, count, one(w.a), one(w.b), one(w.c), one(w.d));
  }
};

// Box and Muller: two words are a radius √(-2 ln u) and an angle.
template <class To>
struct Normal {
  To *__restrict__ y;
  long long count;
  float mean, deviation;

  __device__ __forceinline__ void two(unsigned of_radius, unsigned of_angle, To *first,
                                      To *second) const {
    float radius = sqrtf(-2.0f * unit_log(open_unit(of_radius)));
    // The angle is a quadrant and t eighths of a turn behind or before it, |t| <= 1.
    unsigned turned = of_angle + 0x20000000u;
    int eighths = static_cast<int>(turned & 0x3fffffffu) - 0x20000000;
    float t = static_cast<float>(eighths) * 1.86264515e-9f;
    float square = t * t;
    float s = fmaf(-3.59793161e-5f, square, 2.49004998e-3f);
    s = fmaf(s, square, -0.0807454586f);
    s = fmaf(s, square, 0.785398185f);
    float sine = s * t;
    float cosine = fmaf(3.53137243e-6f, square, -3.25942109e-4f);
    cosine = fmaf(cosine, square, 0.0158543270f);
    cosine = fmaf(cosine, square, -0.308425128f);
    cosine = fmaf(cosine, square, 1.0f);
    bool odd = turned & 0x40000000u;
    unsigned sign = turned & 0x80000000u;
    float x = odd ? sine : cosine, z = odd ? cosine : sine;
    x = __uint_as_float(__float_as_uint(x) ^ sign ^ ((turned << 1) & 0x80000000u));
    z = __uint_as_float(__float_as_uint(z) ^ sign);
    *first = from_float<To>(fmaf(radius * x, deviation, mean));
    *second = from_float<To>(fmaf(radius * z, deviation, mean));
  }
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    To a, b, c, d;
    two(w.a, w.b, &a, &b);
    two(w.c, w.d, &c, &d);
    store<FULL>(y, tile + block, count, a, b, c, d);
  }
};

// The inverse of the distribution function between two bounds, of which one is within six deviations, from
// q, the smaller of what is below and above the value, as that one is exact in a tail: z = (1 - 2q) P(w)
// with w = -ln(4 q (1 - q)), the form of Giles ("Approximating the erfinv function", 2010), within 1e-6.
// The polynomials are fitted to the least maximum of the relative error, for w < 6 and in √w up to 6.6.
template <class To>
struct TruncatedNormal {
  To *__restrict__ y;
  long long count;
  float mean, deviation, below, above, between, smallest, largest;

  __device__ __forceinline__ To one(unsigned word) const {
    float lower = fmaf(open_unit(word), between, below);
    float upper = fmaf(open_unit(~word), between, above);
    float q = lower < upper ? lower : upper;
    q = q < 0.5f ? q : 0.5f;
    float x = fmaf(-2.0f, q, 1.0f), w = -unit_log(4.0f * fmaf(-q, q, q));
    float c = w - 3.0f, s = sqrtf(w) - 4.0f;
    float center = -8.24031699e-9f;
    center = fmaf(center, c, -6.13048057e-9f);
    center = fmaf(center, c, 6.44290882e-7f);
    center = fmaf(center, c, -2.66626416e-6f);
    center = fmaf(center, c, -1.80414429e-5f);
    center = fmaf(center, c, 2.76445266e-4f);
    center = fmaf(center, c, -0.00118238356f);
    center = fmaf(center, c, -0.00811557844f);
    center = fmaf(center, c, 0.341716886f);
    center = fmaf(center, c, 2.29603529f);
    float tail = 5.30858803e-7f;
    tail = fmaf(tail, s, -6.60762451e-6f);
    tail = fmaf(tail, s, 3.08707058e-5f);
    tail = fmaf(tail, s, -6.89881563e-5f);
    tail = fmaf(tail, s, 8.64581744e-5f);
    tail = fmaf(tail, s, -1.35410360e-4f);
    tail = fmaf(tail, s, 4.37173579e-4f);
    tail = fmaf(tail, s, -0.00124690360f);
    tail = fmaf(tail, s, 0.00178916683f);
    tail = fmaf(tail, s, 1.42764235f);
    tail = fmaf(tail, s, 5.43027401f);
    float z = x * (w < 6.0f ? center : tail);
    float value = fmaf(lower < upper ? -z : z, deviation, mean);
    value = value < smallest ? smallest : value;
    return from_float<To>(value > largest ? largest : value);
  }
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    store<FULL>(y, tile + block, count, one(w.a), one(w.b), one(w.c), one(w.d));
  }
};

// 1 where the word is below the threshold.
struct Bernoulli {
  unsigned char *__restrict__ y;
  long long count;
  unsigned threshold;

  __device__ __forceinline__ unsigned char one(unsigned word) const { return word < threshold; }
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    store<FULL>(y, tile + block, count, one(w.a), one(w.b), one(w.c), one(w.d));
  }
};

// low + ⌊range · word / 2^64⌋ of two words: no value is likelier than another by more than range / 2^64.
struct Integers {
  int *__restrict__ y;
  long long count;
  int low;
  unsigned range;

  __device__ __forceinline__ int one(unsigned high, unsigned word) const {
    unsigned carried = high_product(word, range), sum = high * range + carried;
    unsigned value = high_product(high, range) + (sum < carried ? 1 : 0);
    return static_cast<int>(static_cast<unsigned>(low) + value);
  }
  // A tile is 64 elements here, two a block.
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    long long i = tile / 2 + block;
    if (FULL || i < count) y[i] = one(w.a, w.b);
    if (FULL || i + BLOCKS < count) y[i + BLOCKS] = one(w.c, w.d);
  }
};

// x · scale where the word reaches the threshold, else 0: the same elements of x and of a gradient.
template <class T>
struct Dropout {
  T *__restrict__ y;
  const T *__restrict__ x;
  long long count;
  unsigned threshold;
  float scale;

  __device__ __forceinline__ T one(long long i, unsigned word) const {
    float value = to_float(x[i]) * scale;
    return from_float<T>(word >= threshold ? value : 0.0f);
  }
  template <bool FULL>
  __device__ __forceinline__ void four(long long tile, int block, Words w) const {
    long long i = tile + block;
    if (FULL || i < count) y[i] = one(i, w.a);
    if (FULL || i + BLOCKS < count) y[i + BLOCKS] = one(i + BLOCKS, w.b);
    if (FULL || i + 2 * BLOCKS < count) y[i + 2 * BLOCKS] = one(i + 2 * BLOCKS, w.c);
    if (FULL || i + 3 * BLOCKS < count) y[i + 3 * BLOCKS] = one(i + 3 * BLOCKS, w.d);
  }
};

// Dropout in place of the first `columns` of each row. The words of a row depend on its number and the column
// alone, so that rows can come in any portions.
template <class T>
__device__ void dropout_rows(T *x, int rows, int columns, int stride, int first_row,
                             long long seed, long long draw, unsigned threshold, float scale) {
  unsigned draw_low = static_cast<unsigned>(draw), draw_high = static_cast<unsigned>(draw >> 32);
  unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    T *from = x + static_cast<long long>(row) * stride;
    for (int tile = 0; tile * TILE_ELEMENTS < columns; tile++) {
      unsigned first = static_cast<unsigned>(tile) * BLOCKS;
      for (int block = lane(); block < BLOCKS; block += WARP) {
        Words w = philox({first + block, static_cast<unsigned>(first_row + row), draw_low, draw_high},
                         key0, key1);
        unsigned words[4] = {w.a, w.b, w.c, w.d};
        for (int i = 0; i < 4; i++) {
          int column = tile * TILE_ELEMENTS + i * BLOCKS + block;
          if (column >= columns) break;
          float value = to_float(from[column]) * scale;
          from[column] = from_float<T>(words[i] >= threshold ? value : 0.0f);
        }
      }
    }
  }
}

#define UNIFORM(name, type)                                                                        \
  extern "C" __global__ void uniform_##name(type *y, long long count, long long seed,              \
                                            long long draw, float low, float step,                 \
                                            float largest) {                                       \
    random_walk(count, seed, draw, Uniform<type>{y, count, low, step, largest});                   \
  }
UNIFORM(float32, float)
UNIFORM(bfloat16, bfloat16)

#define NORMAL(name, type)                                                                         \
  extern "C" __global__ void normal_##name(type *y, long long count, long long seed,               \
                                           long long draw, float mean, float deviation) {          \
    random_walk(count, seed, draw, Normal<type>{y, count, mean, deviation});                       \
  }
NORMAL(float32, float)
NORMAL(bfloat16, bfloat16)

#define TRUNCATED_NORMAL(name, type)                                                               \
  extern "C" __global__ void truncated_normal_##name(                                              \
      type *y, long long count, long long seed, long long draw, float mean, float deviation,       \
      float below, float above, float between, float smallest, float largest) {                    \
    random_walk(count, seed, draw,                                                                 \
                TruncatedNormal<type>{y, count, mean, deviation, below, above, between, smallest,  \
                                      largest});                                                   \
  }
TRUNCATED_NORMAL(float32, float)
TRUNCATED_NORMAL(bfloat16, bfloat16)

#define DROPOUT(name, type)                                                                        \
  extern "C" __global__ void dropout_##name(type *y, const type *x, long long count,               \
                                            long long seed, long long draw, unsigned threshold,    \
                                            float scale) {                                         \
    random_walk(count, seed, draw, Dropout<type>{y, x, count, threshold, scale});                  \
  }
DROPOUT(float32, float)
DROPOUT(bfloat16, bfloat16)

#define DROPOUT_ROWS(name, type)                                                                   \
  extern "C" __global__ void dropout_rows_##name(                                                  \
      type *x, int rows, int columns, int stride, int first_row, long long seed, long long draw,   \
      unsigned threshold, float scale) {                                                           \
    dropout_rows(x, rows, columns, stride, first_row, seed, draw, threshold, scale);               \
  }
DROPOUT_ROWS(float32, float)
DROPOUT_ROWS(bfloat16, bfloat16)

extern "C" __global__ void bernoulli(unsigned char *y, long long count, long long seed,
                                     long long draw, unsigned threshold) {
  random_walk(count, seed, draw, Bernoulli{y, count, threshold});
}

extern "C" __global__ void random_integers(int *y, long long count, long long seed, long long draw,
                                           int low, unsigned range) {
  random_walk(2 * count, seed, draw, Integers{y, count, low, range});
}
