// Modules and launches. A "cubin" of the host NVRTC is a shared object; each kernel in it has an entry
// (see kernel.h) that runs one block. A launch spreads the blocks of the grid over the cores.
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "host.h"
#include "kernel_entry.h"

namespace {

struct Function {
  const outlierscope_kernel *entry;
};

struct Module {
  void *library;
  int file;  // stays open: dlopen takes a reused name, /proc/self/fd/N, for the library it has
  std::unordered_map<std::string, std::unique_ptr<Function>> functions;
};

std::mutex table_mutex;
auto &modules = *new std::unordered_map<CUmodule, std::unique_ptr<Module>>;
auto &functions = *new std::unordered_set<Function *>;

// The length of a shared object in memory: cuModuleLoadData is not told it. The linker puts the table
// of section headers last.
size_t image_size(const void *image) {
  Elf64_Ehdr header;
  memcpy(&header, image, sizeof header);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_DYN) return 0;
  return header.e_shoff + size_t{header.e_shnum} * header.e_shentsize;
}

}  // namespace

EXPORT CUresult cuModuleLoadData(CUmodule *handle, const void *image) {
  if (CUresult error = host::require_context()) return error;
  if (!handle || !image) return CUDA_ERROR_INVALID_VALUE;
  size_t size = image_size(image);
  if (!size) return CUDA_ERROR_INVALID_IMAGE;
  // A file in memory: nothing is left on disk whatever happens.
  int file = memfd_create("outlierscope-module", MFD_CLOEXEC);
  if (file < 0) return CUDA_ERROR_OUT_OF_MEMORY;
  const char *bytes = static_cast<const char *>(image);
  for (size_t done = 0; done < size;) {
    ssize_t count = write(file, bytes + done, size - done);
    if (count <= 0) {
      close(file);
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    done += static_cast<size_t>(count);
  }
  std::string path = "/proc/self/fd/" + std::to_string(file);
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    close(file);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  auto module = std::make_unique<Module>();
  module->library = library;
  module->file = file;
  std::lock_guard lock(table_mutex);
  *handle = reinterpret_cast<CUmodule>(module.get());
  modules[*handle] = std::move(module);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleUnload(CUmodule handle) {
  if (CUresult error = host::require_context()) return error;
  host::synchronize_all();
  std::lock_guard lock(table_mutex);
  auto found = modules.find(handle);
  if (found == modules.end()) return CUDA_ERROR_INVALID_HANDLE;
  for (auto &[name, function] : found->second->functions) functions.erase(function.get());
  dlclose(found->second->library);
  close(found->second->file);
  modules.erase(found);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name) {
  if (CUresult error = host::require_context()) return error;
  if (!handle || !name) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(table_mutex);
  auto found = modules.find(module_handle);
  if (found == modules.end()) return CUDA_ERROR_INVALID_HANDLE;
  auto &slot = found->second->functions[name];
  if (!slot) {
    std::string symbol = std::string("outlierscope_kernel_") + name;
    auto *entry =
        static_cast<const outlierscope_kernel *>(dlsym(found->second->library, symbol.c_str()));
    if (!entry) return CUDA_ERROR_NOT_FOUND;
    slot = std::make_unique<Function>(Function{entry});
    functions.insert(slot.get());
  }
  *handle = reinterpret_cast<CUfunction>(slot.get());
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                               unsigned block_x, unsigned block_y, unsigned block_z,
                               unsigned shared_bytes, CUstream stream_handle, void **parameters,
                               void **extra) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(stream_handle);
  const outlierscope_kernel *entry;
  {
    std::lock_guard lock(table_mutex);
    auto *function = reinterpret_cast<Function *>(handle);
    if (!stream || !functions.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    entry = function->entry;
  }
  uint64_t threads = uint64_t{block_x} * block_y * block_z;
  uint64_t blocks = uint64_t{grid_x} * grid_y * grid_z;
  if (threads != 1 || blocks == 0 || grid_x > 0x7fffffff || grid_y > 65535 || grid_z > 65535 ||
      shared_bytes > 49152) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Only the packed form of the arguments is used here; `parameters` is for callers in C.
  if (parameters || !extra) return CUDA_ERROR_NOT_SUPPORTED;
  const unsigned char *packed = nullptr;
  size_t size = 0;
  for (void **item = extra; *item != CU_LAUNCH_PARAM_END; item += 2) {
    if (*item == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      packed = static_cast<unsigned char *>(item[1]);
    } else if (*item == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      size = *static_cast<size_t *>(item[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  if (size != entry->parameter_bytes || (size && !packed)) return CUDA_ERROR_INVALID_VALUE;
  std::vector<unsigned char> arguments(packed, packed + size);
  // A GPU faults when a kernel touches memory that is not its own; here it is told at the launch.
  for (unsigned i = 0; i < entry->pointer_count; i++) {
    CUdeviceptr pointer;
    memcpy(&pointer, packed + entry->pointer_offsets[i], sizeof pointer);
    if (pointer && host::check_range(pointer, 1)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    if (pointer % entry->pointer_alignments[i]) return CUDA_ERROR_MISALIGNED_ADDRESS;
  }
  outlierscope_grid grid{grid_x, grid_y, grid_z, block_x, block_y, block_z};
  return stream->enqueue([entry, grid, blocks, arguments = std::move(arguments)] {
    auto count = static_cast<int64_t>(blocks);
#pragma omp parallel for schedule(dynamic, 1) if (count > 1)
    for (int64_t block = 0; block < count; block++) {
      entry->run_block(arguments.data(), &grid, static_cast<uint64_t>(block));
    }
  });
}
