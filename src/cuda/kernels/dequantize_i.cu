// GGUF's block types whose quanta are not evenly spaced, or have three values.
#include "dequantize.cuh"

// The numbers that the 16 quanta of IQ4_NL and IQ4_XS stand for, one byte each. In registers: tables in
// memory are gathered from one by one.
__device__ __forceinline__ int uneven(int quantum) {
  constexpr unsigned long long low = 0xf6eaddcfbfad9881ull, high = 0x7159453526190d01ull;
  unsigned long long half = quantum < 8 ? low : high;
  return static_cast<signed char>(half >> (quantum & 7) * 8 & 255);
}
struct IQ4_NL {
  enum { VALUES = 32, BYTES = 18 };
  const unsigned char *quanta;
  float d;
  __device__ __forceinline__ IQ4_NL(const unsigned char *block, int)
      : quanta(block + 2), d(scale_at(block, 0)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(uneven(nibble(quanta, i))) * d;
  }
};
// Of the 8 scales, 6 bits each: two in bytes 2 and 3, four in bytes 4 to 7.
struct IQ4_XS {
  enum { VALUES = 256, BYTES = 136 };
  const unsigned char *quanta;
  float d;
  __device__ __forceinline__ IQ4_XS(const unsigned char *block, int run)
      : quanta(block + 8 + 16 * run) {
    int low = block[4 + run / 2] >> run % 2 * 4 & 15, high = block[2 + run / 4] >> run % 4 * 2 & 3;
    d = scale_at(block, 0) * static_cast<float>((low | high << 4) - 32);
  }
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(uneven(nibble(quanta, i))) * d;
  }
};
// Quanta of -1, 0 and 1. Five to a byte here: a byte is a fraction of 256 whose digits in base three they are.
struct TQ1_0 {
  enum { VALUES = 256, BYTES = 54 };
  const unsigned char *bytes;
  int first;
  float d;
  __device__ __forceinline__ TQ1_0(const unsigned char *block, int run)
      : bytes(block), first(32 * run), d(scale_at(block, 52)) {}
  __device__ __forceinline__ float operator()(int i) const {
    // 32 bytes have the first 160 values, 16 bytes 80, and four bytes the last 16: first digits first.
    int k = first + i, group = k < 160 ? 0 : k < 240 ? 160 : 240;
    int count = k < 160 ? 32 : k < 240 ? 16 : 4, start = k < 160 ? 0 : k < 240 ? 32 : 48;
    int digit = (k - group) / count;
    int power = digit == 0 ? 1 : digit == 1 ? 3 : digit == 2 ? 9 : digit == 3 ? 27 : 81;
    int rest = bytes[start + (k - group) % count] * power & 255;
    return static_cast<float>((rest * 3 >> 8) - 1) * d;
  }
};
struct TQ2_0 {
  enum { VALUES = 256, BYTES = 66 };
  const unsigned char *quanta;
  int shift;
  float d;
  __device__ __forceinline__ TQ2_0(const unsigned char *block, int run)
      : quanta(block + run / 4 * 32), shift(run % 4 * 2), d(scale_at(block, 64)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>((quanta[i] >> shift & 3) - 1) * d;
  }
};

extern "C" __global__ void dequantize_IQ4_NL_float32(float *y, const unsigned char *blocks,
                                                     int rows, int columns) {
  dequantize<IQ4_NL>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_IQ4_XS_float32(float *y, const unsigned char *blocks,
                                                     int rows, int columns) {
  dequantize<IQ4_XS>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_TQ1_0_float32(float *y, const unsigned char *blocks, int rows,
                                                    int columns) {
  dequantize<TQ1_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_TQ2_0_float32(float *y, const unsigned char *blocks, int rows,
                                                    int columns) {
  dequantize<TQ2_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_IQ4_NL_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                      int rows, int columns) {
  dequantize<IQ4_NL>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_IQ4_XS_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                      int rows, int columns) {
  dequantize<IQ4_XS>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_TQ1_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                     int rows, int columns) {
  dequantize<TQ1_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_TQ2_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                     int rows, int columns) {
  dequantize<TQ2_0>(y, blocks, rows, columns);
}
