// Attention: weights of the keys from scores, the gradients of both, and the sums over queries of the weights.
#include "prelude.cuh"

// The keys [begin, end) that the query at `position` sees: with `causal` those up to its own position, of them
// the last `window` if that is not 0. Loops go from `low` to `high`, multiples of 16 where there are so many keys:
// rows end anywhere, and what the host's vectors of 16 leave over would be most of the work.
struct Keys {
  int begin, end, low, high;
  __device__ __forceinline__ Keys(int position, int keys, int window, int causal) {
    end = causal && position < keys ? position + 1 : keys;
    begin = window && position >= window ? position + 1 - window : 0;
    low = begin & ~15;
    high = (end + 15) & ~15;
    high = high < keys ? high : keys;
  }
  __device__ __forceinline__ bool visible(int j) const { return j >= begin && j < end; }

  // Clears what is not from low to high.
  template <class T>
  __device__ __forceinline__ void clear_others(T *to, int keys) const {
    for (int j = lane(); j < low; j += WARP) to[j] = from_float<T>(0.0f);
    for (int j = high + lane(); j < keys; j += WARP) to[j] = from_float<T>(0.0f);
  }
};

// score + bias of ALiBi, which falls by `slope` with each step to the key. As fmaf, which rounds once.
__device__ __forceinline__ float with_slope(float score, float slope, int step) {
  return fmaf(-slope, static_cast<float>(step < 0 ? -step : step), score);
}

// What there is of a row: its query's position, the keys that it sees, and where its scores begin.
struct Row {
  int position;
  Keys seen;
  long long first;
};

// scores [heads, queries, group, row_stride], of which the first `keys` columns count: the products q·k of the
// `group` heads that share a key-value head, for the queries first_query, first_query + 1, ...; `rows` are all
// of these. A logit is scale · score (scale > 0), less slopes[head] · |key - query| if there are slopes: then there
// must be one key-value head.
struct Rows {
  int rows, group, queries, first_query, keys, row_stride;
  float scale;
  int window, causal;
  __device__ __forceinline__ Row operator[](int row) const {
    int position = first_query + row / group % queries;
    return {position, Keys(position, keys, window, causal), static_cast<long long>(row) * row_stride};
  }
};

// What weights are made of softmax's probabilities: themselves.
struct Whole {
  static constexpr bool SUM_TO_1 = true;
  __device__ __forceinline__ float weight(float p) const { return p; }
  __device__ __forceinline__ float slope(float) const { return 1.0f; }
};

// Stretched and clipped, so that small ones are 0: clip(stretch · p + low, 0, 1).
struct Clipped {
  static constexpr bool SUM_TO_1 = false;
  float stretch, low;
  __device__ __forceinline__ float weight(float p) const {
    float stretched = fmaf(stretch, p, low);
    stretched = stretched < 0.0f ? 0.0f : stretched;
    return stretched > 1.0f ? 1.0f : stretched;
  }
  __device__ __forceinline__ float slope(float p) const {
    float stretched = fmaf(stretch, p, low);
    return stretched >= 0.0f && stretched <= 1.0f ? stretch : 0.0f;
  }
};

// Takes ALiBi's slopes from the scores that will be multiplied by `scale`.
__device__ __forceinline__ void add_slopes(float *scores, const float *slopes, int row, Row at, Rows all) {
  if (!slopes) return;
  float slope = slopes[row % all.group] / all.scale;
  for (int j = at.seen.low + lane(); j < at.seen.high; j += WARP) {
    scores[j] = with_slope(scores[j], slope, j - at.position);
  }
}

// weights (of the scores' shape and stride): what `weigh` makes of the softmax of the visible keys' logits, 0 beyond;
// as float32 they may be the scores' own memory. The scores are overwritten. log_sums [heads, queries, group] get
// log Σ exp over the visible keys, if wanted.
template <class T, class Weigh>
__device__ void attention_softmax(T *weights, float *scores, float *log_sums, const float *slopes, Rows all,
                                  Weigh weigh) {
  float scale_to_base_2 = all.scale * 1.44269504f;
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    float *from = scores + at.first;
    T *to = weights + at.first;
    add_slopes(from, slopes, row, at, all);
    float largest = row_max(from + seen.begin, seen.end - seen.begin);
    float sum = 0;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float power = exp2_nonpositive((from[j] - largest) * scale_to_base_2);
      from[j] = seen.visible(j) ? power : 0.0f;
      sum += from[j];
    }
    sum = warp_sum(sum);
    float share = 1.0f / sum;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      to[j] = from_nonnegative<T>(seen.visible(j) ? weigh.weight(from[j] * share) : 0.0f);
    }
    seen.clear_others(to, all.keys);
    if (log_sums && lane() == 0) log_sums[row] = largest * all.scale + logf(sum);
  }
}

// The same with the weights 1 / (1 + exp(-(logit + bias))), each by itself.
template <class T>
__device__ void attention_sigmoid(T *weights, const float *scores, const float *slopes, Rows all, float bias) {
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    const float *from = scores + at.first;
    T *to = weights + at.first;
    float slope = slopes ? slopes[row % all.group] : 0.0f;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float logit = with_slope(all.scale * from[j], slope, j - at.position);
      float weight = 1.0f / (1.0f + fast_exp(-(logit + bias)));
      to[j] = from_float<T>(seen.visible(j) ? weight : 0.0f);
    }
    seen.clear_others(to, all.keys);
  }
}

// The same with softpick's weights, max(exp z - 1, 0) / (Σ |exp z - 1| + epsilon) of logits z, all terms divided by
// exp m with m = max(0, z); log_sums get the logarithm of the divisor.
template <class T>
__device__ void attention_softpick(T *weights, float *scores, float *log_sums, const float *slopes, Rows all,
                                   float epsilon) {
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    float *from = scores + at.first;
    T *to = weights + at.first;
    add_slopes(from, slopes, row, at, all);
    float largest = all.scale * row_max(from + seen.begin, seen.end - seen.begin);
    largest = largest < 0.0f ? 0.0f : largest;
    float one = fast_exp(-largest), sum = 0;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float term = fast_exp(fmaf(all.scale, from[j], -largest)) - one;
      from[j] = seen.visible(j) ? term : 0.0f;
      sum += absolute(from[j]);
    }
    sum = warp_sum(sum) + one * epsilon;
    float share = 1.0f / sum;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float weight = seen.visible(j) ? from[j] * share : 0.0f;
      to[j] = from_float<T>(weight < 0.0f ? 0.0f : weight);
    }
    seen.clear_others(to, all.keys);
    if (lane() == 0) log_sums[row] = largest + logf(sum);
  }
}

// From scores, and the gradients of the weights (d_weights, of scores' shape): the weights again, and the
// gradients of the scores, scale · p · (dp - delta), with a delta for each row: Σ p · dp, which is the context's
// product with its gradient where weights are the probabilities. Weights and gradients may be the memory of scores
// and d_weights.
template <class T, class Weigh>
__device__ void attention_softmax_backward(T *weights, T *d_scores, const float *scores, const float *d_weights,
                                           const float *log_sums, const float *deltas, const float *slopes, Rows all,
                                           Weigh weigh) {
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    const float *from = scores + at.first, *gradient = d_weights + at.first;
    T *to = weights + at.first, *d_to = d_scores + at.first;
    float log_sum = log_sums[row], delta = deltas[row];
    float slope = slopes ? slopes[row % all.group] : 0.0f;
    auto probability = [&](int j) {
      float logit = with_slope(all.scale * from[j], slope, j - at.position);
      return exp2_nonpositive((logit - log_sum) * 1.44269504f);
    };
    if (!Weigh::SUM_TO_1) {
      delta = 0;
      for (int j = seen.low + lane(); j < seen.high; j += WARP) {
        float p = probability(j), product = p * weigh.slope(p) * gradient[j];
        delta += seen.visible(j) ? product : 0.0f;
      }
      delta = warp_sum(delta);
    }
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float p = probability(j);
      float d_score = all.scale * p * (weigh.slope(p) * gradient[j] - delta);
      to[j] = from_nonnegative<T>(seen.visible(j) ? weigh.weight(p) : 0.0f);
      d_to[j] = from_float<T>(seen.visible(j) ? d_score : 0.0f);
    }
    seen.clear_others(to, all.keys);
    seen.clear_others(d_to, all.keys);
  }
}

// The same for sigmoid weights, whose gradient is scale · w · (1 - w) · dw.
template <class T>
__device__ void attention_sigmoid_backward(T *weights, T *d_scores, const float *scores, const float *d_weights,
                                           const float *slopes, Rows all, float bias) {
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    const float *from = scores + at.first, *gradient = d_weights + at.first;
    T *to = weights + at.first, *d_to = d_scores + at.first;
    float slope = slopes ? slopes[row % all.group] : 0.0f;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float logit = with_slope(all.scale * from[j], slope, j - at.position);
      float weight = 1.0f / (1.0f + fast_exp(-(logit + bias)));
      float d_score = all.scale * weight * (1.0f - weight) * gradient[j];
      to[j] = from_float<T>(seen.visible(j) ? weight : 0.0f);
      d_to[j] = from_float<T>(seen.visible(j) ? d_score : 0.0f);
    }
    seen.clear_others(to, all.keys);
    seen.clear_others(d_to, all.keys);
  }
}

// The same for softpick's, whose gradient is scale · exp(z) / divisor · (dw - delta) where z > 0, of which delta is
// the context's product with its gradient, and scale · exp(z) / divisor · delta where z < 0.
template <class T>
__device__ void attention_softpick_backward(T *weights, T *d_scores, const float *scores, const float *d_weights,
                                            const float *log_sums, const float *deltas, const float *slopes, Rows all) {
  for (int row = row_begin(all.rows); row < row_end(all.rows); row += row_step()) {
    Row at = all[row];
    Keys seen = at.seen;
    const float *from = scores + at.first, *gradient = d_weights + at.first;
    T *to = weights + at.first, *d_to = d_scores + at.first;
    float log_sum = log_sums[row], delta = deltas[row], one = fast_exp(-log_sum);
    float slope = slopes ? slopes[row % all.group] : 0.0f;
    for (int j = seen.low + lane(); j < seen.high; j += WARP) {
      float logit = with_slope(all.scale * from[j], slope, j - at.position);
      float power = fast_exp(logit - log_sum), above = gradient[j] - delta;
      float moved = logit > 0.0f ? above : delta;
      moved = logit == 0.0f ? 0.0f : moved;
      float weight = seen.visible(j) ? power - one : 0.0f;
      to[j] = from_float<T>(weight < 0.0f ? 0.0f : weight);
      d_to[j] = from_float<T>(seen.visible(j) ? all.scale * power * moved : 0.0f);
    }
    seen.clear_others(to, all.keys);
    seen.clear_others(d_to, all.keys);
  }
}

// sums[head, j] += sum over queries of probabilities[query, head, j]; sums [group, sums_stride]. A warp
// owns a tile of columns of one head, so the order of the sum is fixed.
template <class T>
__device__ void attention_column_sums(float *sums, const T *probabilities, int group, int queries,
                                      int keys, int row_stride, int sums_stride) {
  int tiles = (keys + TILE - 1) / TILE;
  for (int item = row_begin(group * tiles); item < row_end(group * tiles); item += row_step()) {
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

// What the backward pass begins with, for `tokens` tokens of each of `batch` sequences, whose contexts and their
// gradients are [batch, tokens, heads, group, d]: d_values [batch, heads, tokens, group, d] get the gradients head
// by head; deltas [batch, heads, tokens, group], what each row of weights has as its mean gradient: gradient ·
// context, less the gradient of log Σ exp if there is one (d_log_sums, of deltas' shape).
template <class T>
__device__ void attention_deltas(float *deltas, T *d_values, const T *d_context, const T *context,
                                 const float *d_log_sums, int batch, int tokens, int heads, int group,
                                 int d) {
  long long rows = static_cast<long long>(batch) * tokens * heads * group;
  for (long long row = row_begin(rows); row < row_end(rows); row += row_step()) {
    // The row as [batch, heads, tokens, group], and where it lies in a context.
    int in_group = row % group, token = row / group % tokens;
    long long head = row / group / tokens;  // of all sequences
    long long from = (head / heads * tokens + token) * heads + head % heads;
    const T *gradient = d_context + (from * group + in_group) * d;
    const T *value = context + (from * group + in_group) * d;
    T *to = d_values + row * d;
    float sum = 0;
    for (int j = lane(); j < d; j += WARP) sum += to_float(gradient[j]) * to_float(value[j]);
    for (int j = lane(); j < d; j += WARP) to[j] = gradient[j];
    sum = warp_sum(sum);
    if (lane() == 0) deltas[row] = sum - (d_log_sums ? d_log_sums[row] : 0.0f);
  }
}

// What kernels of all kinds of weights are given, whether or not a kind needs it.
#define ALL {rows, group, queries, first_query, keys, row_stride, scale, window, causal}
#define FORWARD                                                                                    \
  float *scores, float *log_sums, const float *slopes, int rows, int group, int queries,           \
      int first_query, int keys, int row_stride, float scale, int window, int causal
#define BACKWARD                                                                                   \
  const float *scores, const float *d_weights, const float *log_sums, const float *deltas,         \
      const float *slopes, int rows, int group, int queries, int first_query, int keys,            \
      int row_stride, float scale, int window, int causal

#define SOFTMAXES(dtype, T)                                                                        \
  extern "C" __global__ void attention_softmax_##dtype(T *weights, FORWARD) {                      \
    attention_softmax(weights, scores, log_sums, slopes, ALL, Whole());                            \
  }                                                                                                \
  extern "C" __global__ void attention_clipped_##dtype(T *weights, FORWARD, float stretch,         \
                                                       float low) {                                \
    attention_softmax(weights, scores, log_sums, slopes, ALL, Clipped{stretch, low});              \
  }                                                                                                \
  extern "C" __global__ void attention_softmax_backward_##dtype(T *weights, T *d_scores,           \
                                                                BACKWARD) {                        \
    attention_softmax_backward(weights, d_scores, scores, d_weights, log_sums, deltas, slopes,     \
                               ALL, Whole());                                                      \
  }                                                                                                \
  extern "C" __global__ void attention_clipped_backward_##dtype(                                   \
      T *weights, T *d_scores, BACKWARD, float stretch, float low) {                               \
    attention_softmax_backward(weights, d_scores, scores, d_weights, log_sums, deltas, slopes,     \
                               ALL, Clipped{stretch, low});                                        \
  }

#define OTHERS(dtype, T)                                                                           \
  extern "C" __global__ void attention_sigmoid_##dtype(T *weights, FORWARD, float bias) {          \
    attention_sigmoid(weights, scores, slopes, ALL, bias);                                         \
  }                                                                                                \
  extern "C" __global__ void attention_softpick_##dtype(T *weights, FORWARD, float epsilon) {      \
    attention_softpick(weights, scores, log_sums, slopes, ALL, epsilon);                           \
  }                                                                                                \
  extern "C" __global__ void attention_sigmoid_backward_##dtype(T *weights, T *d_scores, BACKWARD, \
                                                                float bias) {                      \
    attention_sigmoid_backward(weights, d_scores, scores, d_weights, slopes, ALL, bias);           \
  }                                                                                                \
  extern "C" __global__ void attention_softpick_backward_##dtype(                                  \
      T *weights, T *d_scores, BACKWARD, float epsilon) {                                          \
    attention_softpick_backward(weights, d_scores, scores, d_weights, log_sums, deltas, slopes,    \
                                ALL);                                                              \
  }

#define SUMS(dtype, T)                                                                             \
  extern "C" __global__ void attention_deltas_##dtype(                                             \
      float *deltas, T *d_values, const T *d_context, const T *context, const float *d_log_sums,   \
      int batch, int tokens, int heads, int group, int d) {                                        \
    attention_deltas(deltas, d_values, d_context, context, d_log_sums, batch, tokens, heads, group,\
                     d);                                                                           \
  }                                                                                                \
  extern "C" __global__ void attention_column_sums_##dtype(                                        \
      float *sums, const T *weights, int group, int queries, int keys, int row_stride,             \
      int sums_stride) {                                                                           \
    attention_column_sums(sums, weights, group, queries, keys, row_stride, sums_stride);           \
  }

SOFTMAXES(float32, float)
SOFTMAXES(bfloat16, bfloat16)
OTHERS(float32, float)
OTHERS(bfloat16, bfloat16)
SUMS(float32, float)
SUMS(bfloat16, bfloat16)
