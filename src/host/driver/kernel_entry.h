// The description of a compiled kernel, shared by the host driver (which reads it) and the code that
// the host NVRTC adds to each kernel source (which provides it).
#pragma once
#include <cstdint>

struct outlierscope_grid {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z;
};

struct outlierscope_kernel {
  // Runs one block, `block` counting through x, then y, then z.
  void (*run_block)(const unsigned char *arguments, const outlierscope_grid *grid, uint64_t block);
  unsigned parameter_bytes;  // of the packed arguments, each at its natural alignment
  unsigned pointer_count;
  unsigned short pointer_offsets[32];
  unsigned short pointer_alignments[32];
};
