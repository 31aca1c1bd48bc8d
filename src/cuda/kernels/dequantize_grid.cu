// GGUF's block types whose quanta come in groups that are points of a grid, with signs beside them.
#include "dequantize.cuh"
#include "grids.cuh"

__device__ __forceinline__ unsigned short_at(const unsigned char *block, int offset) {
  return *reinterpret_cast<const unsigned short *>(block + offset);
}
__device__ __forceinline__ unsigned word_at(const unsigned char *block, int offset) {
  return short_at(block, offset) | short_at(block, offset + 2) << 16;
}
// Of 8 signs 7 are stored: the number of minus signs is even.
__device__ __forceinline__ unsigned eight_signs(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 1) << 7;
}
// 32 signs from the lower 28 bits of a word, whose upper four are a scale.
__device__ __forceinline__ unsigned all_signs(unsigned word) {
  return eight_signs(word & 127) | eight_signs(word >> 7 & 127) << 8 |
         eight_signs(word >> 14 & 127) << 16 | eight_signs(word >> 21 & 127) << 24;
}

// A run of 32 quanta of 2 bits, from four points.
struct Quanta2 {
  unsigned long long bits;
  __device__ __forceinline__ Quanta2(const unsigned short *grid, int a, int b, int c, int d)
      : bits(grid[a] | static_cast<unsigned>(grid[b]) << 16 |
             static_cast<unsigned long long>(grid[c]) << 32 |
             static_cast<unsigned long long>(grid[d]) << 48) {}
  __device__ __forceinline__ int operator()(int i) const {
    return static_cast<int>(bits >> 2 * i & 3);
  }
};
// A run of 32 quanta of 3 bits, from eight points: two halves of four.
struct Quanta3 {
  unsigned long long low, high;
  __device__ __forceinline__ static unsigned long long half(const unsigned short *grid,
                                                            const unsigned char *indices,
                                                            unsigned ninth) {
    unsigned long long bits = 0;
    for (int k = 0; k < 4; k++) {
      unsigned index = indices[k] | (ninth >> k & 1) << 8;
      bits |= static_cast<unsigned long long>(grid[index]) << 12 * k;
    }
    return bits;
  }
  __device__ __forceinline__ Quanta3(const unsigned short *grid, const unsigned char *indices,
                                     unsigned ninth)
      : low(half(grid, indices, ninth)), high(half(grid, indices + 4, ninth >> 4)) {}
  __device__ __forceinline__ int operator()(int i) const {
    return static_cast<int>((i < 16 ? low : high) >> i % 16 * 3 & 7);
  }
};

// Quanta of 8, 25 and 43 with signs, and two scales a run, which are quarters of odd halves.
struct IQ2 {
  Quanta2 quanta;
  unsigned signs;
  float first, second;
  __device__ __forceinline__ IQ2(Quanta2 quanta, unsigned signs, float d, int first, int second)
      : quanta(quanta),
        signs(signs),
        first(d * static_cast<float>(2 * first + 1) * 0.125f),
        second(d * static_cast<float>(2 * second + 1) * 0.125f) {}
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = quanta(i), size = 8 + 17 * quantum + (quantum >> 1);
    return static_cast<float>(signs >> i & 1 ? -size : size) * (i < 16 ? first : second);
  }
};
struct IQ2_XXS : IQ2 {
  enum { VALUES = 256, BYTES = 66 };
  __device__ __forceinline__ IQ2_XXS(const unsigned char *block, int run)
      : IQ2_XXS(block, block + 2 + 8 * run, word_at(block, 6 + 8 * run)) {}
  __device__ __forceinline__ IQ2_XXS(const unsigned char *block, const unsigned char *points,
                                     unsigned word)
      : IQ2({GRID_IQ2_XXS.points, points[0], points[1], points[2], points[3]}, all_signs(word),
            scale_at(block, 0), word >> 28, word >> 28) {}
};
struct IQ2_XS : IQ2 {
  enum { VALUES = 256, BYTES = 74 };
  __device__ __forceinline__ static int point(const unsigned char *block, int run, int k) {
    return short_at(block, 2 + 8 * run + 2 * k) & 511;
  }
  __device__ __forceinline__ static unsigned sign(const unsigned char *block, int run, int k) {
    return eight_signs(short_at(block, 2 + 8 * run + 2 * k) >> 9) << 8 * k;
  }
  __device__ __forceinline__ IQ2_XS(const unsigned char *block, int run)
      : IQ2({GRID_IQ2_XS.points, point(block, run, 0), point(block, run, 1), point(block, run, 2),
             point(block, run, 3)},
            sign(block, run, 0) | sign(block, run, 1) | sign(block, run, 2) | sign(block, run, 3),
            scale_at(block, 0), block[66 + run] & 15, block[66 + run] >> 4) {}
};
struct IQ2_S : IQ2 {
  enum { VALUES = 256, BYTES = 82 };
  __device__ __forceinline__ static int point(const unsigned char *block, int run, int k) {
    return block[2 + 4 * run + k] | (block[66 + run] >> 2 * k & 3) << 8;
  }
  __device__ __forceinline__ IQ2_S(const unsigned char *block, int run)
      : IQ2({GRID_IQ2_S.points, point(block, run, 0), point(block, run, 1), point(block, run, 2),
             point(block, run, 3)},
            word_at(block, 34 + 4 * run), scale_at(block, 0), block[74 + run] & 15,
            block[74 + run] >> 4) {}
};

// Quanta of 4 to 52 in steps of 8, and 62, with signs.
struct IQ3_XXS {
  enum { VALUES = 256, BYTES = 98 };
  Quanta3 quanta;
  unsigned signs;
  float d;
  __device__ __forceinline__ IQ3_XXS(const unsigned char *block, int run)
      : quanta(GRID_IQ3_XXS.points, block + 2 + 8 * run, 0) {
    unsigned word = word_at(block, 66 + 4 * run);
    signs = all_signs(word);
    d = scale_at(block, 0) * static_cast<float>(2 * (word >> 28) + 1) * 0.25f;
  }
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = quanta(i), size = 4 + 8 * quantum + (quantum == 7 ? 2 : 0);
    return static_cast<float>(signs >> i & 1 ? -size : size) * d;
  }
};
// Odd quanta from 1 to 15, with signs.
struct IQ3_S {
  enum { VALUES = 256, BYTES = 110 };
  Quanta3 quanta;
  unsigned signs;
  float d;
  __device__ __forceinline__ IQ3_S(const unsigned char *block, int run)
      : quanta(GRID_IQ3_S.points, block + 2 + 8 * run, block[66 + run]),
        signs(word_at(block, 74 + 4 * run)) {
    int scale = block[106 + run / 2] >> run % 2 * 4 & 15;
    d = scale_at(block, 0) * static_cast<float>(2 * scale + 1);
  }
  __device__ __forceinline__ float operator()(int i) const {
    int size = 2 * quanta(i) + 1;
    return static_cast<float>(signs >> i & 1 ? -size : size) * d;
  }
};

// Quanta of -1, 0 and 1, all an eighth higher or lower: a shift for the run.
struct IQ1_S {
  enum { VALUES = 256, BYTES = 50 };
  Quanta2 quanta;
  int shift;  // in eighths
  float eighth;
  __device__ __forceinline__ static int point(const unsigned char *block, int run, int k) {
    return block[2 + 4 * run + k] |
           static_cast<int>(short_at(block, 34 + 2 * run) >> 3 * k & 7) << 8;
  }
  __device__ __forceinline__ IQ1_S(const unsigned char *block, int run)
      : quanta(GRID_IQ1.points, point(block, run, 0), point(block, run, 1), point(block, run, 2),
               point(block, run, 3)) {
    unsigned high = short_at(block, 34 + 2 * run);
    shift = high >> 15 ? -9 : -7;
    eighth = scale_at(block, 0) * static_cast<float>(2 * (high >> 12 & 7) + 1) * 0.125f;
  }
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(8 * quanta(i) + shift) * eighth;
  }
};
// A shift for each point. The block's scale is in the upper four bits of four words, whose lower bits are four
// scales of 16 values each.
struct IQ1_M {
  enum { VALUES = 256, BYTES = 56 };
  Quanta2 quanta;
  unsigned high;  // of each point three bits of its number, and whether it is lower
  float first, second;
  __device__ __forceinline__ static unsigned upper(const unsigned char *block, int run) {
    return block[32 + 2 * run] | block[33 + 2 * run] << 8;
  }
  __device__ __forceinline__ static int point(const unsigned char *block, int run, int k) {
    return block[4 * run + k] | static_cast<int>(upper(block, run) >> 4 * k & 7) << 8;
  }
  __device__ __forceinline__ IQ1_M(const unsigned char *block, int run)
      : quanta(GRID_IQ1.points, point(block, run, 0), point(block, run, 1), point(block, run, 2),
               point(block, run, 3)),
        high(upper(block, run)) {
    unsigned d = short_at(block, 48) >> 12 | short_at(block, 50) >> 12 << 4 |
                 short_at(block, 52) >> 12 << 8 | short_at(block, 54) >> 12 << 12;
    unsigned scales = short_at(block, 48 + run / 2 * 2) >> run % 2 * 6;
    float eighth = half_to_float(static_cast<unsigned short>(d)) * 0.125f;
    first = eighth * static_cast<float>(2 * (scales & 7) + 1);
    second = eighth * static_cast<float>(2 * (scales >> 3 & 7) + 1);
  }
  __device__ __forceinline__ float operator()(int i) const {
    int shift = high >> (i / 8 * 4 + 3) & 1 ? -9 : -7;
    return static_cast<float>(8 * quanta(i) + shift) * (i < 16 ? first : second);
  }
};

#define DEQUANTIZE(type)                                                                           \
  extern "C" __global__ void dequantize_##type##_float32(float *y, const unsigned char *blocks,    \
                                                         int rows, int columns) {                  \
    dequantize<type>(y, blocks, rows, columns);                                                    \
  }                                                                                                \
  extern "C" __global__ void dequantize_##type##_bfloat16(                                         \
      bfloat16 *y, const unsigned char *blocks, int rows, int columns) {                           \
    dequantize<type>(y, blocks, rows, columns);                                                    \
  }

DEQUANTIZE(IQ1_S)
DEQUANTIZE(IQ1_M)
DEQUANTIZE(IQ2_XXS)
DEQUANTIZE(IQ2_XS)
DEQUANTIZE(IQ2_S)
DEQUANTIZE(IQ3_XXS)
DEQUANTIZE(IQ3_S)
