// What attention adds to its scores, or leaves out: causal masks, and linear biases (ALiBi).
#include "prelude.cuh"

// y [queries, keys] = `yes` where query first + i sees key j: j <= first + i, and if there is a window, not
// `window` or more before it; elsewhere `no`.
template <class T>
__device__ void causal_mask(T *__restrict__ y, int queries, int keys, int first, int window, T yes,
                            T no) {
  for (int row = row_begin(queries); row < row_end(queries); row += row_step()) {
    T *to = y + static_cast<long long>(row) * keys;
    int last = first + row, begin = window > 0 ? last - window + 1 : 0;
    for (int j = lane(); j < keys; j += WARP) to[j] = (j >= begin) & (j <= last) ? yes : no;
  }
}

extern "C" __global__ void causal_mask_uint8(unsigned char *y, int queries, int keys, int first,
                                             int window) {
  causal_mask<unsigned char>(y, queries, keys, first, window, 1, 0);
}

extern "C" __global__ void causal_mask_float32(float *y, int queries, int keys, int first,
                                               int window) {
  causal_mask(y, queries, keys, first, window, 0.0f, -infinity());
}

// y [heads, queries, keys] = -slopes[head] · |first + query - key|.
extern "C" __global__ void alibi_bias(float *__restrict__ y, const float *__restrict__ slopes,
                                      int heads, int queries, int keys, int first) {
  for (int row = row_begin(heads * queries); row < row_end(heads * queries); row += row_step()) {
    float *to = y + static_cast<long long>(row) * keys;
    int position = first + row % queries;
    float slope = -slopes[row / queries];
    for (int j = lane(); j < keys; j += WARP) {
      int distance = position - j;
      to[j] = slope * static_cast<float>(distance < 0 ? -distance : distance);
    }
  }
}
