// A walk over elementwise operations whose result lies together and whose operands need not: row by row, in
// pieces, a warp after the other. Strides count elements; 0 repeats one element along the axis.
#pragma once
#include "prelude.cuh"

constexpr int OUTER = 5;                       // axes around a row
constexpr int PIECE = WARP == 1 ? 4096 : 256;  // columns that a warp takes at a time

template <int OPERANDS>
struct layout {
  long long rows, columns;
  int extent[OUTER];
  long long column[OPERANDS];         // strides along a row
  long long stride[OPERANDS][OUTER];  // strides of the axes around it
};

// Calls body(first element of the piece in the result, its offsets in the operands, its length).
template <int OPERANDS, class Body>
__device__ __forceinline__ void walk(const layout<OPERANDS> &over, Body body) {
  long long pieces = (over.columns + PIECE - 1) / PIECE, items = over.rows * pieces;
  long long item = items * warp_id() / warp_count(), end = items * (warp_id() + 1) / warp_count();
  if (item >= end) return;
  long long row = item / pieces, piece = item % pieces, rest = row;
  int index[OUTER];
  long long offset[OPERANDS] = {};
  for (int axis = OUTER - 1; axis >= 0; axis--) {
    index[axis] = static_cast<int>(rest % over.extent[axis]);
    rest /= over.extent[axis];
    for (int k = 0; k < OPERANDS; k++) offset[k] += index[axis] * over.stride[k][axis];
  }
  for (; item < end; item++) {
    long long first = piece * PIECE, left = over.columns - first;
    long long at[OPERANDS];
    for (int k = 0; k < OPERANDS; k++) at[k] = offset[k] + first * over.column[k];
    body(row * over.columns + first, at, static_cast<int>(left < PIECE ? left : PIECE));
    if (++piece < pieces) continue;
    piece = 0;
    row++;
    for (int axis = OUTER - 1; axis >= 0; axis--) {
      for (int k = 0; k < OPERANDS; k++) offset[k] += over.stride[k][axis];
      if (++index[axis] < over.extent[axis]) break;
      index[axis] = 0;
      for (int k = 0; k < OPERANDS; k++) offset[k] -= over.extent[axis] * over.stride[k][axis];
    }
  }
}

// Values as arithmetic has them: bfloat16 as float, whole numbers as they are.
__device__ __forceinline__ float number(float value) { return value; }
__device__ __forceinline__ float number(bfloat16 value) { return to_float(value); }
__device__ __forceinline__ int number(int value) { return value; }
__device__ __forceinline__ int number(unsigned char value) { return value; }

template <class T>
struct stored {
  __device__ __forceinline__ static T from(float value) { return from_float<T>(value); }
};
template <>
struct stored<int> {
  __device__ __forceinline__ static int from(int value) { return value; }
};
template <>
struct stored<unsigned char> {
  __device__ __forceinline__ static unsigned char from(int value) { return value; }
};

// One row whose operands step by 1, or by 0 and are the number given: loops that the host's compiler vectorizes. On a
// GPU, where lanes step by any stride alike, they would only take long to compile.
template <class F, bool STEP_A, bool STEP_B, class Y, class A, class B, class V>
__device__ __forceinline__ void binary_row(Y *__restrict__ y, const A *__restrict__ a,
                                           const B *__restrict__ b, V one_a, V one_b, int count) {
  for (int i = lane(); i < count; i += WARP) {
    V value_a = STEP_A ? number(a[i]) : one_a, value_b = STEP_B ? number(b[i]) : one_b;
    y[i] = stored<Y>::from(F::value(value_a, value_b));
  }
}

// y = F::value(a, b); without a pointer an operand is the same number everywhere.
template <class F, class Y, class A, class B, class V>
__device__ __forceinline__ void binary(Y *y, const A *a, const B *b, V number_a, V number_b,
                                       const layout<2> &over) {
  long long step_a = over.column[0], step_b = over.column[1];
  walk(over, [=](long long to, const long long *at, int count) {
    Y *row = y + to;
    const A *from_a = a + at[0];
    const B *from_b = b + at[1];
    V one_a = a ? number(from_a[0]) : number_a, one_b = b ? number(from_b[0]) : number_b;
    if (WARP == 1 && step_a == 1 && step_b == 1) {
      binary_row<F, true, true>(row, from_a, from_b, one_a, one_b, count);
    } else if (WARP == 1 && step_a == 1 && step_b == 0) {
      binary_row<F, true, false>(row, from_a, from_b, one_a, one_b, count);
    } else if (WARP == 1 && step_a == 0 && step_b == 1) {
      binary_row<F, false, true>(row, from_a, from_b, one_a, one_b, count);
    } else {
      for (int i = lane(); i < count; i += WARP) {
        if (WARP == 1) asm volatile("");  // vectors would be no faster here, and take long to compile
        V value_a = step_a ? number(from_a[i * step_a]) : one_a;
        V value_b = step_b ? number(from_b[i * step_b]) : one_b;
        row[i] = stored<Y>::from(F::value(value_a, value_b));
      }
    }
  });
}

// The same of three operands. The first has a pointer, and steps by 1 where any does.
template <class F, bool STEP_B, bool STEP_C, class Y, class A, class B, class V>
__device__ __forceinline__ void ternary_row(Y *__restrict__ y, const A *__restrict__ a,
                                            const B *__restrict__ b, const B *__restrict__ c,
                                            V one_b, V one_c, int count) {
  for (int i = lane(); i < count; i += WARP) {
    V value_b = STEP_B ? number(b[i]) : one_b, value_c = STEP_C ? number(c[i]) : one_c;
    y[i] = stored<Y>::from(F::value(number(a[i]), value_b, value_c));
  }
}

template <class F, class Y, class A, class B, class V>
__device__ __forceinline__ void ternary(Y *y, const A *a, const B *b, const B *c, V number_b,
                                        V number_c, const layout<3> &over) {
  long long step_a = over.column[0], step_b = over.column[1], step_c = over.column[2];
  walk(over, [=](long long to, const long long *at, int count) {
    Y *row = y + to;
    const A *from_a = a + at[0];
    const B *from_b = b + at[1], *from_c = c + at[2];
    V one_b = b ? number(from_b[0]) : number_b, one_c = c ? number(from_c[0]) : number_c;
    if (WARP == 1 && step_a == 1 && step_b == 1 && step_c == 1) {
      ternary_row<F, true, true>(row, from_a, from_b, from_c, one_b, one_c, count);
    } else if (WARP == 1 && step_a == 1 && step_b == 1 && step_c == 0) {
      ternary_row<F, true, false>(row, from_a, from_b, from_c, one_b, one_c, count);
    } else if (WARP == 1 && step_a == 1 && step_b == 0 && step_c == 1) {
      ternary_row<F, false, true>(row, from_a, from_b, from_c, one_b, one_c, count);
    } else {
      for (int i = lane(); i < count; i += WARP) {
        if (WARP == 1) asm volatile("");  // as above
        V value_b = step_b ? number(from_b[i * step_b]) : one_b;
        V value_c = step_c ? number(from_c[i * step_c]) : one_c;
        row[i] = stored<Y>::from(F::value(number(from_a[i * step_a]), value_b, value_c));
      }
    }
  });
}
