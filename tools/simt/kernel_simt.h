// The part of kernel.h for SIMT mode: threads of a block, barriers, and the exchange of values within a
// warp. A thread is a fiber of the driver; all of a block run on one thread of the system.
#pragma once

#define OUTLIERSCOPE_WARP 32
static thread_local dim3 threadIdx, blockDim;
static constexpr int warpSize = OUTLIERSCOPE_WARP;

namespace outlierscope {

static thread_local const outlierscope_simt *simt;

inline void begin_threads(const outlierscope_block *block) {
  blockDim = {block->grid.block_x, block->grid.block_y, block->grid.block_z};
  simt = block->simt;
}
inline void begin_thread(unsigned thread) { threadIdx = place(thread, blockDim.x, blockDim.y); }

inline void yield() {
  dim3 self = threadIdx;
  simt->yield();
  threadIdx = self;  // other threads ran meanwhile
}
inline uint64_t wait(const outlierscope_call &call) {
  dim3 self = threadIdx;
  uint64_t result = simt->wait(&call);
  threadIdx = self;
  return result;
}

inline int lane() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) %
         OUTLIERSCOPE_WARP;
}

template <class T>
inline T shuffle(outlierscope_call::Kind kind, unsigned mask, T value, int source,
                 const char *file, int line) {
  static_assert(std::is_arithmetic_v<T> && sizeof value <= 8, "shuffles take numbers");
  outlierscope_call call{kind, mask, source, 0, file, line};
  memcpy(&call.value, &value, sizeof value);
  uint64_t result = wait(call);
  memcpy(&value, &result, sizeof value);
  return value;
}

}  // namespace outlierscope

// What a call names as its place in the source.
#define OUTLIERSCOPE_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(OUTLIERSCOPE_PLACE) {
  outlierscope::wait({outlierscope_call::SYNCTHREADS, 0, 0, 0, file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, OUTLIERSCOPE_PLACE) {
  outlierscope::wait({outlierscope_call::SYNCWARP, mask, 0, 0, file, line});
}

// `width` lanes, a power of two, exchange among themselves. A lane whose source is beyond them keeps its
// own value.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, OUTLIERSCOPE_PLACE) {
  int first = outlierscope::lane() & -width;
  return outlierscope::shuffle(outlierscope_call::SHUFFLE, mask, value,
                               first + (source & (width - 1)), file, line);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        OUTLIERSCOPE_PLACE) {
  int lane = outlierscope::lane(), source = lane - static_cast<int>(delta & 31);
  return outlierscope::shuffle(outlierscope_call::SHUFFLE_UP, mask, value,
                               source < (lane & -width) ? lane : source, file, line);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          OUTLIERSCOPE_PLACE) {
  int lane = outlierscope::lane(), source = lane + static_cast<int>(delta & 31);
  return outlierscope::shuffle(outlierscope_call::SHUFFLE_DOWN, mask, value,
                               source > (lane | (width - 1)) ? lane : source, file, line);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, OUTLIERSCOPE_PLACE) {
  int lane = outlierscope::lane(), source = lane ^ (lanes & 31);
  return outlierscope::shuffle(outlierscope_call::SHUFFLE_XOR, mask, value,
                               source > (lane | (width - 1)) ? lane : source, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, OUTLIERSCOPE_PLACE) {
  return static_cast<unsigned>(outlierscope::wait(
      {outlierscope_call::BALLOT, mask, 0, predicate != 0, file, line}));
}
inline int __any_sync(unsigned mask, int predicate, OUTLIERSCOPE_PLACE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, OUTLIERSCOPE_PLACE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}
