// Streams and events. A stream is a queue that one thread works through; calls that enqueue return at
// once, so what reads results too early reads stale memory here as it would on a GPU.
#include <omp.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "host.h"

namespace {

using Clock = std::chrono::steady_clock;

// One recording of an event. Waiting refers to the latest recording, so each gets its own.
struct Recording {
  std::mutex mutex;
  std::condition_variable done;
  bool complete = false;
  Clock::time_point time;
};

struct Event {
  std::shared_ptr<Recording> recording;  // null until first recorded
  bool timed;
};

// Handles are checked against these tables, so that a stale one is an error and not a crash. They are
// never destroyed: streams may still run while the process exits.
std::mutex table_mutex;
auto &streams = *new std::unordered_set<host::Stream *>;
auto &events = *new std::unordered_map<CUevent, std::unique_ptr<Event>>;
host::Stream *default_stream = nullptr;

// Ends the streams when the process exits: what they have not begun is forgotten, what runs may finish
// within a second. After that the process ends without its other exit handlers, because those destroy
// what the work still uses.
void stop_all(int status, void *) {
  std::lock_guard lock(table_mutex);
  auto limit = Clock::now() + std::chrono::seconds(1);
  for (host::Stream *stream : streams) {
    if (!stream->stop(limit)) _exit(status);
  }
}

host::Stream *create_stream(int cores) {
  static std::once_flag once;
  std::call_once(once, host::stop_streams_on_exit);
  auto *stream = new host::Stream(cores);
  streams.insert(stream);
  return stream;
}

Event *find_event(CUevent handle) {
  auto found = events.find(handle);
  return found == events.end() ? nullptr : found->second.get();
}

void wait_for(Recording &recording) {
  std::unique_lock lock(recording.mutex);
  recording.done.wait(lock, [&] { return recording.complete; });
}

}  // namespace

namespace host {

void stop_streams() {
  std::lock_guard lock(table_mutex);
  for (Stream *stream : streams) stream->stop(Clock::time_point::max());
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
  stop(std::chrono::steady_clock::time_point::max());
}

void Stream::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    waiting_ = true;
    wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    waiting_ = false;
    if (stopping_) break;
    busy_ = true;
    while (!queue_.empty() && !stopping_) {
      auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
    }
    busy_ = false;
    drained_.notify_all();
  }
  stopped_ = true;
  drained_.notify_all();
}

void Stream::enqueue(std::function<void()> work) {
  bool wake;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
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

bool Stream::stop(std::chrono::steady_clock::time_point limit) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  wake_.notify_one();
  auto stopped = [&] { return stopped_; };
  if (limit == std::chrono::steady_clock::time_point::max()) {
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
  {
    std::lock_guard lock(table_mutex);
    streams.erase(stream);
  }
  delete stream;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  stream->synchronize();
  return host::asynchronous_error();
}

EXPORT CUresult cuStreamQuery(CUstream handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  return stream->idle() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

EXPORT CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  host::Stream *stream = host::find_stream(handle);
  std::shared_ptr<Recording> recording;
  {
    std::lock_guard lock(table_mutex);
    Event *event = find_event(event_handle);
    if (!stream || !event) return CUDA_ERROR_INVALID_HANDLE;
    recording = event->recording;
  }
  if (recording) stream->enqueue([recording] { wait_for(*recording); });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (!handle || flags > 3) return CUDA_ERROR_INVALID_VALUE;
  const unsigned disable_timing = 2;
  auto event = std::make_unique<Event>();
  event->timed = !(flags & disable_timing);
  std::lock_guard lock(table_mutex);
  *handle = reinterpret_cast<CUevent>(event.get());
  events[*handle] = std::move(event);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventDestroy_v2(CUevent handle) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(table_mutex);
  return events.erase(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
  if (CUresult error = host::require_context()) return error;
  host::Stream *stream = host::find_stream(stream_handle);
  auto recording = std::make_shared<Recording>();
  {
    std::lock_guard lock(table_mutex);
    Event *event = find_event(handle);
    if (!stream || !event) return CUDA_ERROR_INVALID_HANDLE;
    event->recording = recording;
  }
  stream->enqueue([recording] {
    std::lock_guard lock(recording->mutex);
    recording->time = Clock::now();
    recording->complete = true;
    recording->done.notify_all();
  });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventQuery(CUevent handle) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(table_mutex);
  Event *event = find_event(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  if (!event->recording) return CUDA_SUCCESS;
  std::lock_guard recording_lock(event->recording->mutex);
  if (!event->recording->complete) return CUDA_ERROR_NOT_READY;
  return host::asynchronous_error();
}

EXPORT CUresult cuEventSynchronize(CUevent handle) {
  if (CUresult error = host::require_context()) return error;
  std::shared_ptr<Recording> recording;
  {
    std::lock_guard lock(table_mutex);
    Event *event = find_event(handle);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    recording = event->recording;
  }
  if (recording) wait_for(*recording);
  return host::asynchronous_error();
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  if (CUresult error = host::require_context()) return error;
  if (!milliseconds) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(table_mutex);
  Event *first = find_event(from), *second = find_event(to);
  if (!first || !second || !first->timed || !second->timed || !first->recording ||
      !second->recording) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  std::lock_guard first_lock(first->recording->mutex);
  if (first->recording != second->recording) second->recording->mutex.lock();
  bool complete = first->recording->complete && second->recording->complete;
  if (complete) {
    *milliseconds = std::chrono::duration<float, std::milli>(second->recording->time -
                                                             first->recording->time)
                        .count();
  }
  if (first->recording != second->recording) second->recording->mutex.unlock();
  return complete ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
