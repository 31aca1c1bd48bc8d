// cuDNN on the host: softmax and its gradient by oneDNN, float32.
#include <unordered_map>

#include "host.h"
#include "onednn.h"

namespace {

using dnnl::memory;
using host::engine;

struct Handle {
  CUstream stream = nullptr;
};

struct Tensor {
  int64_t n = 0, c = 0, h = 0, w = 0;
  size_t bytes() const { return sizeof(float) * static_cast<size_t>(n * c * h * w); }
  bool operator==(const Tensor &other) const {
    return n == other.n && c == other.c && h == other.h && w == other.w;
  }
};

std::mutex table_mutex;
auto &handles = *new std::unordered_map<cudnnHandle_t, std::unique_ptr<Handle>>;
auto &tensors = *new std::unordered_map<cudnnTensorDescriptor_t, std::unique_ptr<Tensor>>;

constexpr int axis = 1;  // of [n, c, h · w]

dnnl::softmax_forward::primitive_desc forward_description(const memory::desc &data) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), dnnl::prop_kind::forward_training, dnnl::algorithm::softmax_accurate,
          data,     data,                              axis};
#else
  return {{dnnl::prop_kind::forward_training, data, axis}, engine()};
#endif
}

dnnl::softmax_backward::primitive_desc backward_description(const memory::desc &data) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), dnnl::algorithm::softmax_accurate, data, data, data, axis,
          forward_description(data)};
#else
  return {{data, data, axis}, engine(), forward_description(data)};
#endif
}

// Runs on a stream's thread. oneDNN keeps what it makes for a shape, so that it is not kept here.
template <class Create>
void execute(const memory::desc &data, Create create,
             const std::unordered_map<int, const void *> &arguments) {
  static thread_local dnnl::stream stream(engine());
  try {
    dnnl::primitive primitive = create();
    // oneDNN makes a cache for the whole process at the first primitive.
    static std::once_flag once;
    std::call_once(once, host::stop_streams_on_exit);
    std::unordered_map<int, memory> memories;
    for (auto [role, pointer] : arguments) {
      memories[role] = memory(data, engine(), const_cast<void *>(pointer));
    }
    primitive.execute(stream, memories);
    stream.wait();
  } catch (const dnnl::error &) {
    host::set_asynchronous_error(CUDA_ERROR_UNKNOWN);
  }
}

// What a call of softmax works on, once its parameters are found right.
struct Call {
  host::Stream *stream;
  memory::desc data;
};

cudnnStatus_t check(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm,
                    cudnnSoftmaxMode_t mode, const void *alpha, const void *beta,
                    std::initializer_list<cudnnTensorDescriptor_t> descriptors,
                    std::initializer_list<const void *> pointers, Call *call) {
  CUstream stream_handle;
  Tensor shape;
  {
    std::lock_guard lock(table_mutex);
    auto found = handles.find(handle);
    if (found == handles.end()) return CUDNN_STATUS_NOT_INITIALIZED;
    stream_handle = found->second->stream;
    for (cudnnTensorDescriptor_t descriptor : descriptors) {
      auto tensor = tensors.find(descriptor);
      if (tensor == tensors.end() || tensor->second->n == 0) return CUDNN_STATUS_BAD_PARAM;
      if (descriptor != *descriptors.begin() && !(*tensor->second == shape)) {
        return CUDNN_STATUS_BAD_PARAM;
      }
      shape = *tensor->second;
    }
  }
  if (host::require_context()) return CUDNN_STATUS_NOT_INITIALIZED;
  call->stream = host::find_stream(stream_handle);
  if (!call->stream || !alpha || !beta) return CUDNN_STATUS_BAD_PARAM;
  bool instance = mode == CUDNN_SOFTMAX_MODE_INSTANCE;
  if (!instance && mode != CUDNN_SOFTMAX_MODE_CHANNEL) return CUDNN_STATUS_BAD_PARAM;
  bool known = algorithm == CUDNN_SOFTMAX_FAST || algorithm == CUDNN_SOFTMAX_ACCURATE;
  if (!known || *static_cast<const float *>(alpha) != 1 || *static_cast<const float *>(beta) != 0) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  for (const void *pointer : pointers) {
    if (host::check_range(reinterpret_cast<uintptr_t>(pointer), shape.bytes())) {
      return CUDNN_STATUS_EXECUTION_FAILED;
    }
  }
  int64_t area = shape.h * shape.w;
  memory::dims dims = {shape.n, instance ? shape.c * area : shape.c, instance ? 1 : area};
  call->data = {dims, memory::data_type::f32, memory::format_tag::abc};
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

EXPORT size_t cudnnGetVersion() {
  const dnnl_version_t *dnnl = dnnl_version();
  return static_cast<size_t>(dnnl->major * 10000 + dnnl->minor * 100 + dnnl->patch);
}

EXPORT const char *cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    default:
      return "CUDNN_STATUS_EXECUTION_FAILED";
  }
}

EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
  if (!handle) return CUDNN_STATUS_BAD_PARAM;
  if (host::require_context()) return CUDNN_STATUS_NOT_INITIALIZED;
  auto created = std::make_unique<Handle>();
  *handle = reinterpret_cast<cudnnHandle_t>(created.get());
  std::lock_guard lock(table_mutex);
  handles[*handle] = std::move(created);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  std::lock_guard lock(table_mutex);
  return handles.erase(handle) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_INITIALIZED;
}

EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, CUstream stream) {
  std::lock_guard lock(table_mutex);
  auto found = handles.find(handle);
  if (found == handles.end()) return CUDNN_STATUS_NOT_INITIALIZED;
  found->second->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *descriptor) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  auto created = std::make_unique<Tensor>();
  *descriptor = reinterpret_cast<cudnnTensorDescriptor_t>(created.get());
  std::lock_guard lock(table_mutex);
  tensors[*descriptor] = std::move(created);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor,
                                                cudnnTensorFormat_t format, cudnnDataType_t type,
                                                int n, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NCHW || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_NOT_SUPPORTED;
  if (n < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
  int64_t elements;
  bool over = __builtin_mul_overflow(int64_t{n} * c, int64_t{h} * w, &elements);
  if (over || elements > 0x7fffffff) return CUDNN_STATUS_NOT_SUPPORTED;  // as cuDNN's limit
  std::lock_guard lock(table_mutex);
  auto found = tensors.find(descriptor);
  if (found == tensors.end()) return CUDNN_STATUS_BAD_PARAM;
  *found->second = {n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  std::lock_guard lock(table_mutex);
  return tensors.erase(descriptor) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

EXPORT cudnnStatus_t cudnnSoftmaxForward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm,
                                         cudnnSoftmaxMode_t mode, const void *alpha,
                                         const cudnnTensorDescriptor_t x_descriptor, const void *x,
                                         const void *beta,
                                         const cudnnTensorDescriptor_t y_descriptor, void *y) {
  Call call;
  auto wrong = check(handle, algorithm, mode, alpha, beta, {x_descriptor, y_descriptor}, {x, y},
                     &call);
  if (wrong) return wrong;
  CUresult queued = call.stream->enqueue([data = call.data, x, y] {
    auto create = [&] { return dnnl::softmax_forward(forward_description(data)); };
    execute(data, create, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
  });
  return queued ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSoftmaxBackward(
    cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algorithm, cudnnSoftmaxMode_t mode,
    const void *alpha, const cudnnTensorDescriptor_t y_descriptor, const void *y,
    const cudnnTensorDescriptor_t dy_descriptor, const void *dy, const void *beta,
    const cudnnTensorDescriptor_t dx_descriptor, void *dx) {
  Call call;
  auto wrong = check(handle, algorithm, mode, alpha, beta,
                     {y_descriptor, dy_descriptor, dx_descriptor}, {y, dy, dx}, &call);
  if (wrong) return wrong;
  CUresult queued = call.stream->enqueue([data = call.data, y, dy, dx] {
    auto create = [&] { return dnnl::softmax_backward(backward_description(data)); };
    execute(data, create, {{DNNL_ARG_DST, y}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}});
  });
  return queued ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}
