// What the parts of the host driver share: streams as queues of work, and the table of allocations.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "abi.h"

namespace host {

// Work runs in order on one thread of the stream's own; kernels and oneDNN spread over the stream's cores
// from there with OpenMP, so that both share one set of threads.
class Stream {
 public:
  explicit Stream(int cores);
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
// driver does with an error of a kernel.
void set_asynchronous_error(CUresult error);
CUresult asynchronous_error();

int core_count();

}  // namespace host
