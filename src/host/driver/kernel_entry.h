// What the host driver and the code it compiles kernels into know of each other. The host NVRTC adds a
// description to each kernel of a source; the driver reads it and runs blocks and their threads by it.
#pragma once
#include <cstdint>

struct outlierscope_grid {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z;
};

// SIMT mode: a call with which a thread waits for others of its warp or block.
struct outlierscope_call {
  enum Kind : int {
    SYNCTHREADS, SYNCWARP, SHUFFLE, SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_XOR, BALLOT
  };
  Kind kind;
  unsigned mask;     // the lanes that are waited for
  int source;        // of a shuffle: the lane whose value is wanted
  uint64_t value;    // what this lane gives
  const char *file;  // where in the source
  int line;
};

// SIMT mode: what a thread asks of the driver.
struct outlierscope_simt {
  // Lets others run until all that the call waits for have made it; returns what it gives this lane.
  uint64_t (*wait)(const outlierscope_call *call);
  // Lets others run, as a GPU may at any time.
  void (*yield)();
};

struct outlierscope_block {
  outlierscope_grid grid;
  uint64_t index;                 // counts through x, then y, then z
  void *shared;                   // dynamic shared memory
  const outlierscope_simt *simt;  // null with a warp of one
};

struct outlierscope_kernel {
  const char *name;
  // Tells the calling thread of the system which block it runs.
  void (*begin_block)(const outlierscope_block *block);
  // Runs one thread of that block, `thread` counting through x, then y, then z.
  void (*run_thread)(const unsigned char *arguments, unsigned thread);
  unsigned parameter_bytes;  // of the packed arguments, each at its natural alignment
  unsigned pointer_count;
  unsigned short pointer_offsets[32];
  unsigned short pointer_alignments[32];
};
