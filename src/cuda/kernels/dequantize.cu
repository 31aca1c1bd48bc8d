// GGUF's block types to numbers. A row of a matrix is a run of blocks of 32 values: a scale d (and a
// minimum m) in half precision, then the quanta.
#include "prelude.cuh"

// Half precision to float, also for its denormals; written with integers so that no header is needed.
__device__ __forceinline__ float half_to_float(unsigned short bits) {
  unsigned sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  // Exponent and mantissa in place, and the difference of the biases, which is 112; infinity and NaN
  // have the largest exponent of either type. No float here is denormal: that is slow on processors.
  unsigned word = (magnitude << 13) + (magnitude >= 0x7c00u ? 224u << 23 : 112u << 23);
  float denormal = static_cast<float>(static_cast<int>(magnitude)) * 5.9604644775390625e-8f;
  return __uint_as_float((magnitude < 0x400u ? __float_as_uint(denormal) : word) | sign);
}

struct F32 {
  enum { VALUES = 32, BYTES = 128 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return reinterpret_cast<const float *>(block)[i];
  }
};
struct F16 {
  enum { VALUES = 32, BYTES = 64 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return half_to_float(reinterpret_cast<const unsigned short *>(block)[i]);
  }
};
struct BF16 {
  enum { VALUES = 32, BYTES = 64 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return __uint_as_float(
        static_cast<unsigned>(reinterpret_cast<const unsigned short *>(block)[i]) << 16);
  }
};
__device__ __forceinline__ float scale_at(const unsigned char *block, int i) {
  return half_to_float(reinterpret_cast<const unsigned short *>(block)[i]);
}
// The first 16 values of a 4-bit block are the low halves of its bytes, the others the high ones.
__device__ __forceinline__ int nibble(const unsigned char *quanta, int i) {
  return i < 16 ? quanta[i] & 15 : quanta[i - 16] >> 4;
}
struct Q4_0 {
  enum { VALUES = 32, BYTES = 18 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return static_cast<float>(nibble(block + 2, i) - 8) * scale_at(block, 0);
  }
};
struct Q4_1 {
  enum { VALUES = 32, BYTES = 20 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return static_cast<float>(nibble(block + 4, i)) * scale_at(block, 0) + scale_at(block, 1);
  }
};
struct Q8_0 {
  enum { VALUES = 32, BYTES = 34 };
  static __device__ __forceinline__ float value(const unsigned char *block, int i) {
    return static_cast<float>(reinterpret_cast<const signed char *>(block + 2)[i]) *
           scale_at(block, 0);
  }
};

// y [rows, columns] from the blocks of a matrix. Files of the LLaMA family store the rows of the query
// and key projections so that rotary pairs lie side by side; with `head_dimension` > 0 row
// h·d + 2i + s goes to row h·d + s·d/2 + i, Hugging Face's order. A column count that is no multiple of
// 32 occurs only in the unquantized types, whose values stand alone.
template <class Block, class T>
__device__ void dequantize(T *__restrict__ y, const unsigned char *__restrict__ blocks, int rows,
                           int columns, int head_dimension) {
  constexpr int value_bytes = Block::BYTES / Block::VALUES;  // of the unquantized types
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int target = row;
    if (head_dimension) {
      int inside = row % head_dimension;
      target = row - inside + inside % 2 * (head_dimension / 2) + inside / 2;
    }
    T *__restrict__ to = y + static_cast<long long>(target) * columns;
    const unsigned char *__restrict__ from =
        blocks + (columns % Block::VALUES == 0
                      ? static_cast<long long>(row) * (columns / Block::VALUES) * Block::BYTES
                      : static_cast<long long>(row) * columns * value_bytes);
    if (WARP == 1) {
      int c = 0;
      for (; c + Block::VALUES <= columns; c += Block::VALUES, from += Block::BYTES) {
        for (int i = 0; i < Block::VALUES; i++) to[c + i] = from_float<T>(Block::value(from, i));
      }
      for (int i = 0; c + i < columns; i++) to[c + i] = from_float<T>(Block::value(from, i));
    } else {
      for (int c = lane(); c < columns; c += WARP) {
        to[c] = from_float<T>(
            Block::value(from + c / Block::VALUES * Block::BYTES, c % Block::VALUES));
      }
    }
  }
}

extern "C" __global__ void dequantize_F32_float32(float *y, const unsigned char *blocks, int rows,
                                                  int columns, int head_dimension) {
  dequantize<F32>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_F16_float32(float *y, const unsigned char *blocks, int rows,
                                                  int columns, int head_dimension) {
  dequantize<F16>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_BF16_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns, int head_dimension) {
  dequantize<BF16>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q4_0_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns, int head_dimension) {
  dequantize<Q4_0>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q4_1_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns, int head_dimension) {
  dequantize<Q4_1>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q8_0_float32(float *y, const unsigned char *blocks, int rows,
                                                   int columns, int head_dimension) {
  dequantize<Q8_0>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_F32_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                   int rows, int columns, int head_dimension) {
  dequantize<F32>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_F16_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                   int rows, int columns, int head_dimension) {
  dequantize<F16>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_BF16_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns, int head_dimension) {
  dequantize<BF16>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q4_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns, int head_dimension) {
  dequantize<Q4_0>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q4_1_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns, int head_dimension) {
  dequantize<Q4_1>(y, blocks, rows, columns, head_dimension);
}
extern "C" __global__ void dequantize_Q8_0_bfloat16(bfloat16 *y, const unsigned char *blocks,
                                                    int rows, int columns, int head_dimension) {
  dequantize<Q8_0>(y, blocks, rows, columns, head_dimension);
}
