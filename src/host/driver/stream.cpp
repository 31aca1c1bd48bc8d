// Streams. A stream is a queue that one thread works through; calls that enqueue return at once, so what
// reads results too early reads stale memory here as it would on a GPU.
#include <omp.h>
#include <unistd.h>

#include <cstdlib>
#include <unordered_set>
#include <vector>

#include "host.h"

namespace {

// Handles are checked against this table, so that a stale one is an error and not a crash. It is never
// destroyed: streams may still run while the process exits.
std::mutex table_mutex;
auto &streams = *new std::unordered_set<host::Stream *>;
host::Stream *default_stream = nullptr;

// Ends the streams when the process exits: what they have not begun is forgotten, what runs may finish
// within a second. After that the process ends without its other exit handlers, because those destroy
// what the work still uses.
void stop_all(int status, void *) {
  std::lock_guard lock(table_mutex);
  auto limit = host::Clock::now() + std::chrono::seconds(1);
  for (host::Stream *stream : streams) stream->stop();
  for (host::Stream *stream : streams) {
    if (!stream->stopped(limit)) _exit(status);
  }
}

host::Stream *create_stream(int cores) {
  static std::once_flag once;
  std::call_once(once, host::stop_streams_on_exit);
  auto *stream = new host::Stream(cores);
  streams.insert(stream);
  return stream;
}

}  // namespace

namespace host {

void stop_streams() {
  std::lock_guard lock(table_mutex);
  for (Stream *stream : streams) stream->stop();
  for (Stream *stream : streams) stream->stopped(Clock::time_point::max());
  streams.clear();  // their handles are invalid from here on
  default_stream = nullptr;
}

void stop_streams_on_exit() { on_exit(stop_all, nullptr); }

Stream::Stream(int cores)
    : thread_([this, cores] {
        if (cores == 1) omp_set_num_threads(1);
        run();
      }) {}

Stream::~Stream() {
  synchronize();
  stop();
  stopped(Clock::time_point::max());
}

void Stream::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    lock.unlock();
    // The next launch mostly comes within microseconds, and to be woken for it costs as many.
    auto limit = Clock::now() + std::chrono::microseconds(20);
    while (!ready_ && Clock::now() < limit) std::this_thread::yield();
    lock.lock();
    waiting_ = true;
    wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    waiting_ = false;
    if (stopping_) break;
    busy_ = true;
    while (!queue_.empty() && !stopping_) {
      // Taken all at once: a lock for each would make the thread that enqueues wait.
      running_.swap(queue_);
      ready_ = false;
      lock.unlock();
      for (auto &work : running_) {
        if (stopping_) break;
        work();
        work = nullptr;
      }
      running_.clear();
      lock.lock();
    }
    busy_ = false;
    drained_.notify_all();
  }
  stopped_ = true;
  drained_.notify_all();
}

CUresult Stream::enqueue(Work work) {
  if (capturing) return record(this, std::move(work));
  queue(std::move(work));
  return CUDA_SUCCESS;
}

void Stream::queue(Work work) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
    ready_ = true;
    wake = waiting_;
  }
  if (wake) wake_.notify_one();
}

void Stream::synchronize() {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [&] { return (queue_.empty() && !busy_) || stopping_; });
}

bool Stream::idle() {
  std::lock_guard lock(mutex_);
  return queue_.empty() && !busy_;
}

void Stream::stop() {
  std::vector<Work> forgotten;  // destroyed without the lock: other streams may wait for points in it
  std::lock_guard lock(mutex_);
  stopping_ = true;
  std::swap(forgotten, queue_);
  wake_.notify_one();
}

bool Stream::stopped(Clock::time_point limit) {
  std::unique_lock lock(mutex_);
  auto stopped = [&] { return stopped_; };
  if (limit == Clock::time_point::max()) {
    drained_.wait(lock, stopped);
  } else if (!drained_.wait_until(lock, limit, stopped)) {
    return false;
  }
  lock.unlock();
  if (thread_.joinable()) thread_.join();
  return true;
}

Stream *find_stream(CUstream handle) {
  std::lock_guard lock(table_mutex);
  if (!handle) {
    if (!default_stream) default_stream = create_stream(host::core_count());
    return default_stream;
  }
  auto *stream = reinterpret_cast<Stream *>(handle);
  return streams.count(stream) ? stream : nullptr;
}

void synchronize_all() {
  std::vector<Stream *> all;
  {
    std::lock_guard lock(table_mutex);
    all.assign(streams.begin(), streams.end());
  }
  for (Stream *stream : all) stream->synchronize();
}

}  // namespace host

EXPORT CUresult cuStreamCreate(CUstream *handle, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (!handle || flags > 1) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(table_mutex);
  // The first stream spreads its work over all cores. Who makes more wants them to run side by side: each
  // of those has one core.
  *handle = reinterpret_cast<CUstream>(create_stream(streams.empty() ? host::core_count() : 1));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamDestroy_v2(CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = handle ? host::find_stream(handle) : nullptr;
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::refuse_capture(stream)) return error;
  {
    std::lock_guard lock(table_mutex);
    streams.erase(stream);
  }
  stream->synchronize();
  host::adopt_memory(stream);
  delete stream;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::refuse_capture(stream)) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  stream->synchronize();
  host::release_unused();
  return host::asynchronous_error();
}

EXPORT CUresult cuStreamQuery(CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult error = host::refuse_capture(stream)) return error;
  if (CUresult error = host::refuse_unsafe()) return error;
  return stream->idle() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

EXPORT CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!function) return CUDA_ERROR_INVALID_VALUE;
  return stream->enqueue([=] { function(data); });
}
