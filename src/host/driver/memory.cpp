// Device memory on the host: 64-byte aligned blocks, a table of what is live, and stream-ordered
// allocation from a pool. A block freed on a stream can be handed out again on that stream at once,
// because work that uses it afterwards runs afterwards; other streams get it when that stream has ended.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <unordered_map>

#include "host.h"

namespace {

constexpr size_t alignment = 64;
constexpr size_t huge_page = size_t{2} << 20;
// What the pool may hold beyond the most that was ever in use; enough for the temporaries of a layer.
constexpr size_t pool_slack = size_t{128} << 20;

struct Block {
  size_t size;      // as asked
  size_t capacity;  // as allocated
};

using Blocks = std::multimap<size_t, void *>;  // by capacity

std::mutex table_mutex;
// Never destroyed: queued work may still run while the process exits.
auto &live = *new std::map<CUdeviceptr, Block>;
// What was freed on each stream, and under null what any stream may have.
auto &freed = *new std::unordered_map<host::Stream *, Blocks>;
// Page-locked memory of the host: address and size.
auto &pinned = *new std::map<uintptr_t, size_t>;
// The attributes of the pool.
uint64_t reserved = 0, reserved_high = 0, used = 0, used_high = 0, release_threshold = 0;
int pool;
CUmemoryPool pool_handle() { return reinterpret_cast<CUmemoryPool>(&pool); }

CUdeviceptr address(void *pointer) { return reinterpret_cast<uintptr_t>(pointer); }

size_t round_up(size_t size, size_t step) { return (size + step - 1) / step * step; }

void *allocate_block(size_t capacity) {
  bool large = capacity >= 2 * huge_page;
  void *pointer = nullptr;
  if (posix_memalign(&pointer, large ? huge_page : alignment, capacity)) return nullptr;
  if (large) madvise(pointer, capacity, MADV_HUGEPAGE);
  return pointer;
}

size_t capacity_for(size_t size) {
  if (host::address_sanitizer) return size;  // what lies beyond is guarded
  // Few distinct sizes make reuse likely; waste is at most an eighth.
  size_t step = alignment;
  while (step * 8 < size) step *= 2;
  size_t capacity = round_up(size, step);
  return capacity >= 2 * huge_page ? round_up(capacity, huge_page) : capacity;
}

// Memory the system can still give without swapping; asking for more would have the process killed.
size_t available_memory() {
  size_t kilobytes = 0;
  if (FILE *file = fopen("/proc/meminfo", "r")) {
    char line[256];
    while (fgets(line, sizeof line, file)) {
      if (sscanf(line, "MemAvailable: %zu", &kilobytes) == 1) break;
    }
    fclose(file);
  }
  return kilobytes * 1024;
}

// A block from the system, or null if that would exceed the limit or what the system has. The system
// is asked for every 64 MB only: reading its answer takes longer than most allocations.
void *new_block(size_t capacity) {
  static size_t unchecked = 0;
  size_t limit = host::memory_limit();
  if (capacity > limit || reserved > limit - capacity) return nullptr;
  unchecked += capacity;
  if (unchecked >= (size_t{64} << 20)) {
    if (capacity > available_memory()) return nullptr;
    unchecked = 0;
  }
  void *pointer = allocate_block(capacity);
  if (!pointer) return nullptr;
  reserved += capacity;
  reserved_high = std::max(reserved_high, reserved);
  return pointer;
}

// A freed block that fits well, or null; sets `capacity` to what it has.
void *take(Blocks &blocks, size_t &capacity) {
  auto found = blocks.lower_bound(capacity);
  if (found == blocks.end() || found->first > capacity + capacity / 4) return nullptr;
  void *pointer = found->second;
  capacity = found->first;
  blocks.erase(found);
  return pointer;
}

// Gives the largest of the blocks back until the pool holds no more than `keep`. With a stream, what is
// given back may still be used by work of that stream, and is freed behind it.
void release(Blocks &blocks, uint64_t keep, host::Stream *stream) {
  while (reserved > keep && !blocks.empty()) {
    auto largest = std::prev(blocks.end());
    reserved -= largest->first;
    if (stream) stream->queue([memory = largest->second] { free(memory); });
    else free(largest->second);
    blocks.erase(largest);
  }
}

void release_all(uint64_t keep) {
  for (auto &[stream, blocks] : freed) release(blocks, keep, nullptr);
}

bool is_pinned(const void *pointer, size_t bytes) {
  auto begin = reinterpret_cast<uintptr_t>(pointer);
  std::lock_guard lock(table_mutex);
  auto after = pinned.upper_bound(begin);
  if (after == pinned.begin()) return false;
  auto &[base, size] = *std::prev(after);
  return begin - base <= size && bytes <= size - (begin - base);
}

}  // namespace

namespace host {

CUresult check_range(CUdeviceptr pointer, size_t bytes) {
  std::lock_guard lock(table_mutex);
  auto after = live.upper_bound(pointer);
  if (after == live.begin()) return CUDA_ERROR_INVALID_VALUE;
  auto &[base, block] = *std::prev(after);
  size_t offset = pointer - base;
  return offset <= block.size && bytes <= block.size - offset ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_VALUE;
}

size_t memory_limit() {
  static const size_t limit = [] {
    if (const char *chosen = getenv("OUTLIERSCOPE_HOST_MEMORY")) {
      if (unsigned long long bytes = strtoull(chosen, nullptr, 10)) return size_t{bytes};
    }
    return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) *
           static_cast<size_t>(sysconf(_SC_PAGESIZE));
  }();
  return limit;
}

void release_unused(Stream *stream) {
  std::lock_guard lock(table_mutex);
  if (reserved <= release_threshold) return;
  if (!stream) return release_all(release_threshold);
  release(freed[nullptr], release_threshold, nullptr);
  release(freed[stream], release_threshold, nullptr);
}

void adopt_memory(Stream *ended) {
  std::lock_guard lock(table_mutex);
  auto found = freed.find(ended);
  if (found == freed.end()) return;
  Blocks blocks = std::move(found->second);
  freed.erase(found);
  freed[nullptr].merge(blocks);
}

}  // namespace host

EXPORT CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t size, CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  if (!pointer || size == 0) return CUDA_ERROR_INVALID_VALUE;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  // The real driver records a node that allocates; here memory must come from before the capture.
  if (CUresult error = host::refuse_capture(stream)) return error;
  size_t capacity = capacity_for(size);
  if (capacity < size) return CUDA_ERROR_OUT_OF_MEMORY;
  std::unique_lock lock(table_mutex);
  void *memory = take(freed[stream], capacity);
  if (!memory) memory = take(freed[nullptr], capacity);
  if (!memory) {
    // Blocks of other sizes must not pile up.
    uint64_t most = std::max(used_high, used + size) + pool_slack;
    if (reserved + capacity > most) {
      release(freed[nullptr], most - std::min<uint64_t>(most, capacity), nullptr);
      release(freed[stream], most - std::min<uint64_t>(most, capacity), stream);
    }
    memory = new_block(capacity);
  }
  if (!memory) {
    lock.unlock();
    host::synchronize_all();
    lock.lock();
    release_all(0);
    memory = new_block(capacity);
  }
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  live[*pointer = address(memory)] = {size, capacity};
  used += size;
  used_high = std::max(used_high, used);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::refuse_capture(stream)) return error;
  std::lock_guard lock(table_mutex);
  auto found = live.find(pointer);
  if (found == live.end()) return CUDA_ERROR_INVALID_VALUE;
  used -= found->second.size;
  if (host::address_sanitizer) {  // which then finds what uses the block after this
    stream->queue([pointer] { free(reinterpret_cast<void *>(pointer)); });
    live.erase(found);
    return CUDA_SUCCESS;
  }
  freed[stream].emplace(found->second.capacity, reinterpret_cast<void *>(pointer));
  live.erase(found);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *handle, CUdevice device) {
  if (CUresult error = host::require_context()) return error;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!handle) return CUDA_ERROR_INVALID_VALUE;
  *handle = pool_handle();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute,
                                      void *value) {
  if (CUresult error = host::require_context()) return error;
  if (handle != pool_handle() || !value) return CUDA_ERROR_INVALID_VALUE;
  uint64_t number;
  memcpy(&number, value, sizeof number);
  std::lock_guard lock(table_mutex);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      release_threshold = number;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
      if (number) return CUDA_ERROR_INVALID_VALUE;
      reserved_high = reserved;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (number) return CUDA_ERROR_INVALID_VALUE;
      used_high = used;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

EXPORT CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute,
                                      void *value) {
  if (CUresult error = host::require_context()) return error;
  if (handle != pool_handle() || !value) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(table_mutex);
  const uint64_t numbers[] = {release_threshold, reserved, reserved_high, used, used_high};
  if (attribute < CU_MEMPOOL_ATTR_RELEASE_THRESHOLD || attribute > CU_MEMPOOL_ATTR_USED_MEM_HIGH) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  memcpy(value, &numbers[attribute - CU_MEMPOOL_ATTR_RELEASE_THRESHOLD], sizeof numbers[0]);
  return CUDA_SUCCESS;
}

// As the real driver, this gives back only what no work can use any more.
EXPORT CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t keep) {
  if (CUresult error = host::require_context()) return error;
  if (handle != pool_handle()) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(table_mutex);
  for (auto &[stream, blocks] : freed) {
    if (!stream || stream->idle()) release(blocks, keep, nullptr);
  }
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  if (CUresult error = host::require_context()) return error;
  if (!available || !total) return CUDA_ERROR_INVALID_VALUE;
  *total = host::memory_limit();
  std::lock_guard lock(table_mutex);
  *available = std::min(available_memory(), *total - std::min<size_t>(*total, reserved));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  if (!pointer || size == 0 || flags > 7) return CUDA_ERROR_INVALID_VALUE;
  constexpr size_t page = 4096;
  if (size > host::memory_limit() || size > available_memory()) return CUDA_ERROR_OUT_OF_MEMORY;
  void *memory = aligned_alloc(page, round_up(size, page));
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  std::lock_guard lock(table_mutex);
  pinned[reinterpret_cast<uintptr_t>(memory)] = size;
  *pointer = memory;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFreeHost(void *pointer) {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  {
    std::lock_guard lock(table_mutex);
    if (!pinned.erase(reinterpret_cast<uintptr_t>(pointer))) return CUDA_ERROR_INVALID_VALUE;
  }
  host::synchronize_all();  // copies that use it end first
  free(pointer);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                     CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!from) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = host::check_range(to, bytes)) return error;
  if (is_pinned(from, bytes)) {
    return stream->enqueue([=] { memcpy(reinterpret_cast<void *>(to), from, bytes); });
  }
  if (CUresult error = host::refuse_capture(stream)) return error;
  // From pageable memory the driver copies aside before it returns; the caller may reuse `from`.
  void *aside = malloc(bytes ? bytes : 1);
  if (!aside) return CUDA_ERROR_OUT_OF_MEMORY;
  memcpy(aside, from, bytes);
  return stream->enqueue([to, aside, bytes] {
    memcpy(reinterpret_cast<void *>(to), aside, bytes);
    free(aside);
  });
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!to) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = host::check_range(from, bytes)) return error;
  host::Work copy = [=] { memcpy(to, reinterpret_cast<void *>(from), bytes); };
  if (is_pinned(to, bytes)) return stream->enqueue(copy);
  if (CUresult error = host::refuse_capture(stream)) return error;
  stream->queue(copy);
  stream->synchronize();  // into pageable memory the driver copies before it returns
  return host::asynchronous_error();
}

EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  if (!to) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = host::check_range(from, bytes)) return error;
  // Like the driver's, this waits for no stream that was created as non-blocking.
  memcpy(to, reinterpret_cast<void *>(from), bytes);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                     CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::check_range(from, bytes)) return error;
  if (CUresult error = host::check_range(to, bytes)) return error;
  return stream->enqueue([to, from, bytes] {
    memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
  });
}

EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr pointer) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(table_mutex);
  auto after = live.upper_bound(pointer);
  if (after == live.begin()) return CUDA_ERROR_NOT_FOUND;
  auto &[begin, block] = *std::prev(after);
  if (pointer - begin >= block.size) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = begin;
  if (size) *size = block.size;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                                CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::check_range(to, bytes)) return error;
  return stream->enqueue([=] { memset(reinterpret_cast<void *>(to), value, bytes); });
}
