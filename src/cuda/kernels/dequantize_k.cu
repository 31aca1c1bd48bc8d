// GGUF's block types of 256 values ("K-quants" and their like): runs of 16 or 32 values have scales of their own,
// in a few bits each, which a scale d in half precision multiplies (and minima, which dmin multiplies). A
// run's values beyond the 16th have the next scale where those are for 16. Products of scales and quanta
// are exact in float32, so a value is rounded once at most.
#include "dequantize.cuh"

struct Q2_K {
  enum { VALUES = 256, BYTES = 84 };
  const unsigned char *quanta;
  int shift;
  float d0, d1, m0, m1;
  __device__ __forceinline__ Q2_K(const unsigned char *block, int run)
      : quanta(block + 16 + run / 4 * 32), shift(run % 4 * 2) {
    int low = block[2 * run], high = block[2 * run + 1];
    float d = scale_at(block, 80), m = scale_at(block, 82);
    d0 = d * static_cast<float>(low & 15), m0 = m * static_cast<float>(low >> 4);
    d1 = d * static_cast<float>(high & 15), m1 = m * static_cast<float>(high >> 4);
  }
  __device__ __forceinline__ float operator()(int i) const {
    float quantum = static_cast<float>(quanta[i] >> shift & 3);
    return quantum * (i < 16 ? d0 : d1) - (i < 16 ? m0 : m1);
  }
};
struct Q3_K {
  enum { VALUES = 256, BYTES = 110 };
  const unsigned char *quanta, *high;
  int shift, bit;
  float d0, d1;
  // Of the 16 scales, 6 bits each: four bits in bytes 0 to 7, two in bytes 8 to 11.
  static __device__ __forceinline__ float scale(const unsigned char *scales, int k) {
    int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
    return static_cast<float>((low | (scales[8 + k % 4] >> k / 4 * 2 & 3) << 4) - 32);
  }
  __device__ __forceinline__ Q3_K(const unsigned char *block, int run)
      : quanta(block + 32 + run / 4 * 32), high(block), shift(run % 4 * 2), bit(run) {
    float d = scale_at(block, 108);
    d0 = d * scale(block + 96, 2 * run), d1 = d * scale(block + 96, 2 * run + 1);
  }
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = (quanta[i] >> shift & 3) + (high[i] >> bit & 1) * 4 - 4;
    return static_cast<float>(quantum) * (i < 16 ? d0 : d1);
  }
};
// Scale and minimum of a run of 32, 6 bits each: of the first four runs in bytes 0 to 3 and 4 to 7, of the
// others four bits in bytes 8 to 11, and two where the first ones have their upper two.
struct ScaleAndMinimum {
  float d, m;
  __device__ __forceinline__ ScaleAndMinimum(const unsigned char *block, int run) {
    const unsigned char *bytes = block + 4;
    int scale = run < 4 ? bytes[run] & 63 : (bytes[run + 4] & 15) | bytes[run - 4] >> 6 << 4;
    int minimum = run < 4 ? bytes[run + 4] & 63 : bytes[run + 4] >> 4 | bytes[run] >> 6 << 4;
    d = scale_at(block, 0) * static_cast<float>(scale);
    m = scale_at(block, 2) * static_cast<float>(minimum);
  }
};
struct Q4_K {
  enum { VALUES = 256, BYTES = 144 };
  const unsigned char *quanta;
  int shift;
  ScaleAndMinimum scales;
  __device__ __forceinline__ Q4_K(const unsigned char *block, int run)
      : quanta(block + 16 + run / 2 * 32), shift(run % 2 * 4), scales(block, run) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(quanta[i] >> shift & 15) * scales.d - scales.m;
  }
};
struct Q5_K {
  enum { VALUES = 256, BYTES = 176 };
  const unsigned char *quanta, *high;
  int shift, bit;
  ScaleAndMinimum scales;
  __device__ __forceinline__ Q5_K(const unsigned char *block, int run)
      : quanta(block + 48 + run / 2 * 32),
        high(block + 16),
        shift(run % 2 * 4),
        bit(run),
        scales(block, run) {}
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = (quanta[i] >> shift & 15) | (high[i] >> bit & 1) << 4;
    return static_cast<float>(quantum) * scales.d - scales.m;
  }
};
struct Q6_K {
  enum { VALUES = 256, BYTES = 210 };
  const unsigned char *low, *high;
  int low_shift, high_shift;
  float d0, d1;
  __device__ __forceinline__ Q6_K(const unsigned char *block, int run)
      : low(block + run / 4 * 64 + run % 2 * 32),
        high(block + 128 + run / 4 * 32),
        low_shift(run % 4 / 2 * 4),
        high_shift(run % 4 * 2) {
    const signed char *scales = reinterpret_cast<const signed char *>(block + 192) + 2 * run;
    float d = scale_at(block, 208);
    d0 = d * static_cast<float>(scales[0]), d1 = d * static_cast<float>(scales[1]);
  }
  __device__ __forceinline__ float operator()(int i) const {
    int quantum = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
    return static_cast<float>(quantum - 32) * (i < 16 ? d0 : d1);
  }
};
struct Q8_K {
  enum { VALUES = 256, BYTES = 292 };
  const signed char *quanta;
  float d;
  __device__ __forceinline__ Q8_K(const unsigned char *block, int run)
      : quanta(reinterpret_cast<const signed char *>(block + 4) + 32 * run),
        d(*reinterpret_cast<const float *>(block)) {}
  __device__ __forceinline__ float operator()(int i) const {
    return static_cast<float>(quanta[i]) * d;
  }
};

extern "C" __global__ void dequantize_Q2_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q2_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q3_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q3_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q4_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q5_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q6_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q6_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q8_K_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns) {
  dequantize<Q8_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q2_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q2_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q3_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q3_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q4_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q4_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q5_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q5_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q6_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q6_K>(y, blocks, rows, columns);
}
extern "C" __global__ void dequantize_Q8_K_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns) {
  dequantize<Q8_K>(y, blocks, rows, columns);
}
