// The gated activation of LLaMA's MLP: x_down = silu(gate) · up.
#include "prelude.cuh"

// gate_up [rows, 2·columns] holds gate, then up, in each row.
extern "C" __global__ void swiglu(float *y, const float *gate_up, int rows, int columns) {
  for (int row = warp_id(); row < rows; row += warp_count()) {
    const float *gate = gate_up + static_cast<long long>(row) * 2 * columns;
    const float *up = gate + columns;
    float *to = y + static_cast<long long>(row) * columns;
    for (int c = lane(); c < columns; c += WARP) {
      to[c] = gate[c] / (1.0f + fast_exp(-gate[c])) * up[c];
    }
  }
}
