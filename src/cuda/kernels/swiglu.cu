// The gated activation of LLaMA's MLP: x_down = silu(gate) · up.
#include "prelude.cuh"

// gate_up [rows, 2·columns] holds gate, then up, in each row.
template <class To, class From>
__device__ void swiglu(To *__restrict__ y, const From *__restrict__ gate_up, int rows,
                       int columns) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const From *gate = gate_up + static_cast<long long>(row) * 2 * columns;
    const From *up = gate + columns;
    To *to = y + static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      // silu(z) = z · (z < 0 ? e^z : 1) / (1 + e^-|z|): an exponential that cannot overflow.
      float z = to_float(gate[c]), power = exp2_nonpositive(-absolute(z) * 1.44269504f);
      to[c] = from_float<To>(z * (z < 0 ? power : 1.0f) / (1.0f + power) * to_float(up[c]));
    }
  }
}

extern "C" __global__ void swiglu_float32_to_float32(float *y, const float *gate_up, int rows,
                                                     int columns) {
  swiglu(y, gate_up, rows, columns);
}

extern "C" __global__ void swiglu_float32_to_bfloat16(bfloat16 *y, const float *gate_up, int rows,
                                                      int columns) {
  swiglu(y, gate_up, rows, columns);
}

extern "C" __global__ void swiglu_bfloat16_to_float32(float *y, const bfloat16 *gate_up, int rows,
                                                      int columns) {
  swiglu(y, gate_up, rows, columns);
}

extern "C" __global__ void swiglu_bfloat16_to_bfloat16(bfloat16 *y, const bfloat16 *gate_up,
                                                       int rows, int columns) {
  swiglu(y, gate_up, rows, columns);
}
