// Rotary positions: of queries and keys as the fused projection is split into heads, and of any rows.
#include "prelude.cuh"

// qkv [T, (heads + 2·kv_heads)·d] -> q [kv_heads, T, group, d], k and v [kv_heads, T, d], where `group` =
// heads / kv_heads queries share a key-value head. Rotary positions in Hugging Face's half-split form:
// feature i pairs with i + d/2. cosine, sine [T, d/2].
// A warp takes a token with all its heads, which turn by the same angles.
template <class T>
__device__ void split_heads_rotary(T *__restrict__ q, T *__restrict__ k, T *__restrict__ v,
                                   const T *__restrict__ qkv, const float *__restrict__ cosine,
                                   const float *__restrict__ sine, int tokens, int heads,
                                   int kv_heads, int d) {
  int half = d / 2, group = heads / kv_heads;
  for (int token = warp_id(); token < tokens; token += warp_count()) {
    const T *from = qkv + static_cast<long long>(token) * (heads + 2 * kv_heads) * d;
    const float *c = cosine + static_cast<long long>(token) * half;
    const float *s = sine + static_cast<long long>(token) * half;
    for (int head = 0; head < heads + kv_heads; head++, from += d) {
      int kv = head < heads ? head / group : head - heads;
      long long place = static_cast<long long>(kv) * tokens + token;
      T *to = head < heads ? q + (place * group + head % group) * d : k + place * d;
      for (int i = lane(); i < half; i += WARP) {
        float first = to_float(from[i]), second = to_float(from[i + half]);
        to[i] = from_float<T>(first * c[i] - second * s[i]);
        to[i + half] = from_float<T>(second * c[i] + first * s[i]);
      }
    }
    for (int kv = 0; kv < kv_heads; kv++, from += d) {
      T *to = v + (static_cast<long long>(kv) * tokens + token) * d;
      for (int i = lane(); i < d; i += WARP) to[i] = from[i];
    }
  }
}

extern "C" __global__ void split_heads_rotary_float32(float *q, float *k, float *v,
                                                      const float *qkv, const float *cosine,
                                                      const float *sine, int tokens, int heads,
                                                      int kv_heads, int d) {
  split_heads_rotary(q, k, v, qkv, cosine, sine, tokens, heads, kv_heads, d);
}

extern "C" __global__ void split_heads_rotary_bfloat16(bfloat16 *q, bfloat16 *k, bfloat16 *v,
                                                       const bfloat16 *qkv, const float *cosine,
                                                       const float *sine, int tokens, int heads,
                                                       int kv_heads, int d) {
  split_heads_rotary(q, k, v, qkv, cosine, sine, tokens, heads, kv_heads, d);
}

// y = x [rows, d] with pairs of its first 2·pairs features turned by the angles of its position, direction =
// 1 forth or -1 back. Row r has position r / heads % tokens. Pairs are (i, i + pairs), or with `adjacent`
// (2i, 2i + 1). cosine, sine [tokens, pairs].
template <class T>
__device__ void rotate(T *__restrict__ y, const T *__restrict__ x, const float *__restrict__ cosine,
                       const float *__restrict__ sine, int rows, int tokens, int heads, int d,
                       int pairs, int adjacent, float direction) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
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
