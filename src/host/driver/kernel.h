// What CUDA C++ needs to compile as ordinary C++, with a warp of one or, in SIMT mode, of 32: put before
// each kernel source by the host NVRTC, which also ends the source with OUTLIERSCOPE_KERNEL(name) for
// each kernel in it.
#pragma once
#include <cstddef>
// Without this, g++'s <cmath> brings std::cyl_bessel_j and the like, which NVRTC does not have and which
// take longer to read than all else that a small kernel is compiled from.
#undef _GLIBCXX_USE_STD_SPEC_FUNCS
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernel_entry.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
// A block runs on one thread of the system, so memory shared by a block is memory of that thread.
// AddressSanitizer guards no such memory; there blocks run one by one, and plain memory does.
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

struct dim3 {
  unsigned x, y, z;
};
static thread_local dim3 blockIdx, gridDim;

namespace outlierscope {

// The host NVRTC turns `extern __shared__ T name[];` into a pointer to this.
static thread_local void *dynamic_shared;
struct Nothing {
  void operator=(int) const {}
};

inline dim3 place(uint64_t index, unsigned x, unsigned y) {
  return {static_cast<unsigned>(index % x), static_cast<unsigned>(index / x % y),
          static_cast<unsigned>(index / x / y)};
}

}  // namespace outlierscope

static constexpr outlierscope::Nothing extern_shared_must_be_in_a_function{};

#ifdef OUTLIERSCOPE_SIMT
#include "kernel_simt.h"
#else
#define OUTLIERSCOPE_WARP 1
static constexpr dim3 threadIdx{0, 0, 0}, blockDim{1, 1, 1};

inline void __syncthreads() {}
inline void __syncwarp(unsigned = 1) {}

namespace outlierscope {

inline void begin_threads(const outlierscope_block *) {}
inline void begin_thread(unsigned) {}
inline void yield() {}

}  // namespace outlierscope
#endif

namespace outlierscope {

// Changes a value as one step, also where the compiler has no instruction for it, as for float.
template <class T, class Change>
inline T exchange(T *address, Change change) {
  yield();
  T old, next;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do {
    next = change(old);
  } while (!__atomic_compare_exchange(address, &old, &next, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
  return old;
}

}  // namespace outlierscope

// The type comes from the address alone, so that 1 can be added to an unsigned.
template <class T>
inline T atomicAdd(T *address, std::common_type_t<T> value) {
  if constexpr (std::is_integral_v<T>) {
    outlierscope::yield();
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  } else {
    return outlierscope::exchange(address, [=](T old) { return old + value; });
  }
}
template <class T>
inline T atomicMax(T *address, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicMax takes integers");
  return outlierscope::exchange(address, [=](T old) { return old < value ? value : old; });
}
template <class T>
inline T atomicMin(T *address, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicMin takes integers");
  return outlierscope::exchange(address, [=](T old) { return value < old ? value : old; });
}
template <class T>
inline T atomicExch(T *address, std::common_type_t<T> value) {
  return outlierscope::exchange(address, [=](T) { return value; });
}
template <class T>
inline T atomicCAS(T *address, std::common_type_t<T> expected, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>, "atomicCAS takes integers");
  return outlierscope::exchange(address, [=](T old) { return old == expected ? value : old; });
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

  static void begin_block(const outlierscope_block *block) {
    const outlierscope_grid &grid = block->grid;
    gridDim = {grid.grid_x, grid.grid_y, grid.grid_z};
    blockIdx = place(block->index, grid.grid_x, grid.grid_y);
    dynamic_shared = block->shared;
    begin_threads(block);
  }

  static void run_thread(const unsigned char *arguments, unsigned thread) {
    begin_thread(thread);
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

  static constexpr outlierscope_kernel describe(const char *name) {
    outlierscope_kernel kernel{
        name, begin_block, run_thread, static_cast<unsigned>(layout.size), 0, {}, {}};
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

#define OUTLIERSCOPE_EXPORT extern "C" __attribute__((visibility("default")))
#define OUTLIERSCOPE_KERNEL(name)                                         \
  OUTLIERSCOPE_EXPORT constexpr outlierscope_kernel outlierscope_kernel_##name = \
      outlierscope::Entry<name>::describe(#name);

// For which device this is compiled.
OUTLIERSCOPE_EXPORT constexpr int outlierscope_warp = OUTLIERSCOPE_WARP;
