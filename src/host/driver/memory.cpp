// Page-locked memory of the host, and copies and fills.
#include <cstdlib>
#include <cstring>
#include <map>

#include "host.h"

namespace {

std::mutex pinned_mutex;
// Page-locked memory: address and size. Never destroyed: queued work may still run while the process
// exits.
auto &pinned = *new std::map<uintptr_t, size_t>;

bool is_pinned(const void *pointer, size_t bytes) {
  auto begin = reinterpret_cast<uintptr_t>(pointer);
  std::lock_guard lock(pinned_mutex);
  auto after = pinned.upper_bound(begin);
  if (after == pinned.begin()) return false;
  auto &[base, size] = *std::prev(after);
  return begin - base <= size && bytes <= size - (begin - base);
}

}  // namespace

EXPORT CUresult cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  if (!pointer || size == 0 || flags > 7) return CUDA_ERROR_INVALID_VALUE;
  constexpr size_t page = 4096;
  if (size > host::memory_limit() || size > host::available_memory()) return CUDA_ERROR_OUT_OF_MEMORY;
  void *memory = aligned_alloc(page, (size + page - 1) / page * page);
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  std::lock_guard lock(pinned_mutex);
  pinned[reinterpret_cast<uintptr_t>(memory)] = size;
  *pointer = memory;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFreeHost(void *pointer) {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  {
    std::lock_guard lock(pinned_mutex);
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

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                                CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::check_range(to, bytes)) return error;
  return stream->enqueue([=] { memset(reinterpret_cast<void *>(to), value, bytes); });
}
