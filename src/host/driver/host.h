// What the parts of the host driver share: streams as queues of work, captures, and the table of
// allocations.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "abi.h"
#include "kernel_entry.h"

namespace host {

using Work = std::function<void()>;
using Clock = std::chrono::steady_clock;

// Work runs in order on one thread of the stream's own; kernels and oneDNN spread over the stream's cores
// from there with OpenMP.
class Stream {
 public:
  explicit Stream(int cores);
  ~Stream();  // waits for the queue to drain
  // Queues work, or records it while the stream captures.
  CUresult enqueue(Work work);
  // Queues work even while the stream captures.
  void queue(Work work);
  void synchronize();
  bool idle();
  // Forgets what has not begun.
  void stop();
  // Waits for what runs; false if that is not done at the time limit.
  bool stopped(Clock::time_point limit);
  bool stopping() const { return stopping_; }

  std::atomic<bool> capturing{false};

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable wake_, drained_;
  std::vector<Work> queue_, running_;
  std::atomic<bool> stopping_{false}, ready_{false};
  bool busy_ = false, waiting_ = false, stopped_ = false;
  std::thread thread_;
};

// A point in a stream's work: waiting for an event means the latest, so each recording makes its own.
// It counts as reached when the work that would reach it is forgotten, or those who wait would hang.
class Point {
 public:
  void reach();
  void wait();
  bool reached();
  Clock::time_point time();

  // Work that reaches the point when it runs, or when it is destroyed.
  static Work work(std::shared_ptr<Point> point);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false;
  Clock::time_point time_;
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

// Captures (graph.cpp). What is not allowed during a capture invalidates it.
// Records work of a capturing stream.
CUresult record(Stream *stream, Work work);
// An error if the stream captures.
CUresult refuse_capture(Stream *stream);
// An error if any stream captures.
CUresult refuse_any_capture();
// An error if a capture forbids this thread the calls that may be unsafe during it.
CUresult refuse_unsafe();
// Where a capturing stream is in its capture; null for other streams.
struct CapturedPoint;
std::shared_ptr<const CapturedPoint> captured_point(Stream *stream);
// Orders what a stream records behind a point of a capture, which the stream joins if it must.
CUresult wait_captured(Stream *stream, const CapturedPoint &point);
// A capture may not depend on work outside of it.
CUresult refuse_outside_event(Stream *stream);
// An event of a capture cannot be waited for by the host; that ends its capture.
CUresult refuse_captured_event(const CapturedPoint &point);

// CUDA_SUCCESS if the calling thread has a current context, else what the driver would answer.
CUresult require_context();

// CUDA_SUCCESS if [pointer, pointer + bytes) lies inside one live allocation.
CUresult check_range(CUdeviceptr pointer, size_t bytes);
// The most memory that allocations may take.
size_t memory_limit();
// Memory the system can still give without swapping; asking for more would have the process killed.
size_t available_memory();
// Gives memory that was freed, and that no work can use any more, back to the system, where the pool is
// larger than it shall be.
void release_unused();
// Lets all streams have what was freed on one that ended.
void adopt_memory(Stream *ended);

// A failure inside queued work: kept, and returned by every later call that synchronizes, as the
// driver does with an error of a kernel. The first one stays; its text is added to cuGetErrorString's.
void set_asynchronous_error(CUresult error, const std::string &text = {});
CUresult asynchronous_error();

int core_count();

// Threads of a warp: 1, or 32 in SIMT mode, which the environment variable OUTLIERSCOPE_SIMT asks for.
int warp_size();
// In SIMT mode: the number that decides in which order the threads of the next launch run.
uint64_t next_simt_seed();
// Runs a launch in SIMT mode and returns when it is done. A failure becomes the asynchronous error. Only
// there where the driver was built for that mode.
[[gnu::weak]] void run_simt(const outlierscope_kernel &kernel, const outlierscope_grid &grid,
                            const unsigned char *arguments, size_t shared_bytes, uint64_t seed);

// Whether AddressSanitizer watches: blocks then run one by one, and no memory is pooled.
#ifdef __SANITIZE_ADDRESS__
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif

}  // namespace host
