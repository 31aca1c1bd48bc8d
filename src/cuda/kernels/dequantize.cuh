// What the kernels of GGUF's block types share. A row of a matrix is a row of blocks. A block type is a struct
// that is made from a block and the number of a run of 32 values in it, and gives the value i of that run: so
// scales are read once a run, and the loop over a run vectorizes.
#pragma once
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
// A scale in half precision at an even offset.
__device__ __forceinline__ float scale_at(const unsigned char *block, int offset) {
  return half_to_float(*reinterpret_cast<const unsigned short *>(block + offset));
}
// Of 16 bytes the low halves are values 0 to 15, the high ones 16 to 31.
__device__ __forceinline__ int nibble(const unsigned char *quanta, int i) {
  return i < 16 ? quanta[i] & 15 : quanta[i - 16] >> 4;
}

// y [rows, columns] from the blocks of a matrix. A column count that is no multiple of a block occurs
// only in the unquantized types, whose values stand alone.
template <class Block, class T>
__device__ void dequantize(T *__restrict__ y, const unsigned char *__restrict__ blocks, int rows,
                           int columns) {
  constexpr int value_bytes = Block::BYTES / Block::VALUES;  // of the unquantized types
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    T *__restrict__ to = y + static_cast<long long>(row) * columns;
    const unsigned char *__restrict__ from =
        blocks + (columns % Block::VALUES == 0
                      ? static_cast<long long>(row) * (columns / Block::VALUES) * Block::BYTES
                      : static_cast<long long>(row) * columns * value_bytes);
    if (WARP == 1) {
      int c = 0;
      for (; c + Block::VALUES <= columns; from += Block::BYTES) {
        for (int run = 0; run < Block::VALUES / 32; run++, c += 32) {
          const Block values(from, run);
          for (int i = 0; i < 32; i++) to[c + i] = from_float<T>(values(i));
        }
      }
      if (c == columns) continue;
      const Block values(from, 0);
      for (int i = 0; c + i < columns; i++) to[c + i] = from_float<T>(values(i));
    } else {
      for (int c = lane(); c < columns; c += WARP) {
        const Block values(from + c / Block::VALUES * Block::BYTES, c % Block::VALUES / 32);
        to[c] = from_float<T>(values(c % 32));
      }
    }
  }
}
