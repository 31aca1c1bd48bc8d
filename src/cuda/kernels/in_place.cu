// Changes of a tensor in place.
#include "prelude.cuh"

#define IN_PLACE(dtype, type)                                                                      \
  extern "C" __global__ void in_place_add_##dtype(type *__restrict__ y, const type *__restrict__ x, \
                                                  long long count) {                               \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      y[i] = from_float<type>(to_float(y[i]) + to_float(x[i]));                                    \
    }                                                                                              \
  }                                                                                                \
  extern "C" __global__ void in_place_mul_##dtype(type *y, float factor, long long count) {        \
    for (long long i = span_begin(count); i < span_end(count); i += span_step()) {                 \
      y[i] = from_float<type>(to_float(y[i]) * factor);                                            \
    }                                                                                              \
  }

IN_PLACE(float32, float)
IN_PLACE(bfloat16, bfloat16)
