// What CUDA C++ needs to compile as ordinary C++ with a warp of one: put before each kernel source by
// the host NVRTC, which also ends the source with OUTLIERSCOPE_KERNEL(name) for each kernel in it.
#pragma once
#include <cstddef>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernel_entry.h"

#define OUTLIERSCOPE_WARP 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
// A block runs on one thread, so memory shared by a block is memory of the thread.
#define __shared__ static thread_local

struct dim3 {
  unsigned x, y, z;
};
static thread_local dim3 blockIdx, gridDim;
static constexpr dim3 threadIdx{0, 0, 0}, blockDim{1, 1, 1};

inline void __syncthreads() {}
inline void __syncwarp() {}

template <class T>
inline T atomicAdd(T *address, T value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline int __ffsll(long long value) { return __builtin_ffsll(value); }

namespace outlierscope {

template <auto Kernel>
struct Entry;

template <class... A, void (*Kernel)(A...)>
struct Entry<Kernel> {
  static constexpr size_t count = sizeof...(A);

  // Offsets of the arguments as CUDA packs them: each at a multiple of its alignment.
  struct Layout {
    size_t offsets[count + 1], size;
    constexpr Layout() : offsets{}, size(0) {
      constexpr size_t sizes[] = {sizeof(A)..., 1}, alignments[] = {alignof(A)..., 1};
      for (size_t i = 0; i < count; i++) {
        size = (size + alignments[i] - 1) / alignments[i] * alignments[i];
        offsets[i] = size;
        size += sizes[i];
      }
    }
  };
  static constexpr Layout layout{};

  template <class T>
  static T read(const unsigned char *from) {
    T value;
    memcpy(&value, from, sizeof value);
    return value;
  }

  template <size_t... I>
  static void call(const unsigned char *arguments, std::index_sequence<I...>) {
    Kernel(read<A>(arguments + layout.offsets[I])...);
  }

  static void run_block(const unsigned char *arguments, const outlierscope_grid *grid,
                        uint64_t block) {
    gridDim = {grid->grid_x, grid->grid_y, grid->grid_z};
    blockIdx = {static_cast<unsigned>(block % grid->grid_x),
                static_cast<unsigned>(block / grid->grid_x % grid->grid_y),
                static_cast<unsigned>(block / grid->grid_x / grid->grid_y)};
    call(arguments, std::index_sequence_for<A...>{});
  }

  template <class T>
  static constexpr unsigned short pointee_alignment() {
    if constexpr (std::is_pointer_v<T>) {
      if constexpr (std::is_void_v<std::remove_pointer_t<T>>) return 1;
      else return alignof(std::remove_pointer_t<T>);
    }
    return 0;
  }

  static constexpr outlierscope_kernel describe() {
    outlierscope_kernel kernel{run_block, static_cast<unsigned>(layout.size), 0, {}, {}};
    constexpr unsigned short alignments[] = {pointee_alignment<A>()..., 0};
    for (size_t i = 0; i < count; i++) {
      if (!alignments[i]) continue;
      kernel.pointer_offsets[kernel.pointer_count] = static_cast<unsigned short>(layout.offsets[i]);
      kernel.pointer_alignments[kernel.pointer_count++] = alignments[i];
    }
    return kernel;
  }
};

}  // namespace outlierscope

#define OUTLIERSCOPE_KERNEL(name)                                                       \
  extern "C" __attribute__((visibility("default")))                                     \
  constexpr outlierscope_kernel outlierscope_kernel_##name =                            \
      outlierscope::Entry<name>::describe();
