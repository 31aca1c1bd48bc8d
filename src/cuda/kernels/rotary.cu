// Rotary positions: of queries and keys as the fused projection is split into heads, and of any rows.
#include "prelude.cuh"

// qkv [B·T, (heads + 2·kv_heads)·d] -> q [B·kv_heads, T, group, d], k and v [B·kv_heads, T, d], where `group` =
// heads / kv_heads queries share a key-value head; `tokens` are B·T. Rotary positions in Hugging Face's
// half-split form: feature i of the first 2·pairs pairs with i + pairs. cosine, sine [T, pairs] are those of
// each sequence's positions. Or back (MERGE): gradients of q, k, v to that of qkv, turned the other way.
// A warp takes a token with all its heads, which turn by the same angles.
template <bool MERGE, class T>
__device__ __forceinline__ void turn_head(T *__restrict__ head, T *__restrict__ row,
                                          const float *__restrict__ c,
                                          const float *__restrict__ s, int d, int pairs) {
  const T *from = MERGE ? head : row;
  T *to = MERGE ? row : head;
  for (int i = lane(); i < pairs; i += WARP) {
    float first = to_float(from[i]), second = to_float(from[i + pairs]);
    float sine = MERGE ? -s[i] : s[i];
    to[i] = from_float<T>(first * c[i] - second * sine);
    to[i + pairs] = from_float<T>(second * c[i] + first * sine);
  }
  copy_row(to + 2 * pairs, from + 2 * pairs, d - 2 * pairs);
}

template <bool MERGE, class T>
__device__ void heads_rotary(T *__restrict__ q, T *__restrict__ k, T *__restrict__ v,
                             T *__restrict__ qkv, const float *__restrict__ cosine,
                             const float *__restrict__ sine, int tokens, int length, int heads,
                             int kv_heads, int d, int pairs) {
  int group = heads / kv_heads;
  for (int token = row_begin(tokens); token < row_end(tokens); token += row_step()) {
    T *row = qkv + static_cast<long long>(token) * (heads + 2 * kv_heads) * d;
    int sequence = token / length, position = token % length;
    const float *c = cosine + static_cast<long long>(position) * pairs;
    const float *s = sine + static_cast<long long>(position) * pairs;
    T *key = row + heads * d, *value = key + kv_heads * d;
    for (int kv = 0; kv < kv_heads; kv++, key += d, value += d) {
      long long place = static_cast<long long>(sequence * kv_heads + kv) * length + position;
      for (int i = 0; i < group; i++, row += d) {
        turn_head<MERGE>(q + (place * group + i) * d, row, c, s, d, pairs);
      }
      turn_head<MERGE>(k + place * d, key, c, s, d, pairs);
      turn_head<MERGE>(v + place * d, value, c, s, d, 0);
    }
  }
}

#define HEADS_ROTARY(dtype, T)                                                                     \
  extern "C" __global__ void split_heads_rotary_##dtype(                                           \
      T *q, T *k, T *v, T *qkv, const float *cosine, const float *sine, int tokens, int length,    \
      int heads, int kv_heads, int d, int pairs) {                                                 \
    heads_rotary<false>(q, k, v, qkv, cosine, sine, tokens, length, heads, kv_heads, d, pairs);    \
  }                                                                                                \
  extern "C" __global__ void merge_heads_rotary_##dtype(                                           \
      T *q, T *k, T *v, T *qkv, const float *cosine, const float *sine, int tokens, int length,    \
      int heads, int kv_heads, int d, int pairs) {                                                 \
    heads_rotary<true>(q, k, v, qkv, cosine, sine, tokens, length, heads, kv_heads, d, pairs);     \
  }

HEADS_ROTARY(float32, float)
HEADS_ROTARY(bfloat16, bfloat16)

// y = x [rows, d] with pairs of its first 2·pairs features turned by the angles of its position, direction =
// 1 forth or -1 back. Row r has position r / heads % tokens. Pairs are (i, i + pairs), or with `adjacent`
// (2i, 2i + 1). cosine, sine [tokens, pairs].
template <class T>
__device__ void rotate(T *__restrict__ y, const T *__restrict__ x, const float *__restrict__ cosine,
                       const float *__restrict__ sine, int rows, int tokens, int heads, int d,
                       int pairs, int adjacent, float direction) {
  for (int row = row_begin(rows); row < row_end(rows); row += row_step()) {
    const T *from = x + static_cast<long long>(row) * d;
    T *to = y + static_cast<long long>(row) * d;
    long long angles = static_cast<long long>(row / heads % tokens) * pairs;
    const float *c = cosine + angles, *s = sine + angles;
    if (adjacent) {
      for (int i = lane(); i < pairs; i += WARP) {
        float first = to_float(from[2 * i]), second = to_float(from[2 * i + 1]);
        float turn = direction * s[i];
        to[2 * i] = from_float<T>(first * c[i] - second * turn);
        to[2 * i + 1] = from_float<T>(second * c[i] + first * turn);
      }
    } else {
      for (int i = lane(); i < pairs; i += WARP) {
        float first = to_float(from[i]), second = to_float(from[i + pairs]);
        float turn = direction * s[i];
        to[i] = from_float<T>(first * c[i] - second * turn);
        to[i + pairs] = from_float<T>(second * c[i] + first * turn);
      }
    }
    for (int i = 2 * pairs + lane(); i < d; i += WARP) to[i] = from[i];
  }
}

#define ROTATE(dtype, T)                                                                           \
  extern "C" __global__ void rotate_##dtype(T *y, const T *x, const float *cosine,                 \
                                            const float *sine, int rows, int tokens, int heads,    \
                                            int d, int pairs, int adjacent, float direction) {     \
    rotate(y, x, cosine, sine, rows, tokens, heads, d, pairs, adjacent, direction);                \
  }

ROTATE(float32, float)
ROTATE(bfloat16, bfloat16)
