// GGUF's block types of 32 values, and its unquantized ones: a scale d (and a minimum m) in half precision, then
// the quanta.
#include "dequantize.cuh"

struct F32 {
  enum { VALUES = 32, BYTES = 128 };
  const float *values;
  __device__ __forceinline__ F32(const unsigned char *block, int)
      : values(reinterpret_cast<const float *>(block)) {}
  __device__ __forceinline__ float operator()(int i) const { return values[i]; }
};
struct F16 {
  enum { VALUES = 32, BYTES = 64 };
  const unsigned short *values;
  __device__ __forceinline__ F16(const unsigned char *block, int)
      : values(reinterpret_cast<const unsigned short *>(block)) {}
  __device__ __forceinline__ float operator()(int i) const { return half_to_float(values[i]); }
};
struct BF16 {
  enum { VALUES = 32, BYTES = 64 };
  const unsigned short *values;
  __device__ __forceinline__ BF16(const unsigned char *block, int)
      : values(reinterpret_cast<const unsigned short *>(block)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return __uint_as_float(static_cast<unsigned>(values[i]) << 16);
  }
};
struct Q4_0 {
  enum { VALUES = 32, BYTES = 18 };
  const unsigned char *quanta;
  float d;
  __device__ __forceinline__ Q4_0(const unsigned char *block, int)
      : quanta(block + 2), d(scale_at(block, 0)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(nibble(quanta, i) - 8) * d;
  }
};
struct Q4_1 {
  enum { VALUES = 32, BYTES = 20 };
  const unsigned char *quanta;
  float d, m;
  __device__ __forceinline__ Q4_1(const unsigned char *block, int)
      : quanta(block + 4), d(scale_at(block, 0)), m(scale_at(block, 2)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(nibble(quanta, i)) * d + m;
  }
};
// The fifth bits of 32 quanta, the first value's lowest.
__device__ __forceinline__ unsigned fifth_bits(const unsigned char *bytes) {
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<unsigned>(bytes[3]) << 24;
}
struct Q5_0 {
  enum { VALUES = 32, BYTES = 22 };
  const unsigned char *quanta;
  unsigned high;
  float d;
  __device__ __forceinline__ Q5_0(const unsigned char *block, int)
      : quanta(block + 6), high(fifth_bits(block + 2)), d(scale_at(block, 0)) {}
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = nibble(quanta, i) | static_cast<int>(high >> i & 1u) << 4;
    return static_cast<float>(quantum - 16) * d;
  }
};
struct Q5_1 {
  enum { VALUES = 32, BYTES = 24 };
  const unsigned char *quanta;
  unsigned high;
  float d, m;
  __device__ __forceinline__ Q5_1(const unsigned char *block, int)
      : quanta(block + 8),
        high(fifth_bits(block + 4)),
        d(scale_at(block, 0)),
        m(scale_at(block, 2)) {}
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = nibble(quanta, i) | static_cast<int>(high >> i & 1u) << 4;
    return static_cast<float>(quantum) * d + m;
  }
};
struct Q8_0 {
  enum { VALUES = 32, BYTES = 34 };
  const signed char *quanta;
  float d;
  __device__ __forceinline__ Q8_0(const unsigned char *block, int)
      : quanta(reinterpret_cast<const signed char *>(block + 2)), d(scale_at(block, 0)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(quanta[i]) * d;
  }
};
// Microscaling floats: a power of two, 2^(e - 127), and numbers of a sign, two bits of exponent and one of
// mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
struct MXFP4 {
  enum { VALUES = 32, BYTES = 17 };
  const unsigned char *quanta;
  float half;  // of the scale
  __device__ __forceinline__ MXFP4(const unsigned char *block, int) : quanta(block + 1) {
    unsigned e = block[0];
    half = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }
  __device__ __forceinline__ float operator()(int i) const {
    int bits = nibble(quanta, i), exponent = bits >> 1 & 3, mantissa = bits & 1;
    int twice = exponent ? (2 + mantissa) << (exponent - 1) : mantissa;
    return static_cast<float>(bits & 8 ? -twice : twice) * half;
  }
};

extern "C" __global__ void dequantize_F32_float32(float *y, const unsigned char *blocks, int rows,
                                                  int columns) {
  dequantize<F32>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_F16_float32(float *y, const unsigned char *blocks, int rows,
                                                  int columns) {
  dequantize<F16>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_BF16_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<BF16>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_0_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q4_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_1_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q4_1>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_0_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q5_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_1_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q5_1>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q8_0_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q8_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_MXFP4_float32(float *y, const unsigned char *blocks, int rows,
                                                    int columns) {
  dequantize<MXFP4>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_F32_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                   int rows, int columns) {
  dequantize<F32>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_F16_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                   int rows, int columns) {
  dequantize<F16>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_BF16_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<BF16>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q4_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_1_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q4_1>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q5_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_1_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q5_1>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q8_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q8_0>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_MXFP4_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                     int rows, int columns) {
  dequantize<MXFP4>(y, blocks, rows, columns);
}
