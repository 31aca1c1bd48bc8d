// Splits the fused query-key-value projection into heads and rotates queries and keys by position.
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
