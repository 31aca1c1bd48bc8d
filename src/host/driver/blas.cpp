// cuBLAS on the host: matrix products by oneDNN, f32 or bf16 inputs, f32 sums. cuBLAS counts by columns:
// the row-major product of the transposes is the same memory, so that is what oneDNN computes.
#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_set>
#include <vector>

#include "host.h"
#include "onednn.h"

namespace {

using dnnl::memory;
using host::engine;

struct Handle {
  CUstream stream = nullptr;
};

std::mutex table_mutex;
auto &handles = *new std::unordered_set<Handle *>;

// A row-major matrix product C[rows, columns] = alpha · A[rows, inner] · B[inner, columns] + beta · C.
struct Product {
  int64_t rows, columns, inner;
  int64_t a_row, a_column, b_row, b_column, c_row;  // strides in elements
  int input, output;                                // cudaDataType
  float alpha, beta;

  bool operator<(const Product &other) const { return memcmp(this, &other, sizeof *this) < 0; }
};

struct Primitive {
  dnnl::matmul matmul;
  memory::desc a, b, c;
  memory::desc packed;  // B in oneDNN's own order, where it is brought into that first
  dnnl::reorder pack;
};

// Whether B is worth packing: oneDNN reads rows or columns of it slower than its own blocks, by 3 to 10 %, and
// up to 60 % where rows are a power of two apart. Packing reads B once, so there must be some rows of A to
// gain it back.
bool is_packed(const Product &p) { return p.rows >= 256 && p.inner >= 64 && p.columns >= 64; }

// Room for a packed B, kept by the thread: fresh pages would cost more than packing does.
char *scratch(size_t bytes) {
  static thread_local struct Room {
    char *begin = nullptr;
    size_t size = 0;
    ~Room() { free(begin); }
  } room;
  if (bytes > room.size) {
    free(room.begin);
    room.size = (bytes + 63) / 64 * 64;
    room.begin = static_cast<char *>(aligned_alloc(64, room.size));
    if (!room.begin) {
      room.size = 0;
      throw dnnl::error(dnnl_out_of_memory, "no memory to pack a matrix");
    }
  }
  return room.begin;
}

memory::data_type data_type(int type) {
  return type == CUDA_R_16BF ? memory::data_type::bf16 : memory::data_type::f32;
}

Primitive create(const Product &p) {
  Primitive primitive;
  primitive.a = {{p.rows, p.inner}, data_type(p.input), {p.a_row, p.a_column}};
  primitive.b = {{p.inner, p.columns}, data_type(p.input), {p.b_row, p.b_column}};
  primitive.c = {{p.rows, p.columns}, data_type(p.output), {p.c_row, 1}};
  memory::desc b = primitive.b;
  if (is_packed(p)) b = {{p.inner, p.columns}, data_type(p.input), memory::format_tag::any};
  dnnl::primitive_attr attributes;
  dnnl::post_ops after;
#if DNNL_VERSION_MAJOR >= 3
  if (p.alpha != 1) after.append_eltwise(dnnl::algorithm::eltwise_linear, p.alpha, 0);
#else
  if (p.alpha != 1) after.append_eltwise(1, dnnl::algorithm::eltwise_linear, p.alpha, 0);
#endif
  if (p.beta != 0) after.append_sum(p.beta);
  attributes.set_post_ops(after);
#if DNNL_VERSION_MAJOR >= 3
  dnnl::matmul::primitive_desc description(engine(), primitive.a, b, primitive.c, attributes);
#else
  dnnl::matmul::primitive_desc description({primitive.a, b, primitive.c}, attributes, engine());
#endif
  if (is_packed(p)) {
    primitive.packed = description.weights_desc();
    primitive.pack = dnnl::reorder({engine(), primitive.b, engine(), primitive.packed});
  }
  primitive.matmul = dnnl::matmul(description);
  return primitive;
}

// The matrices of a batch one after the other: oneDNN 2.6 computes a batch in one call 2.6 times slower
// where it matters (bf16, B transposed and shared), and no faster elsewhere.
struct Batch {
  int64_t count, a_bytes, b_bytes, c_bytes;  // from one matrix to the next
};

void execute(const Product &product, const Batch &batch, char *a, char *b, char *c) {
  // One cache and one oneDNN stream a thread, and so a stream of ours: no locks.
  static thread_local std::map<Product, Primitive> cache;
  static thread_local dnnl::stream stream(engine());
  try {
    auto found = cache.find(product);
    if (found == cache.end()) {
      if (cache.size() >= 1024) cache.clear();
      found = cache.emplace(product, create(product)).first;
      // oneDNN makes a cache for the whole process at the first primitive.
      static std::once_flag once;
      std::call_once(once, host::stop_streams_on_exit);
    }
    Primitive &primitive = found->second;
    char *room = primitive.pack ? scratch(primitive.packed.get_size()) : nullptr;
    for (int64_t i = 0; i < batch.count; i++) {
      memory factor(primitive.b, engine(), b + i * batch.b_bytes);
      if (room) {
        memory packed(primitive.packed, engine(), room);
        if (i == 0 || batch.b_bytes != 0) primitive.pack.execute(stream, factor, packed);
        factor = packed;
      }
      primitive.matmul.execute(
          stream, {{DNNL_ARG_SRC, {primitive.a, engine(), a + i * batch.a_bytes}},
                   {DNNL_ARG_WEIGHTS, factor},
                   {DNNL_ARG_DST, {primitive.c, engine(), c + i * batch.c_bytes}}});
    }
    stream.wait();
  } catch (const dnnl::error &) {
    host::set_asynchronous_error(CUDA_ERROR_UNKNOWN);
  }
}

float load(const char *from, int64_t at, int type) {
  if (type == CUDA_R_32F) return reinterpret_cast<const float *>(from)[at];
  unsigned bits = unsigned{reinterpret_cast<const uint16_t *>(from)[at]} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void store(char *to, int64_t at, int type, float value) {
  if (type == CUDA_R_32F) {
    reinterpret_cast<float *>(to)[at] = value;
    return;
  }
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  bits = value != value ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1);
  reinterpret_cast<uint16_t *>(to)[at] = static_cast<uint16_t>(bits >> 16);
}

// The product without oneDNN. A beta of 0 clears C whatever is in it.
void multiply(const Product &p, const Batch &batch, const char *a, const char *b, char *c) {
  for (int64_t i = 0; i < batch.count; i++, a += batch.a_bytes, b += batch.b_bytes, c += batch.c_bytes) {
    std::vector<float> factors(p.inner * p.columns);
    for (int64_t k = 0; k < p.inner; k++) {
      for (int64_t column = 0; column < p.columns; column++) {
        factors[k * p.columns + column] = load(b, k * p.b_row + column * p.b_column, p.input);
      }
    }
    std::vector<float> sums(p.columns);
    for (int64_t row = 0; row < p.rows; row++) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int64_t k = 0; k < p.inner; k++) {
        float factor = load(a, row * p.a_row + k * p.a_column, p.input);
        const float *from = &factors[k * p.columns];
        for (int64_t column = 0; column < p.columns; column++) sums[column] += factor * from[column];
      }
      for (int64_t column = 0; column < p.columns; column++) {
        int64_t at = row * p.c_row + column;
        float before = p.beta == 0 ? 0.0f : p.beta * load(c, at, p.output);
        store(c, at, p.output, (p.inner == 0 ? 0.0f : p.alpha * sums[column]) + before);
      }
    }
  }
}

// Products over nothing, which oneDNN does not take, and bfloat16 over 63 terms, for which the AMX kernels of
// oneDNN 2.6 end the process by an illegal instruction (with 33 rows, or 142, and few columns).
bool is_plain(const Product &p) { return p.inner == 0 || (p.inner == 63 && p.input == CUDA_R_16BF); }

size_t element_size(int type) { return type == CUDA_R_16BF ? 2 : 4; }

}  // namespace

EXPORT cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  if (host::require_context()) return CUBLAS_STATUS_NOT_INITIALIZED;
  auto *created = new Handle;
  std::lock_guard lock(table_mutex);
  handles.insert(created);
  *handle = reinterpret_cast<cublasHandle_t>(created);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  std::lock_guard lock(table_mutex);
  auto *found = reinterpret_cast<Handle *>(handle);
  if (!handles.erase(found)) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete found;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int *version) {
  if (!version) return CUBLAS_STATUS_INVALID_VALUE;
  const dnnl_version_t *dnnl = dnnl_version();
  *version = dnnl->major * 10000 + dnnl->minor * 100 + dnnl->patch;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT const char *cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
  }
}

EXPORT const char *cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "the program failed to execute";
  }
}

EXPORT cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, CUstream stream) {
  std::lock_guard lock(table_mutex);
  auto *found = reinterpret_cast<Handle *>(handle);
  if (!handles.count(found)) return CUBLAS_STATUS_NOT_INITIALIZED;
  found->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation, int m,
    int n, int k, const void *alpha, const void *a, cudaDataType a_type, int a_leading,
    long long a_stride, const void *b, cudaDataType b_type, int b_leading, long long b_stride,
    const void *beta, void *c, cudaDataType c_type, int c_leading, long long c_stride, int batch,
    cublasComputeType_t compute, cublasGemmAlgo_t) {
  CUstream stream_handle;
  {
    std::lock_guard lock(table_mutex);
    auto *found = reinterpret_cast<Handle *>(handle);
    if (!handles.count(found)) return CUBLAS_STATUS_NOT_INITIALIZED;
    stream_handle = found->stream;
  }
  if (host::require_context()) return CUBLAS_STATUS_NOT_INITIALIZED;
  host::Stream *stream = host::find_stream(stream_handle);
  bool a_plain = a_operation == CUBLAS_OP_N, b_plain = b_operation == CUBLAS_OP_N;
  if (!stream || m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta ||
      a_leading < (a_plain ? m : k) || b_leading < (b_plain ? k : n) || c_leading < m) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  bool types_known = a_type == b_type && (a_type == CUDA_R_32F || a_type == CUDA_R_16BF) &&
                     (c_type == CUDA_R_32F || c_type == CUDA_R_16BF);
  // TF32 is leave to round float32 inputs, which is not taken here.
  bool compute_known = compute == CUBLAS_COMPUTE_32F ||
                       (compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a_type == CUDA_R_32F);
  if (!types_known || !compute_known || a_operation > 1 || b_operation > 1) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
  auto extent = [&](int leading, int columns, int rows, long long stride, size_t element) {
    return (static_cast<size_t>(leading) * (static_cast<size_t>(columns) - 1) +
            static_cast<size_t>(rows) +
            static_cast<size_t>(stride) * (static_cast<size_t>(batch) - 1)) *
           element;
  };
  auto readable = [&](const void *pointer, size_t bytes) {
    return !host::check_range(reinterpret_cast<uintptr_t>(pointer), bytes);
  };
  bool operands_readable =
      k == 0 || (readable(a, extent(a_leading, a_plain ? k : m, a_plain ? m : k, a_stride,
                                    element_size(a_type))) &&
                 readable(b, extent(b_leading, b_plain ? n : k, b_plain ? k : n, b_stride,
                                    element_size(b_type))));
  if (!operands_readable || !readable(c, extent(c_leading, n, m, c_stride, element_size(c_type)))) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  Product product;
  memset(static_cast<void *>(&product), 0, sizeof product);  // padding takes part in the comparison
  product.rows = n;
  product.columns = m;
  product.inner = k;
  // The row-major left factor is op(B) transposed, the right one op(A) transposed.
  product.a_row = b_plain ? b_leading : 1;
  product.a_column = b_plain ? 1 : b_leading;
  product.b_row = a_plain ? a_leading : 1;
  product.b_column = a_plain ? 1 : a_leading;
  product.c_row = c_leading;
  product.input = a_type;
  product.output = c_type;
  product.alpha = *static_cast<const float *>(alpha);
  product.beta = *static_cast<const float *>(beta);
  auto bytes = [](long long stride, int type) {
    return stride * static_cast<long long>(element_size(type));
  };
  Batch matrices{batch, bytes(b_stride, b_type), bytes(a_stride, a_type), bytes(c_stride, c_type)};
  auto address = [](const void *pointer) {
    return static_cast<char *>(const_cast<void *>(pointer));
  };
  CUresult queued = stream->enqueue([=] {
    if (is_plain(product)) multiply(product, matrices, address(b), address(a), address(c));
    else execute(product, matrices, address(b), address(a), address(c));
  });
  return queued ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_operation,
                                   cublasOperation_t b_operation, int m, int n, int k,
                                   const void *alpha, const void *a, cudaDataType a_type,
                                   int a_leading, const void *b, cudaDataType b_type, int b_leading,
                                   const void *beta, void *c, cudaDataType c_type, int c_leading,
                                   cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, a_operation, b_operation, m, n, k, alpha, a, a_type,
                                    a_leading, 0, b, b_type, b_leading, 0, beta, c, c_type,
                                    c_leading, 0, 1, compute, algorithm);
}
