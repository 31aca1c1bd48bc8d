// Graphs. A stream that captures records its work instead of running it; other streams join a capture by
// waiting for an event in it. The recorded work, in the order of the calls, is the graph: that order
// respects every dependency, so one stream replays it.
#include <algorithm>
#include <map>
#include <unordered_map>
#include <vector>

#include "host.h"

namespace host {

using Works = std::vector<Work>;

// How many works of each stream come before a point of a capture.
using Progress = std::map<Stream *, size_t>;

struct Capture {
  Stream *origin;
  CUstreamCaptureMode mode;
  std::thread::id thread;
  Works works;
  std::map<Stream *, Progress> streams;  // all that take part, with what each comes after
  bool valid = true, ended = false;
};

struct CapturedPoint {
  std::shared_ptr<Capture> capture;
  Progress before;
};

}  // namespace host

namespace {

using host::Capture;
using host::Progress;
using host::Stream;

struct Executable {
  std::shared_ptr<const host::Works> works;
  std::shared_ptr<host::Point> last;  // the end of the latest launch
};

std::mutex mutex;  // of all that follows, and of every Capture
auto &captures = *new std::unordered_map<Stream *, std::shared_ptr<Capture>>;
auto &graphs = *new std::unordered_map<CUgraph, std::shared_ptr<const host::Works>>;
auto &executables = *new std::unordered_map<CUgraphExec, Executable>;

std::shared_ptr<Capture> find_capture(Stream *stream) {
  auto found = captures.find(stream);
  return found == captures.end() ? nullptr : found->second;
}

CUresult invalidate(Capture &capture, CUresult error) {
  if (!capture.valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  capture.valid = false;
  return error;
}

void join(Stream *stream, const std::shared_ptr<Capture> &capture) {
  captures[stream] = capture;
  capture->streams[stream];
  stream->capturing = true;
}

// Works of the other streams that the first one does not come after.
bool unjoined(const Capture &capture) {
  const Progress &origin = capture.streams.at(capture.origin);
  for (auto &[stream, progress] : capture.streams) {
    auto own = progress.find(stream), seen = origin.find(stream);
    size_t recorded = own == progress.end() ? 0 : own->second;
    if (recorded > (seen == origin.end() ? 0 : seen->second)) return true;
  }
  return false;
}

}  // namespace

namespace host {

CUresult record(Stream *stream, Work work) {
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  if (!capture || !capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  capture->works.push_back(std::move(work));
  capture->streams[stream][stream]++;
  return CUDA_SUCCESS;
}

CUresult refuse_capture(Stream *stream) {
  if (!stream->capturing) return CUDA_SUCCESS;
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  return capture ? invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) : CUDA_SUCCESS;
}

CUresult refuse_any_capture() {
  std::lock_guard lock(mutex);
  for (auto &[stream, capture] : captures) capture->valid = false;
  return captures.empty() ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult refuse_unsafe() {
  CUresult result = CUDA_SUCCESS;
  std::lock_guard lock(mutex);
  for (auto &[stream, capture] : captures) {
    bool own = capture->thread == std::this_thread::get_id();
    if (capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
        (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && own)) {
      capture->valid = false;
      result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  }
  return result;
}

std::shared_ptr<const CapturedPoint> captured_point(Stream *stream) {
  if (!stream->capturing) return nullptr;
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  if (!capture || !capture->valid) return nullptr;
  return std::make_shared<CapturedPoint>(CapturedPoint{capture, capture->streams[stream]});
}

CUresult wait_captured(Stream *stream, const CapturedPoint &point) {
  std::lock_guard lock(mutex);
  if (point.capture->ended) return CUDA_ERROR_CAPTURED_EVENT;
  auto own = find_capture(stream);
  if (own && own != point.capture) {
    point.capture->valid = false;
    return invalidate(*own, CUDA_ERROR_STREAM_CAPTURE_MERGE);
  }
  if (!point.capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!own) join(stream, point.capture);
  Progress &progress = point.capture->streams[stream];
  for (auto &[other, count] : point.before) progress[other] = std::max(progress[other], count);
  return CUDA_SUCCESS;
}

CUresult refuse_outside_event(Stream *stream) {
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  return capture ? invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION) : CUDA_SUCCESS;
}

CUresult refuse_captured_event(const CapturedPoint &point) {
  std::lock_guard lock(mutex);
  point.capture->valid = false;
  return CUDA_ERROR_CAPTURED_EVENT;
}

}  // namespace host

EXPORT CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  if (CUresult error = host::require_context()) return error;
  if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!handle) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  std::lock_guard lock(mutex);
  if (find_capture(stream)) return CUDA_ERROR_ILLEGAL_STATE;
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  join(stream, capture);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  if (CUresult error = host::require_context()) return error;
  Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!status) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  *status = !capture         ? CU_STREAM_CAPTURE_STATUS_NONE
            : capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                             : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  if (CUresult error = host::require_context()) return error;
  if (!graph) return CUDA_ERROR_INVALID_VALUE;
  *graph = nullptr;
  Stream *stream = host::find_stream(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  std::lock_guard lock(mutex);
  auto capture = find_capture(stream);
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream) {
    return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  }
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
      capture->thread != std::this_thread::get_id()) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  capture->ended = true;
  for (auto &[member, progress] : capture->streams) {
    captures.erase(member);
    member->capturing = false;
  }
  if (!capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (unjoined(*capture)) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  auto works = std::make_shared<const host::Works>(std::move(capture->works));
  *graph = reinterpret_cast<CUgraph>(const_cast<host::Works *>(works.get()));
  graphs[*graph] = works;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *handle, CUgraph graph,
                                            unsigned long long flags) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(mutex);
  auto found = graphs.find(graph);
  if (!handle || found == graphs.end() || flags > 15) return CUDA_ERROR_INVALID_VALUE;
  static uintptr_t last = 0x1000;
  *handle = reinterpret_cast<CUgraphExec>(last += 16);
  executables[*handle].works = found->second;
  return CUDA_SUCCESS;
}

// Waits for the launch before it, whichever stream that is on: an executable graph runs once at a time.
EXPORT CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  if (CUresult error = host::require_context()) return error;
  Stream *stream = host::find_stream(stream_handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  std::unique_lock lock(mutex);
  auto found = executables.find(handle);
  if (found == executables.end()) return CUDA_ERROR_INVALID_VALUE;
  auto works = found->second.works;
  if (stream->capturing) {
    lock.unlock();
    return host::record(stream, [works] {
      for (auto &work : *works) work();
    });
  }
  auto before = found->second.last;
  auto end = found->second.last = std::make_shared<host::Point>();
  stream->queue([=] {
    if (before) before->wait();
    for (auto &work : *works) {
      if (stream->stopping()) break;
      work();
    }
  });
  stream->queue(host::Point::work(end));
  return CUDA_SUCCESS;
}

// What is launched keeps what it needs.
EXPORT CUresult cuGraphExecDestroy(CUgraphExec handle) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(mutex);
  return executables.erase(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGraphDestroy(CUgraph handle) {
  if (CUresult error = host::require_context()) return error;
  std::lock_guard lock(mutex);
  return graphs.erase(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
