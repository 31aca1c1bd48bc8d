// Attention: weights of the keys from scores, the gradients of both, and the sums over queries of the weights.
#include "prelude.cuh"

// The keys [begin, end) that the query at `position` sees: with `causal` those up to its own position, of them
// the last `window` if that is not 0.
__device__ __forceinline__ void visible_keys(int position, int keys, int window, int causal, int &begin,
                                             int &end) {
  end = causal && position < keys ? position + 1 : keys;
  begin = window && position >= window ? position + 1 - window : 0;
}

template <class T>
__device__ __forceinline__ void clear_hidden(T *to, int begin, int end, int keys) {
  for (int j = lane(); j < begin; j += WARP) to[j] = from_float<T>(0.0f);
  for (int j = end + lane(); j < keys; j += WARP) to[j] = from_float<T>(0.0f);
}

// score + bias of ALiBi, which falls by `slope` with each step to the key. As fmaf, which rounds once.
__device__ __forceinline__ float with_slope(float score, float slope, int step) {
  return fmaf(-slope, static_cast<float>(step < 0 ? -step : step), score);
}

// scores [queries, group, row_stride], of which the first `keys` columns count: the products q·k of the
// `group` heads that share a key-value head, for the queries first_query, first_query + 1, ... weights (same
// shape and stride): softmax of scale · score (scale > 0), less slopes[head] · |key - query| if there are
// slopes, over the visible keys, 0 beyond; as float32 they may be the scores' own memory. The scores are
// overwritten. log_sums [queries, group] get log Σ exp over the visible keys, if wanted.
template <class T>
__device__ void attention_softmax(T *weights, float *scores, float *log_sums, const float *slopes,
                                  int rows, int group, int first_query, int keys, int row_stride,
                                  float scale, int window, int causal) {
  float scale_to_base_2 = scale * 1.44269504f;
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int position = first_query + row / group, begin, end;
    visible_keys(position, keys, window, causal, begin, end);
    float *from = scores + static_cast<long long>(row) * row_stride;
    T *to = weights + static_cast<long long>(row) * row_stride;
    if (slopes) {
      float slope = slopes[row % group] / scale;
      for (int j = begin + lane(); j < end; j += WARP) from[j] = with_slope(from[j], slope, j - position);
    }
    float largest = row_max(from + begin, end - begin);
    float sum = 0;
    for (int j = begin + lane(); j < end; j += WARP) {
      from[j] = exp2_nonpositive((from[j] - largest) * scale_to_base_2);
      sum += from[j];
    }
    sum = warp_sum(sum);
    float share = 1.0f / sum;
    for (int j = begin + lane(); j < end; j += WARP) to[j] = from_nonnegative<T>(from[j] * share);
    clear_hidden(to, begin, end, keys);
    if (log_sums && lane() == 0) log_sums[row] = largest * scale + logf(sum);
  }
}

// The same with the weights 1 / (1 + exp(-(scale · score + bias))), each by itself.
template <class T>
__device__ void attention_sigmoid(T *weights, const float *scores, int rows, int group, int first_query,
                                  int keys, int row_stride, float scale, int window, int causal,
                                  float bias) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int begin, end;
    visible_keys(first_query + row / group, keys, window, causal, begin, end);
    const float *from = scores + static_cast<long long>(row) * row_stride;
    T *to = weights + static_cast<long long>(row) * row_stride;
    for (int j = begin + lane(); j < end; j += WARP) {
      to[j] = from_float<T>(1.0f / (1.0f + fast_exp(-(scale * from[j] + bias))));
    }
    clear_hidden(to, begin, end, keys);
  }
}

// From scores, and the gradients of the weights (d_weights, of scores' shape): the weights again, and the
// gradients of the scores, scale · w · (dw - delta), with a delta for each row [queries, group]. Weights and
// gradients may be the memory of scores and d_weights.
template <class T>
__device__ void attention_softmax_backward(T *weights, T *d_scores, const float *scores,
                                           const float *d_weights, const float *log_sums,
                                           const float *deltas, const float *slopes, int rows, int group,
                                           int first_query, int keys, int row_stride, float scale,
                                           int window, int causal) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int position = first_query + row / group, begin, end;
    visible_keys(position, keys, window, causal, begin, end);
    long long first = static_cast<long long>(row) * row_stride;
    const float *from = scores + first, *gradient = d_weights + first;
    T *to = weights + first, *d_to = d_scores + first;
    float log_sum = log_sums[row], delta = deltas[row];
    float slope = slopes ? slopes[row % group] : 0.0f;
    for (int j = begin + lane(); j < end; j += WARP) {
      float weight = fast_exp(with_slope(scale * from[j], slope, j - position) - log_sum);
      float d_score = scale * weight * (gradient[j] - delta);
      to[j] = from_float<T>(weight);
      d_to[j] = from_float<T>(d_score);
    }
    clear_hidden(to, begin, end, keys);
    clear_hidden(d_to, begin, end, keys);
  }
}

// The same for sigmoid weights, whose gradient is scale · w · (1 - w) · dw.
template <class T>
__device__ void attention_sigmoid_backward(T *weights, T *d_scores, const float *scores,
                                           const float *d_weights, int rows, int group, int first_query,
                                           int keys, int row_stride, float scale, int window, int causal,
                                           float bias) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int begin, end;
    visible_keys(first_query + row / group, keys, window, causal, begin, end);
    long long first = static_cast<long long>(row) * row_stride;
    const float *from = scores + first, *gradient = d_weights + first;
    T *to = weights + first, *d_to = d_scores + first;
    for (int j = begin + lane(); j < end; j += WARP) {
      float weight = 1.0f / (1.0f + fast_exp(-(scale * from[j] + bias)));
      float d_score = scale * weight * (1.0f - weight) * gradient[j];
      to[j] = from_float<T>(weight);
      d_to[j] = from_float<T>(d_score);
    }
    clear_hidden(to, begin, end, keys);
    clear_hidden(d_to, begin, end, keys);
  }
}

// sums[head, j] += sum over queries of probabilities[query, head, j]; sums [group, sums_stride]. A warp
// owns a tile of columns of one head, so the order of the sum is fixed.
template <class T>
__device__ void attention_column_sums(float *sums, const T *probabilities, int group, int queries,
                                      int keys, int row_stride, int sums_stride) {
  int tiles = (keys + TILE - 1) / TILE;
  for (int item = warp_id(); item < group * tiles; item += warp_count()) {
    int head = item / tiles, first = item % tiles * TILE;
    int width = keys - first < TILE ? keys - first : TILE;
    const T *from = probabilities + static_cast<long long>(head) * row_stride + first;
    long long next_query = static_cast<long long>(group) * row_stride;
    float *to = sums + static_cast<long long>(head) * sums_stride + first;
    float partial[TILE / WARP] = {};
    if (width == TILE) {
      for (int i = 0; i < queries; i++, from += next_query) {
        for (int t = 0; t < TILE / WARP; t++) partial[t] += to_float(from[t * WARP + lane()]);
      }
    } else {
      for (int i = 0; i < queries; i++, from += next_query) {
        for (int t = 0; t * WARP + lane() < width; t++) {
          partial[t] += to_float(from[t * WARP + lane()]);
        }
      }
    }
    for (int t = 0; t * WARP + lane() < width; t++) to[t * WARP + lane()] += partial[t];
  }
}

#define ATTENTION(dtype, T)                                                                         \
  extern "C" __global__ void attention_softmax_##dtype(                                             \
      T *weights, float *scores, float *log_sums, const float *slopes, int rows, int group,         \
      int first_query, int keys, int row_stride, float scale, int window, int causal) {             \
    attention_softmax(weights, scores, log_sums, slopes, rows, group, first_query, keys,            \
                      row_stride, scale, window, causal);                                           \
  }                                                                                                 \
  extern "C" __global__ void attention_sigmoid_##dtype(                                             \
      T *weights, const float *scores, int rows, int group, int first_query, int keys,              \
      int row_stride, float scale, int window, int causal, float bias) {                            \
    attention_sigmoid(weights, scores, rows, group, first_query, keys, row_stride, scale, window,   \
                      causal, bias);                                                                \
  }                                                                                                 \
  extern "C" __global__ void attention_softmax_backward_##dtype(                                    \
      T *weights, T *d_scores, const float *scores, const float *d_weights, const float *log_sums,  \
      const float *deltas, const float *slopes, int rows, int group, int first_query, int keys,     \
      int row_stride, float scale, int window, int causal) {                                        \
    attention_softmax_backward(weights, d_scores, scores, d_weights, log_sums, deltas, slopes,      \
                               rows, group, first_query, keys, row_stride, scale, window, causal);  \
  }                                                                                                 \
  extern "C" __global__ void attention_sigmoid_backward_##dtype(                                    \
      T *weights, T *d_scores, const float *scores, const float *d_weights, int rows, int group,    \
      int first_query, int keys, int row_stride, float scale, int window, int causal, float bias) { \
    attention_sigmoid_backward(weights, d_scores, scores, d_weights, rows, group, first_query,      \
                               keys, row_stride, scale, window, causal, bias);                      \
  }                                                                                                 \
  extern "C" __global__ void attention_column_sums_##dtype(float *sums, const T *weights,           \
                                                           int group, int queries, int keys,        \
                                                           int row_stride, int sums_stride) {       \
    attention_column_sums(sums, weights, group, queries, keys, row_stride, sums_stride);            \
  }

ATTENTION(float32, float)
ATTENTION(bfloat16, bfloat16)
