// Conversions between types.
#include "prelude.cuh"

extern "C" __global__ void cast_float32_to_bfloat16(bfloat16 *y, const float *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = from_float<bfloat16>(x[i]);
  }
}

extern "C" __global__ void cast_bfloat16_to_float32(float *y, const bfloat16 *x, long long count) {
  for (long long i = span_begin(count); i < span_end(count); i += span_step()) {
    y[i] = to_float(x[i]);
  }
}
