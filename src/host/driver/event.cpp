// Events: points in the work of a stream that other streams and the host wait for, and the time between
// two of them.
#include <unordered_map>

#include "host.h"

namespace {

struct Event {
  bool timed;
  std::shared_ptr<host::Point> point;  // of the latest recording; null if there was none
  std::shared_ptr<const host::CapturedPoint> captured;  // instead, if that was during a capture
};

std::mutex table_mutex;
auto &events = *new std::unordered_map<CUevent, Event>;

// A copy of an event, so that nothing waits with the table locked; false if there is none.
bool find_event(CUevent handle, Event *event) {
  std::lock_guard lock(table_mutex);
  auto found = events.find(handle);
  if (found == events.end()) return false;
  *event = found->second;
  return true;
}

}  // namespace

namespace host {

void Point::reach() {
  std::lock_guard lock(mutex_);
  if (reached_) return;
  time_ = Clock::now();
  reached_ = true;
  changed_.notify_all();
}

void Point::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reached_; });
}

bool Point::reached() {
  std::lock_guard lock(mutex_);
  return reached_;
}

Clock::time_point Point::time() {
  std::lock_guard lock(mutex_);
  return time_;
}

Work Point::work(std::shared_ptr<Point> point) {
  // Deleted with the last copy of the work, whether that ran or not.
  std::shared_ptr<Point> reacher(point.get(), [point](Point *) { point->reach(); });
  return [reacher] { reacher->reach(); };
}

}  // namespace host

EXPORT CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (!handle || flags > 3) return CUDA_ERROR_INVALID_VALUE;
  const unsigned disable_timing = 2;
  static uintptr_t last = 0x1000;
  std::lock_guard lock(table_mutex);
  *handle = reinterpret_cast<CUevent>(last += 16);
  events[*handle].timed = !(flags & disable_timing);
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
  auto captured = stream ? host::captured_point(stream) : nullptr;
  auto point = captured ? nullptr : std::make_shared<host::Point>();
  {
    std::lock_guard lock(table_mutex);
    auto found = events.find(handle);
    if (!stream || found == events.end()) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capturing && !captured) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    found->second.point = point;
    found->second.captured = captured;
  }
  if (point) stream->queue(host::Point::work(point));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned flags) {
  if (CUresult error = host::require_context()) return error;
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  host::Stream *stream = host::find_stream(stream_handle);
  Event event;
  if (!stream || !find_event(handle, &event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event.captured) return host::wait_captured(stream, *event.captured);
  if (!event.point) return CUDA_SUCCESS;
  if (stream->capturing) return host::refuse_outside_event(stream);
  return stream->enqueue([point = event.point] { point->wait(); });
}

EXPORT CUresult cuEventQuery(CUevent handle) {
  if (CUresult error = host::require_context()) return error;
  Event event;
  if (!find_event(handle, &event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event.captured) return host::refuse_captured_event(*event.captured);
  if (CUresult error = host::refuse_unsafe()) return error;
  if (event.point && !event.point->reached()) return CUDA_ERROR_NOT_READY;
  return host::asynchronous_error();
}

EXPORT CUresult cuEventSynchronize(CUevent handle) {
  if (CUresult error = host::require_context()) return error;
  Event event;
  if (!find_event(handle, &event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event.captured) return host::refuse_captured_event(*event.captured);
  if (CUresult error = host::refuse_unsafe()) return error;
  if (event.point) event.point->wait();
  return host::asynchronous_error();
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  if (CUresult error = host::require_context()) return error;
  if (!milliseconds) return CUDA_ERROR_INVALID_VALUE;
  Event first, second;
  if (!find_event(from, &first) || !find_event(to, &second)) return CUDA_ERROR_INVALID_HANDLE;
  for (const Event *event : {&first, &second}) {
    if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
    if (!event->timed || !event->point) return CUDA_ERROR_INVALID_HANDLE;
  }
  if (!first.point->reached() || !second.point->reached()) return CUDA_ERROR_NOT_READY;
  std::chrono::duration<float, std::milli> between = second.point->time() - first.point->time();
  *milliseconds = between.count();
  return CUDA_SUCCESS;
}
