// Initialization, the one device and its attributes, contexts, and the texts of error codes.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "host.h"

namespace {

std::atomic<bool> initialized{false};
// The primary context is the only one; its handle is the address of this object.
int primary_context;
CUcontext primary() { return reinterpret_cast<CUcontext>(&primary_context); }
thread_local CUcontext current = nullptr;
// Never destroyed: queued work may still run while the process exits.
std::mutex sticky_mutex;
std::atomic<int> sticky{CUDA_SUCCESS};
auto &sticky_text = *new std::string;
// SIMT mode, chosen by the first cuInit.
bool simt = false;
uint64_t simt_seed = 0;
std::atomic<uint64_t> simt_launches{0};
constexpr int simt_multiprocessors = 2;  // as on any machine, so that a seed repeats a run anywhere

std::string cpu_name() {
  std::string name = "CPU";
  if (FILE *file = fopen("/proc/cpuinfo", "r")) {
    char line[512];
    while (fgets(line, sizeof line, file)) {
      if (strncmp(line, "model name", 10) == 0) {
        if (const char *colon = strchr(line, ':')) name = colon + 2;
        if (!name.empty() && name.back() == '\n') name.pop_back();
        break;
      }
    }
    fclose(file);
  }
  return name;
}

struct ErrorText {
  int code;
  const char *name, *text;
};
const ErrorText error_texts[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE",
     "the operation cannot be performed in the present state"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT",
     "the launch timed out and was terminated"},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, "CUDA_ERROR_ILLEGAL_INSTRUCTION",
     "an illegal instruction was encountered"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorText *find_error(int code) {
  for (const ErrorText &entry : error_texts) {
    if (entry.code == code) return &entry;
  }
  return nullptr;
}

// SIMT mode by the environment; false if the variable holds no seed.
bool choose_mode() {
  const char *text = getenv("OUTLIERSCOPE_SIMT");
  if (!text || !*text) return true;
  if (!host::run_simt) return false;
  char *end;
  errno = 0;
  simt_seed = strtoull(text, &end, 10);
  simt = true;
  return !errno && !*end && isdigit(static_cast<unsigned char>(*text));
}

}  // namespace

namespace host {

CUresult require_context() {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  return asynchronous_error();
}

void set_asynchronous_error(CUresult error, const std::string &text) {
  std::lock_guard lock(sticky_mutex);
  if (sticky) return;
  const ErrorText *entry = find_error(error);
  if (entry && !text.empty()) sticky_text = std::string(entry->text) + ": " + text;
  sticky = error;
}
CUresult asynchronous_error() { return static_cast<CUresult>(sticky.load()); }

int core_count() {
  static const int count = [] {
    // The cores this process may use, which can be fewer than the machine has.
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    return 1;
  }();
  return count;
}

int warp_size() { return simt ? 32 : 1; }
uint64_t next_simt_seed() { return simt_seed + simt_launches++ * 0x632be59bd9b4e019u; }

}  // namespace host

EXPORT CUresult cuInit(unsigned flags) {
  static const bool chosen = choose_mode();
  if (!chosen) {
    host::set_asynchronous_error(
        CUDA_ERROR_INVALID_VALUE,
        host::run_simt ? "OUTLIERSCOPE_SIMT must be a whole number, the seed of the order in which threads "
                         "run, or not be set"
                       : "OUTLIERSCOPE_SIMT asks for a mode that only the tests of the repository have");
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  initialized = true;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDriverGetVersion(int *version) {
  if (!version) return CUDA_ERROR_INVALID_VALUE;
  *version = 12000;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!count) return CUDA_ERROR_INVALID_VALUE;
  *count = 1;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (!device) return CUDA_ERROR_INVALID_VALUE;
  if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
  *device = 0;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!name || length < 1) return CUDA_ERROR_INVALID_VALUE;
  std::string mode = simt ? "SIMT mode, seed " + std::to_string(simt_seed)
                          : std::to_string(host::core_count()) + " cores";
  snprintf(name, static_cast<size_t>(length), "%s (host driver, %s)", cpu_name().c_str(),
           mode.c_str());
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = simt ? 1024 : 1;
      break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      *value = host::warp_size();
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      *value = 0x7fffffff;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      *value = 65535;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      *value = 49152;
      break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = simt ? simt_multiprocessors : host::core_count();
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = 0;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = simt;  // the host NVRTC compiles for SIMT mode when asked for sm_01
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *bytes = host::memory_limit();
  return CUDA_SUCCESS;
}

// The same for the same machine and processor, as far as names tell.
EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!uuid) return CUDA_ERROR_INVALID_VALUE;
  char machine[256] = {};
  gethostname(machine, sizeof machine - 1);
  uint64_t halves[] = {std::hash<std::string>{}(machine), std::hash<std::string>{}(cpu_name())};
  static_assert(sizeof halves == sizeof uuid->bytes);
  memcpy(uuid->bytes, halves, sizeof halves);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceCanAccessPeer(int *can_access, CUdevice device, CUdevice peer) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0 || peer != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!can_access) return CUDA_ERROR_INVALID_VALUE;
  *can_access = 0;  // a device is no peer of its own
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!context) return CUDA_ERROR_INVALID_VALUE;
  *context = primary();
  return CUDA_SUCCESS;
}

// Ends all work: what runs may finish, what has not begun is forgotten.
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  current = nullptr;
  host::stop_streams();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  if (!initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (context && context != primary()) return CUDA_ERROR_INVALID_CONTEXT;
  current = context;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSynchronize() {
  if (CUresult error = host::require_context()) return error;
  if (CUresult error = host::refuse_any_capture()) return error;
  host::synchronize_all();
  host::release_unused();
  return host::asynchronous_error();
}

EXPORT CUresult cuGetErrorName(CUresult error, const char **name) {
  const ErrorText *entry = find_error(error);
  if (name) *name = entry ? entry->name : nullptr;
  return entry && name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
  const ErrorText *entry = find_error(error);
  if (text) *text = entry ? entry->text : nullptr;
  if (text && error == sticky && !sticky_text.empty()) *text = sticky_text.c_str();
  return entry && text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
