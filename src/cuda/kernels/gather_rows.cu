// Rows of a table by index.
#include "prelude.cuh"

// to [count, row_bytes] = the rows `ids` of table, whatever its type; row_bytes is even.
extern "C" __global__ void gather_rows(unsigned short *to, const unsigned short *table,
                                       const int *ids, int count, int row_bytes) {
  int width = row_bytes / 2;
  for (int row = warp_id(); row < count; row += warp_count()) {
    const unsigned short *from = table + static_cast<long long>(ids[row]) * width;
    unsigned short *target = to + static_cast<long long>(row) * width;
    for (int c = lane(); c < width; c += WARP) target[c] = from[c];
  }
}
