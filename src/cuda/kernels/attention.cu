// Softmax of causal attention scores, and the sums over queries of its probabilities.
#include "prelude.cuh"

// scores [queries, group, row_stride], of which the first `keys` columns count: the products q·k of the
// `group` heads that share a key-value head, for the queries first_query, first_query + 1, ..., each of
// which sees the keys up to its own position. probabilities (same shape and stride): softmax of
// scale · score (scale > 0) over the visible keys, 0 beyond; as float32 they may be the scores' own
// memory. The scores are overwritten.
template <class T>
__device__ void softmax_causal(T *probabilities, float *scores, int rows, int group, int first_query,
                               int keys, int row_stride, float scale) {
  float scale_to_base_2 = scale * 1.44269504f;
  for (int row = warp_id(); row < rows; row += warp_count()) {
    int visible = first_query + row / group + 1;
    visible = visible < keys ? visible : keys;
    float *from = scores + static_cast<long long>(row) * row_stride;
    T *to = probabilities + static_cast<long long>(row) * row_stride;
    float largest = row_max(from, visible);
    float sum = 0;
    for (int j = lane(); j < visible; j += WARP) {
      from[j] = exp2_nonpositive((from[j] - largest) * scale_to_base_2);
      sum += from[j];
    }
    sum = warp_sum(sum);
    float share = 1.0f / sum;
    for (int j = lane(); j < visible; j += WARP) to[j] = from_nonnegative<T>(from[j] * share);
    for (int j = visible + lane(); j < keys; j += WARP) to[j] = from_float<T>(0.0f);
  }
}

extern "C" __global__ void softmax_causal_float32(float *probabilities, float *scores, int rows,
                                                  int group, int first_query, int keys,
                                                  int row_stride, float scale) {
  softmax_causal(probabilities, scores, rows, group, first_query, keys, row_stride, scale);
}

extern "C" __global__ void softmax_causal_bfloat16(bfloat16 *probabilities, float *scores, int rows,
                                                   int group, int first_query, int keys,
                                                   int row_stride, float scale) {
  softmax_causal(probabilities, scores, rows, group, first_query, keys, row_stride, scale);
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

extern "C" __global__ void attention_column_sums_float32(float *sums, const float *probabilities,
                                                         int group, int queries, int keys,
                                                         int row_stride, int sums_stride) {
  attention_column_sums(sums, probabilities, group, queries, keys, row_stride, sums_stride);
}

extern "C" __global__ void attention_column_sums_bfloat16(float *sums,
                                                          const bfloat16 *probabilities, int group,
                                                          int queries, int keys, int row_stride,
                                                          int sums_stride) {
  attention_column_sums(sums, probabilities, group, queries, keys, row_stride, sums_stride);
}
