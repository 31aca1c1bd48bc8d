// Where a value is first found along the middle axis of x [outer, reduced, inner]: with a maximum, argmax.
// `index` [outer, inner] holds numbers larger than any index before; several warps may search for one of
// its values, of which the smallest counts, whatever their order.
#include "prelude.cuh"

// index [rows], x [rows, columns], value [rows].
template <class T>
__device__ void find_in_rows(int *__restrict__ index, const T *__restrict__ x,
                             const float *__restrict__ value, int rows, int columns, int parts) {
  constexpr int AT_ONCE = WARP == 1 ? 64 : 1;
  long long items = static_cast<long long>(rows) * parts;
  for (long long item = row_begin(items); item < row_end(items); item += row_step()) {
    long long row = item / parts, part = item % parts;
    int j = static_cast<int>(columns * part / parts) + lane();
    int end = static_cast<int>(columns * (part + 1) / parts);
    const T *from = x + row * columns;
    float wanted = value[row];
    for (; j + AT_ONCE <= end; j += WARP * AT_ONCE) {
      int found = 0;
      for (int t = 0; t < AT_ONCE; t++) found |= same(to_float(from[j + t]), wanted);
      if (found) break;
    }
    while (j < end && !same(to_float(from[j]), wanted)) j += WARP;
    if (j < end) atomicMin(index + row, j);
  }
}

// The same in columns: index [outer, inner], x [outer, reduced, inner], value [outer, inner].
template <class T>
__device__ void find_in_columns(int *__restrict__ index, const T *__restrict__ x,
                                const float *__restrict__ value, int outer, int reduced,
                                long long inner, int parts) {
  constexpr int EACH = WARP == 1 ? 512 : 2;  // columns a lane; on the host a few KB of each row
  long long tiles = (inner + EACH * WARP - 1) / (EACH * WARP), items = outer * parts * tiles;
  for (long long item = row_begin(items); item < row_end(items); item += row_step()) {
    long long first = item % tiles * EACH * WARP, piece = item / tiles;
    long long o = piece / parts, part = piece % parts;
    int begin = static_cast<int>(reduced * part / parts);
    int end = static_cast<int>(reduced * (part + 1) / parts);
    int width = static_cast<int>(inner - first < EACH * WARP ? inner - first : EACH * WARP);
    int each = WARP == 1 ? width : EACH;  // a constant where there are registers for it
    float wanted[EACH];
    int found[EACH];
    for (int t = 0; t < each; t++) {
      int c = t * WARP + lane();
      wanted[t] = c < width ? value[o * inner + first + c] : 0.0f;
      found[t] = reduced;
    }
    for (int r = end - 1; r >= begin; r--) {
      const T *from = x + (o * reduced + r) * inner + first;
      for (int t = 0; t < each; t++) {
        int c = t * WARP + lane();
        if (c < width) found[t] = same(to_float(from[c]), wanted[t]) ? r : found[t];
      }
    }
    for (int t = 0; t < each; t++) {
      int c = t * WARP + lane();
      if (c < width && found[t] < reduced) atomicMin(index + o * inner + first + c, found[t]);
    }
  }
}

#define FIND(TYPE, T)                                                                             \
  extern "C" __global__ void find_rows_##TYPE(int *index, const T *x, const float *value,         \
                                              int rows, int columns, int parts) {                 \
    find_in_rows(index, x, value, rows, columns, parts);                                          \
  }                                                                                               \
  extern "C" __global__ void find_columns_##TYPE(int *index, const T *x, const float *value,      \
                                                 int outer, int reduced, long long inner,         \
                                                 int parts) {                                     \
    find_in_columns(index, x, value, outer, reduced, inner, parts);                               \
  }
FIND(float32, float)
FIND(bfloat16, bfloat16)
