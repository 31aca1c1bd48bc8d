// Device memory on the host: allocation in the order of streams, from a pool, and the table of what is
// live. What is freed on a stream can be handed out again on that stream at once, because work that uses
// it afterwards runs afterwards; other streams get it when that stream has ended.
//
// Allocations of a megabyte and more are pieces of one range of addresses. A piece is cut to the size
// asked for and joined with its free neighbors when it is freed, so what is free serves any size, and any
// of its pages can go back to the system. Smaller allocations are blocks of few sizes from the heap,
// which are quicker to find.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>

#include "host.h"

namespace {

constexpr size_t alignment = 64;
constexpr size_t smallest_piece = size_t{1} << 20;
constexpr size_t granule = size_t{64} << 10;  // of pieces: a multiple of any system's page
// What the pool may hold beyond the most that was ever in use, for what does not fit together: this, or an
// eighth of what was in use where that is more.
constexpr uint64_t pool_slack = uint64_t{128} << 20;

struct Allocation {
  size_t size;      // as asked
  size_t capacity;  // as taken
};

using Blocks = std::multimap<size_t, void *>;            // by capacity
using FreePieces = std::set<std::pair<size_t, uintptr_t>>;  // sizes and addresses

struct Piece {
  size_t size;
  FreePieces *list;  // null while it is in use
};
using Pieces = std::map<uintptr_t, Piece>;

struct Free {
  Blocks blocks;
  FreePieces pieces;
};

std::mutex table_mutex;
// Never destroyed: queued work may still run while the process exits.
auto &live = *new std::map<CUdeviceptr, Allocation>;
// All pieces of the range, by address. Neighbors in the same list are one piece.
auto &pieces = *new Pieces;
// Addresses that no memory stands behind.
auto &vacant = *new FreePieces;
// What was freed on each stream, and what any stream may have.
auto &freed = *new std::unordered_map<host::Stream *, Free>;
auto &shared = *new Free;
// The attributes of the pool.
uint64_t reserved = 0, reserved_high = 0, used = 0, used_high = 0, release_threshold = 0;
int pool;
CUmemoryPool pool_handle() { return reinterpret_cast<CUmemoryPool>(&pool); }

size_t round_up(size_t size, size_t step) { return (size + step - 1) / step * step; }

// AddressSanitizer guards what the heap gives.
bool is_piece(size_t size) { return size >= smallest_piece && !host::address_sanitizer; }

size_t capacity_for(size_t size) {
  if (host::address_sanitizer) return size;  // what lies beyond is guarded
  if (is_piece(size)) return round_up(size, granule);
  // Few distinct sizes make reuse likely; waste is at most an eighth.
  size_t step = alignment;
  while (step * 8 < size) step *= 2;
  return round_up(size, step);
}

// --- Pieces ---

void unlist(Pieces::iterator piece) {
  piece->second.list->erase({piece->second.size, piece->first});
  piece->second.list = nullptr;
}

// Frees a piece that is in no list.
void enlist(Pieces::iterator piece, FreePieces &into) {
  auto absorb = [](Pieces::iterator lower, Pieces::iterator upper) {
    lower->second.size += upper->second.size;
    pieces.erase(upper);
  };
  if (auto next = std::next(piece); next != pieces.end() && next->second.list == &into) {
    unlist(next);
    absorb(piece, next);
  }
  if (piece != pieces.begin() && std::prev(piece)->second.list == &into) {
    auto previous = std::prev(piece);
    unlist(previous);
    absorb(previous, piece);
    piece = previous;
  }
  piece->second.list = &into;
  into.emplace(piece->second.size, piece->first);
}

// Takes the first bytes of a free piece; the rest stays where it is listed.
void *cut(Pieces::iterator piece, size_t size) {
  FreePieces &from = *piece->second.list;
  unlist(piece);
  if (size_t rest = piece->second.size - size) {
    piece->second.size = size;
    enlist(pieces.emplace(piece->first + size, Piece{rest, nullptr}).first, from);
  }
  return reinterpret_cast<void *>(piece->first);
}

// Gives the memory of a piece that is in no list back to the system.
void vacate(Pieces::iterator piece) {
  madvise(reinterpret_cast<void *>(piece->first), piece->second.size, MADV_DONTNEED);
  enlist(piece, vacant);
}

// Reserves the range: addresses only, and several times what can be in use, because holes may be too small.
void reserve_range() {
  size_t size = 8 * std::min(round_up(host::memory_limit(), granule), size_t{1} << 43);
  for (; size >= smallest_piece; size = size / 2 / granule * granule) {
    void *range = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) continue;
    madvise(range, size, MADV_HUGEPAGE);
    enlist(pieces.emplace(reinterpret_cast<uintptr_t>(range), Piece{size, nullptr}).first, vacant);
    return;
  }
}

// --- What is free ---

// A freed block that fits well, or null; sets `capacity` to what it has.
void *find_block(Blocks &blocks, size_t &capacity) {
  auto found = blocks.lower_bound(capacity);
  if (found == blocks.end() || found->first > capacity + capacity / 4) return nullptr;
  void *pointer = found->second;
  capacity = found->first;
  blocks.erase(found);
  return pointer;
}

// The free piece that fits best, or the end.
Pieces::iterator find_piece(size_t size, FreePieces &own) {
  auto best = pieces.end();
  for (FreePieces *list : {&own, &shared.pieces}) {
    auto found = list->lower_bound({size, 0});
    if (found == list->end()) continue;
    if (best == pieces.end() || found->first < best->second.size) best = pieces.find(found->second);
  }
  return best;
}

// Gives the largest of what is free back until the pool holds no more than `keep`. With a stream, what is
// given back may still be used by work of that stream, and goes behind it.
void release(Free &from, uint64_t keep, host::Stream *stream) {
  while (reserved > keep && !from.pieces.empty()) {
    auto piece = pieces.find(from.pieces.rbegin()->second);
    cut(piece, std::min(piece->second.size, round_up(reserved - keep, granule)));
    reserved -= piece->second.size;
    if (stream) {
      stream->queue([piece] {
        std::lock_guard lock(table_mutex);
        vacate(piece);
      });
    } else {
      vacate(piece);
    }
  }
  while (reserved > keep && !from.blocks.empty()) {
    auto largest = std::prev(from.blocks.end());
    reserved -= largest->first;
    if (stream) stream->queue([memory = largest->second] { free(memory); });
    else free(largest->second);
    from.blocks.erase(largest);
  }
}

// Lets all streams have what was freed on one whose work is done.
void share(Free &own) {
  shared.blocks.merge(own.blocks);
  while (!own.pieces.empty()) {
    auto piece = pieces.find(own.pieces.begin()->second);
    unlist(piece);
    enlist(piece, shared.pieces);
  }
}

void share_idle() {
  for (auto &[stream, own] : freed) {
    if (stream->idle()) share(own);
  }
}

// --- More from the system ---

// Gives back what the pool should not hold beside `bytes` more.
void keep_bound(size_t bytes, host::Stream *stream) {
  uint64_t in_use = std::max(used_high, used + bytes);
  uint64_t keep = in_use + std::max(pool_slack, in_use / 8) - bytes;
  release(shared, keep, nullptr);
  release(freed[stream], keep, stream);
}

// Whether that much more is within the limit, and the system has it. The system is asked for every 64 MB
// only: reading its answer takes longer than most allocations.
bool may_take(size_t bytes) {
  static size_t unchecked = 0;
  size_t limit = host::memory_limit();
  if (bytes > limit || reserved > limit - bytes) return false;
  unchecked += bytes;
  if (unchecked >= (size_t{64} << 20)) {
    if (bytes > host::available_memory()) return false;
    unchecked = 0;
  }
  return true;
}

void count_taken(size_t bytes) {
  reserved += bytes;
  reserved_high = std::max(reserved_high, reserved);
}

void *new_block(size_t capacity) {
  void *pointer = nullptr;
  if (!may_take(capacity) || posix_memalign(&pointer, alignment, capacity)) return nullptr;
  count_taken(capacity);
  return pointer;
}

// A free piece of `size` bytes, some of them new: as few as can be, behind a piece that was free already.
Pieces::iterator new_piece(size_t size, FreePieces &own) {
  if (pieces.empty()) reserve_range();
  auto best = pieces.end();
  FreePieces *into = &own;
  size_t had = 0;
  for (auto [room, address] : vacant) {
    auto hole = pieces.find(address);
    auto before = hole == pieces.begin() ? hole : std::prev(hole);
    FreePieces *list = before->second.list;
    size_t has = list == &own || list == &shared.pieces ? before->second.size : 0;
    if (has + room < size || (best != pieces.end() && has <= had)) continue;
    best = hole;
    had = has;
    into = has ? list : &own;
  }
  if (best == pieces.end() || !may_take(size - had)) return pieces.end();
  uintptr_t address = best->first;
  if (mprotect(reinterpret_cast<void *>(address), size - had, PROT_READ | PROT_WRITE)) {
    return pieces.end();
  }
  cut(best, size - had);
  enlist(best, *into);
  count_taken(size - had);
  return pieces.find(address - had);
}

// Memory for a stream, or null; sets `capacity` to what it has.
void *take(bool piece, size_t &capacity, host::Stream *stream) {
  Free &own = freed[stream];
  if (piece) {
    auto found = find_piece(capacity, own.pieces);
    if (found == pieces.end()) {
      keep_bound(capacity, stream);
      found = new_piece(capacity, own.pieces);
    }
    return found == pieces.end() ? nullptr : cut(found, capacity);
  }
  if (void *memory = find_block(own.blocks, capacity)) return memory;
  if (void *memory = find_block(shared.blocks, capacity)) return memory;
  keep_bound(capacity, stream);
  return new_block(capacity);
}

}  // namespace

namespace host {

CUresult check_range(CUdeviceptr pointer, size_t bytes) {
  std::lock_guard lock(table_mutex);
  auto after = live.upper_bound(pointer);
  if (after == live.begin()) return CUDA_ERROR_INVALID_VALUE;
  auto &[base, allocation] = *std::prev(after);
  size_t offset = pointer - base, size = allocation.size;
  return offset <= size && bytes <= size - offset ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
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

void release_unused() {
  std::lock_guard lock(table_mutex);
  if (reserved <= release_threshold) return;
  share_idle();
  release(shared, release_threshold, nullptr);
}

void adopt_memory(Stream *ended) {
  std::lock_guard lock(table_mutex);
  auto found = freed.find(ended);
  if (found == freed.end()) return;
  share(found->second);
  freed.erase(found);
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
  if (capacity < size || capacity > host::memory_limit()) return CUDA_ERROR_OUT_OF_MEMORY;
  std::unique_lock lock(table_mutex);
  void *memory = take(is_piece(size), capacity, stream);
  if (!memory) {
    lock.unlock();
    host::synchronize_all();
    lock.lock();
    share_idle();
    release(shared, 0, nullptr);
    memory = take(is_piece(size), capacity, stream);
  }
  if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
  live[*pointer = reinterpret_cast<uintptr_t>(memory)] = {size, capacity};
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
  auto [size, capacity] = found->second;
  live.erase(found);
  used -= size;
  Free &own = freed[stream];
  if (is_piece(size)) {
    enlist(pieces.find(pointer), own.pieces);
  } else {
    own.blocks.emplace(capacity, reinterpret_cast<void *>(pointer));
    // The sanitizer then finds what uses the block after this.
    if (host::address_sanitizer) release(own, 0, stream);
  }
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
  share_idle();
  release(shared, keep, nullptr);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  if (CUresult error = host::require_context()) return error;
  if (!available || !total) return CUDA_ERROR_INVALID_VALUE;
  *total = host::memory_limit();
  std::lock_guard lock(table_mutex);
  *available = std::min(host::available_memory(), *total - std::min<size_t>(*total, reserved));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr pointer) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(table_mutex);
  auto after = live.upper_bound(pointer);
  if (after == live.begin()) return CUDA_ERROR_NOT_FOUND;
  auto &[begin, allocation] = *std::prev(after);
  if (pointer - begin >= allocation.size) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = begin;
  if (size) *size = allocation.size;
  return CUDA_SUCCESS;
}
