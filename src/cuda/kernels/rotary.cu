// Splits the fused query-key-value projection into heads and rotates queries and keys by position.
#include "prelude.cuh"

// qkv [T, (heads + 2·kv_heads)·d] -> q [heads, T, d], k and v [kv_heads, T, d]. Rotary positions in
// Hugging Face's half-split form: feature i pairs with i + d/2. cosine, sine [T, d/2].
template <class T>
__device__ void split_heads_rotary(T *q, T *k, T *v, const float *qkv, const float *cosine,
                                   const float *sine, int tokens, int heads, int kv_heads, int d) {
  int half = d / 2, all = heads + 2 * kv_heads;
  for (int row = warp_id(); row < tokens * all; row += warp_count()) {
    int token = row / all, head = row % all;
    const float *from = qkv + (static_cast<long long>(token) * all + head) * d;
    if (head < heads + kv_heads) {
      T *to = head < heads ? q + (static_cast<long long>(head) * tokens + token) * d
                           : k + (static_cast<long long>(head - heads) * tokens + token) * d;
      const float *c = cosine + static_cast<long long>(token) * half;
      const float *s = sine + static_cast<long long>(token) * half;
      for (int i = lane(); i < half; i += WARP) {
        float first = from[i], second = from[i + half];
        to[i] = from_float<T>(first * c[i] - second * s[i]);
        to[i + half] = from_float<T>(second * c[i] + first * s[i]);
      }
    } else {
      T *to = v + (static_cast<long long>(head - heads - kv_heads) * tokens + token) * d;
      for (int i = lane(); i < d; i += WARP) to[i] = from_float<T>(from[i]);
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
                                                       const float *qkv, const float *cosine,
                                                       const float *sine, int tokens, int heads,
                                                       int kv_heads, int d) {
  split_heads_rotary(q, k, v, qkv, cosine, sine, tokens, heads, kv_heads, d);
}
