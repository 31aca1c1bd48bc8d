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

// y = F::value(a, b) over a piece of a row; without a pointer an operand is the same number everywhere.
template <class F, class Y, class A, class B, class V>
__device__ __forceinline__ void binary(Y *__restrict__ y, const A *__restrict__ a,
                                       const B *__restrict__ b, V number_a, V number_b,
                                       const layout<2> &over) {
  long long step_a = over.column[0], step_b = over.column[1];
  walk(over, [=](long long to, const long long *at, int count) {
    Y *__restrict__ row = y + to;
    const A *__restrict__ left = a + at[0];
    const B *__restrict__ right = b + at[1];
    V one_a = a ? number(left[0]) : number_a, one_b = b ? number(right[0]) : number_b;
    if (step_a == 1 && step_b == 1) {
      for (int c = lane(); c < count; c += WARP) {
        row[c] = stored<Y>::from(F::value(number(left[c]), number(right[c])));
      }
    } else if (step_a == 1 && step_b == 0) {
      for (int c = lane(); c < count; c += WARP) {
        row[c] = stored<Y>::from(F::value(number(left[c]), one_b));
      }
    } else if (step_a == 0 && step_b == 1) {
      for (int c = lane(); c < count; c += WARP) {
        row[c] = stored<Y>::from(F::value(one_a, number(right[c])));
      }
    } else {
      for (int c = lane(); c < count; c += WARP) {
        V value_a = step_a ? number(left[c * step_a]) : one_a;
        V value_b = step_b ? number(right[c * step_b]) : one_b;
        row[c] = stored<Y>::from(F::value(value_a, value_b));
      }
    }
  });
}
