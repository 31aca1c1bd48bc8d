// What the parts of the host driver share: streams as queues of work, and the table of allocations.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "abi.h"
#include "kernel_entry.h"

namespace host {

// Work runs in order on one thread of the stream's own; kernels and oneDNN spread over the cores from
// there with OpenMP, so that both share one set of threads.
class Stream {
 public:
  Stream();
  ~Stream();  // waits for the queue to drain
  void enqueue(std::function<void()> work);
  void synchronize();
  bool idle();
  // Forgets what has not begun, and waits for what runs; false if that is not done at the time limit.
  bool stop(std::chrono::steady_clock::time_point limit);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable wake_, drained_;
  std::deque<std::function<void()>> queue_;
  bool busy_ = false, waiting_ = false, stopping_ = false, stopped_ = false;
  std::thread thread_;
};

// Resolves a handle; null is the default stream. Returns null for a handle that is not a stream.
Stream *find_stream(CUstream handle);
// Ends every stream; no work can be queued afterwards.
void stop_streams();
// Has the streams stopped when the process exits. Exit handlers run last in, first out: called again
// after a library has made objects of its own, this stops the streams before those are destroyed.
void stop_streams_on_exit();
// Waits for every stream of the device.
void synchronize_all();

// CUDA_SUCCESS if the calling thread has a current context, else what the driver would answer.
CUresult require_context();

// CUDA_SUCCESS if [pointer, pointer + bytes) lies inside one live allocation.
CUresult check_range(CUdeviceptr pointer, size_t bytes);

// A failure inside queued work: kept, and returned by every later call that synchronizes, as the
// driver does with an error of a kernel. The first one stays; its text is added to cuGetErrorString's.
void set_asynchronous_error(CUresult error, const std::string &text = {});
CUresult asynchronous_error();

int core_count();

// Threads of a warp: 1, or 32 in SIMT mode, which the environment variable OUTLIERSCOPE_SIMT asks for.
int warp_size();
// In SIMT mode: the number that decides in which order the threads of the next launch run.
uint64_t next_simt_seed();
// Runs a launch in SIMT mode and returns when it is done. A failure becomes the asynchronous error.
void run_simt(const outlierscope_kernel &kernel, const outlierscope_grid &grid,
              const unsigned char *arguments, size_t shared_bytes, uint64_t seed);

// Whether AddressSanitizer watches: blocks then run one by one, and no memory is pooled.
#ifdef __SANITIZE_ADDRESS__
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif

}  // namespace host
