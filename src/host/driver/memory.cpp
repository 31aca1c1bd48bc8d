// Device memory on the host: 64-byte aligned blocks, a table of what is live, and stream-ordered
// allocation from a pool. A block freed on a stream can be handed out again on that stream at once,
// because work that uses it afterwards runs afterwards; only trimming gives memory back to the system.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <unordered_map>

#include "host.h"

namespace {

constexpr size_t alignment = 64;
constexpr size_t huge_page = size_t{2} << 20;
// Freed bytes that a stream's pool may keep; enough for the temporaries of a layer.
constexpr size_t pool_limit = size_t{128} << 20;

struct Block {
  size_t size;      // as asked
  size_t capacity;  // as allocated
};

struct Pool {
  std::multimap<size_t, void *> blocks;  // by capacity
  size_t bytes = 0;
};

std::mutex table_mutex;
// Never destroyed: queued work may still run while the process exits.
auto &live = *new std::map<CUdeviceptr, Block>;
auto &pools = *new std::unordered_map<host::Stream *, Pool>;

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
  size_t capacity = round_up(size ? size : 1, step);
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

CUresult new_block(size_t size, void **pointer, Block *block) {
  block->size = size;
  block->capacity = capacity_for(size);
  if (block->capacity >= (size_t{64} << 20) && block->capacity > available_memory()) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *pointer = allocate_block(block->capacity);
  return *pointer ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
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

}  // namespace host

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) {
  if (CUresult error = host::require_context()) return error;
  if (!pointer || size == 0) return CUDA_ERROR_INVALID_VALUE;
  void *memory;
  Block block;
  if (CUresult error = new_block(size, &memory, &block)) return error;
  std::lock_guard lock(table_mutex);
  live[*pointer = address(memory)] = block;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
  if (CUresult error = host::require_context()) return error;
  if (!pointer) return CUDA_SUCCESS;
  {
    std::lock_guard lock(table_mutex);
    if (!live.erase(pointer)) return CUDA_ERROR_INVALID_VALUE;
  }
  host::synchronize_all();  // as the driver: work that uses the block ends first
  free(reinterpret_cast<void *>(pointer));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t size, CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  if (!pointer || size == 0) return CUDA_ERROR_INVALID_VALUE;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  std::lock_guard lock(table_mutex);
  Pool &pool = pools[stream];
  size_t capacity = capacity_for(size);
  auto found = pool.blocks.lower_bound(capacity);
  if (found != pool.blocks.end() && found->first <= capacity + capacity / 4) {
    live[*pointer = address(found->second)] = {size, found->first};
    pool.bytes -= found->first;
    pool.blocks.erase(found);
    return CUDA_SUCCESS;
  }
  while (pool.bytes > pool_limit) {
    auto largest = std::prev(pool.blocks.end());
    pool.bytes -= largest->first;
    stream->enqueue([memory = largest->second] { free(memory); });
    pool.blocks.erase(largest);
  }
  void *memory;
  Block block;
  if (CUresult error = new_block(size, &memory, &block)) return error;
  live[*pointer = address(memory)] = block;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  std::lock_guard lock(table_mutex);
  auto found = live.find(pointer);
  if (found == live.end()) return CUDA_ERROR_INVALID_VALUE;
  if (host::address_sanitizer) {  // which then finds what uses the block after this
    stream->enqueue([pointer] { free(reinterpret_cast<void *>(pointer)); });
    live.erase(found);
    return CUDA_SUCCESS;
  }
  Pool &pool = pools[stream];
  pool.blocks.emplace(found->second.capacity, reinterpret_cast<void *>(pointer));
  pool.bytes += found->second.capacity;
  live.erase(found);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  if (CUresult error = host::require_context()) return error;
  if (!available || !total) return CUDA_ERROR_INVALID_VALUE;
  *available = available_memory();
  *total = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) *
           static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                     CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!from) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = host::check_range(to, bytes)) return error;
  // From pageable memory the driver copies aside before it returns; the caller may reuse `from`.
  void *aside = malloc(bytes ? bytes : 1);
  if (!aside) return CUDA_ERROR_OUT_OF_MEMORY;
  memcpy(aside, from, bytes);
  stream->enqueue([to, aside, bytes] {
    memcpy(reinterpret_cast<void *>(to), aside, bytes);
    free(aside);
  });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  if (CUresult error = host::require_context()) return error;
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
  stream->enqueue([to, from, bytes] {
    memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
  });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                                CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::check_range(to, bytes)) return error;
  stream->enqueue([to, value, bytes] { memset(reinterpret_cast<void *>(to), value, bytes); });
  return CUDA_SUCCESS;
}
