// Steps of optimizers over all parameters of a model in one launch. A table says where each parameter, its
// gradient and its state lie; the work is cut into chunks of one tensor each, whose tensor a list gives.
// `verdict`, where there is one, holds the norm of all gradients, what they are multiplied by, and whether a
// gradient or the loss was not finite: from then on nothing changes any more, so that the step can be repeated
// and looked at.
#include "prelude.cuh"

constexpr int CHUNK = 16384;  // elements, as src/nn/optim/tensor_table.ts has it

struct optimizer_tensor {
  float *parameter;
  const float *gradient;  // null where none came: the parameter stays
  float *first, *second;  // state, by optimizer
  long long count, first_chunk;
  float decay, scale;
};

__device__ __forceinline__ bool finite(float value) { return magnitude(value) < 0x7f800000u; }

// Calls body(tensor, first element, how many) for each chunk of a block.
template <class Body>
__device__ __forceinline__ void walk_chunks(const optimizer_tensor *tensors, const int *chunk_tensor,
                                            long long chunks, const float *verdict, Body body) {
  if (verdict && verdict[2] != 0.0f) return;
  long long end = chunks * (blockIdx.x + 1) / gridDim.x;
  for (long long chunk = chunks * blockIdx.x / gridDim.x; chunk < end; chunk++) {
    const optimizer_tensor &tensor = tensors[chunk_tensor[chunk]];
    if (!tensor.gradient) continue;
    long long begin = (chunk - tensor.first_chunk) * CHUNK, left = tensor.count - begin;
    body(tensor, begin, static_cast<int>(left < CHUNK ? left : CHUNK));
  }
}

__device__ __forceinline__ float coefficient(const float *verdict) { return verdict ? verdict[1] : 1.0f; }

// The sum of the squares of each chunk of the gradients; a warp takes one. 0 where there is no gradient.
extern "C" __global__ void gradient_squares(double *__restrict__ squares,
                                            const optimizer_tensor *__restrict__ tensors,
                                            const int *__restrict__ chunk_tensor, long long chunks) {
  constexpr int RUN = 1024;  // elements summed in float
  for (long long chunk = warp_id(); chunk < chunks; chunk += warp_count()) {
    const optimizer_tensor &tensor = tensors[chunk_tensor[chunk]];
    long long begin = (chunk - tensor.first_chunk) * CHUNK, left = tensor.count - begin;
    int count = static_cast<int>(left < CHUNK ? left : CHUNK);
    const float *from = tensor.gradient + begin;
    double total = 0;
    for (int run = 0; tensor.gradient && run < count; run += RUN) {
      int end = run + RUN < count ? run + RUN : count;
      float sum = 0;
      for (int i = run + lane(); i < end; i += WARP) sum += from[i] * from[i];
      total += static_cast<double>(sum);
    }
    total = warp_sum(total);
    if (lane() == 0) squares[chunk] = total;
  }
}

// verdict = {norm, min(1, maximum / (norm + 1e-6)), whether anything was not finite so far}. One warp.
extern "C" __global__ void gradient_verdict(float *verdict, const double *squares, long long chunks,
                                            float maximum, const float *loss) {
  double total = 0;
  for (long long chunk = lane(); chunk < chunks; chunk += WARP) total += squares[chunk];
  total = warp_sum(total);
  if (lane() != 0) return;
  float norm = static_cast<float>(sqrt(total)), factor = maximum / (norm + 1e-6f);
  verdict[0] = norm;
  verdict[1] = factor < 1.0f ? factor : 1.0f;
  if (!finite(norm) || (loss && !finite(*loss))) verdict[2] = 1.0f;
}

__device__ __forceinline__ void adamw_chunk(float *__restrict__ p, const float *__restrict__ g,
                                            float *__restrict__ m, float *__restrict__ v, int count,
                                            float clip, float keep, float rate, float beta1, float new1,
                                            float beta2, float new2, float root2, float epsilon) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    float gradient = clip * g[i];
    float mean = beta1 * m[i] + new1 * gradient;
    float square = beta2 * v[i] + new2 * gradient * gradient;
    // State is written last. Else v is read behind the write to m, whose address is equal in its last bits, and
    // on a CPU waits for that.
    p[i] = keep * p[i] - rate * mean / (sqrtf(square) * root2 + epsilon);
    m[i] = mean;
    v[i] = square;
  }
}

// AdamW with decoupled decay: `first` is the mean of the gradients, `second` that of their squares; new = 1 -
// beta; rate = learning rate / (1 - beta1^t), root2 = 1 / √(1 - beta2^t).
extern "C" __global__ void adamw_step(const optimizer_tensor *__restrict__ tensors,
                                      const int *__restrict__ chunk_tensor, long long chunks,
                                      const float *__restrict__ verdict, float learning_rate, float rate,
                                      float beta1, float new1, float beta2, float new2, float root2,
                                      float epsilon) {
  float clip = coefficient(verdict);
  walk_chunks(tensors, chunk_tensor, chunks, verdict,
              [=](const optimizer_tensor &t, long long at, int count) {
                adamw_chunk(t.parameter + at, t.gradient + at, t.first + at, t.second + at, count, clip,
                            1.0f - learning_rate * t.decay, rate, beta1, new1, beta2, new2, root2, epsilon);
              });
}

__device__ __forceinline__ void sgd_chunk(float *__restrict__ p, const float *__restrict__ g,
                                          float *__restrict__ m, int count, float clip, float decay,
                                          float rate, float momentum, float ahead, float now) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    float gradient = clip * g[i] + decay * p[i], velocity = momentum * m[i] + gradient;
    m[i] = velocity;
    p[i] -= rate * (ahead * velocity + now * gradient);
  }
}

// SGD with momentum, whose velocity is `first`; decay is a part of the gradient. With Nesterov's momentum the
// step is gradient + momentum · velocity.
extern "C" __global__ void sgd_step(const optimizer_tensor *__restrict__ tensors,
                                    const int *__restrict__ chunk_tensor, long long chunks,
                                    const float *__restrict__ verdict, float rate, float momentum,
                                    int nesterov) {
  float clip = coefficient(verdict), ahead = nesterov ? momentum : 1.0f, now = nesterov ? 1.0f : 0.0f;
  walk_chunks(tensors, chunk_tensor, chunks, verdict,
              [=](const optimizer_tensor &t, long long at, int count) {
                sgd_chunk(t.parameter + at, t.gradient + at, t.first + at, count, clip, t.decay, rate,
                          momentum, ahead, now);
              });
}

__device__ __forceinline__ void average_chunk(float *__restrict__ y, const float *__restrict__ g,
                                              float *__restrict__ m, int count, float clip, float momentum,
                                              float new1, float ahead, float now) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    float gradient = clip * g[i], mean = momentum * m[i] + new1 * gradient;
    m[i] = mean;
    y[i] = ahead * mean + now * gradient;
  }
}

// The first half of Muon's step: `first` becomes the running mean of the gradients, and `second` what is
// orthogonalized then: the mean, or with Nesterov's momentum its mean with the gradient.
extern "C" __global__ void muon_momentum(const optimizer_tensor *__restrict__ tensors,
                                         const int *__restrict__ chunk_tensor, long long chunks,
                                         const float *__restrict__ verdict, float momentum, float new1,
                                         int nesterov) {
  float clip = coefficient(verdict), ahead = nesterov ? momentum : 1.0f, now = nesterov ? new1 : 0.0f;
  walk_chunks(tensors, chunk_tensor, chunks, verdict,
              [=](const optimizer_tensor &t, long long at, int count) {
                average_chunk(t.second + at, t.gradient + at, t.first + at, count, clip, momentum, new1,
                              ahead, now);
              });
}

__device__ __forceinline__ void apply_chunk(float *__restrict__ p, const float *__restrict__ u, int count,
                                            float keep, float rate) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) p[i] = keep * p[i] - rate * u[i];
}

// The second half: the parameter decays and goes against `gradient`, which holds the orthogonal matrix.
extern "C" __global__ void muon_apply(const optimizer_tensor *__restrict__ tensors,
                                      const int *__restrict__ chunk_tensor, long long chunks,
                                      const float *__restrict__ verdict, float learning_rate) {
  walk_chunks(tensors, chunk_tensor, chunks, verdict,
              [=](const optimizer_tensor &t, long long at, int count) {
                apply_chunk(t.parameter + at, t.gradient + at, count, 1.0f - learning_rate * t.decay,
                            learning_rate * t.scale);
              });
}
