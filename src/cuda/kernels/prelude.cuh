// What gives a kernel its lanes. On a GPU a warp has 32; the host driver compiles the same source with a
// warp of one, where every loop over lanes becomes a plain loop that the compiler vectorizes.
#pragma once

#ifdef OUTLIERSCOPE_WARP
constexpr int WARP = OUTLIERSCOPE_WARP;
#else
constexpr int WARP = 32;
#endif

// Columns that a warp takes at a time when it walks down a matrix: two a lane on a GPU, as many as keep
// a few cache lines busy on the host.
constexpr int TILE = WARP > 64 ? WARP : 64;

__device__ __forceinline__ int lane() { return WARP == 1 ? 0 : threadIdx.x % WARP; }
__device__ __forceinline__ int warps_in_block() { return blockDim.x / WARP; }
__device__ __forceinline__ int warp_id() {
  return blockIdx.x * warps_in_block() + threadIdx.x / WARP;
}
__device__ __forceinline__ int warp_count() { return gridDim.x * warps_in_block(); }

// A walk over n elements: a grid stride on a GPU, a contiguous chunk a block on the host.
//   for (long long i = span_begin(n); i < span_end(n); i += span_step())
__device__ __forceinline__ long long span_begin(long long n) {
  return WARP == 1 ? n * blockIdx.x / gridDim.x
                   : static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ long long span_end(long long n) {
  return WARP == 1 ? n * (blockIdx.x + 1) / gridDim.x : n;
}
__device__ __forceinline__ long long span_step() {
  return WARP == 1 ? 1 : static_cast<long long>(gridDim.x) * blockDim.x;
}

// The same over n rows, each of which has a whole warp: the warps in turn on a GPU.
template <class N>
__device__ __forceinline__ N row_begin(N n) {
  return static_cast<N>(WARP == 1 ? span_begin(n) : warp_id());
}
template <class N>
__device__ __forceinline__ N row_end(N n) {
  return static_cast<N>(WARP == 1 ? span_end(n) : n);
}
__device__ __forceinline__ int row_step() { return WARP == 1 ? 1 : warp_count(); }

#if !defined(OUTLIERSCOPE_WARP) || OUTLIERSCOPE_WARP > 1
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int offset = WARP / 2; offset; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  for (int offset = WARP / 2; offset; offset /= 2) {
    T other = __shfl_xor_sync(0xffffffffu, value, offset);
    value = other > value ? other : value;
  }
  return value;
}
// For counters in memory shared by a block; on the host a block is one thread.
__device__ __forceinline__ void block_add(unsigned *counter, unsigned value) {
  atomicAdd(counter, value);
}
template <class T>
__device__ __forceinline__ T *block_memory(T *shared) { return shared; }
#else
template <class T>
__device__ __forceinline__ T warp_sum(T value) { return value; }
template <class T>
__device__ __forceinline__ T warp_max(T value) { return value; }
__device__ __forceinline__ void block_add(unsigned *counter, unsigned value) { *counter += value; }
// The address of memory shared by a block, to use in a loop. On the host that is memory of a thread, whose
// address the compiler would otherwise call a function for, each time.
template <class T>
__device__ __forceinline__ T *block_memory(T *shared) {
  asm("" : "+r"(shared));
  return shared;
}
#endif

// bfloat16 as its bits: the upper half of a float, rounded to nearest even.
struct bfloat16 {
  unsigned short bits;
};

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bfloat16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) { return value; }
template <>
__device__ __forceinline__ bfloat16 from_float<bfloat16>(float value) {
  unsigned bits = __float_as_uint(value);
  unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  // Rounding could carry a NaN's bits into infinity; a quiet NaN keeps its sign.
  unsigned quiet = (bits >> 16) | 0x40u;
  bfloat16 result;
  result.bits = static_cast<unsigned short>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  return result;
}

// The same for a result of arithmetic that is not negative, or NaN: half of the work.
template <class T>
__device__ __forceinline__ T from_nonnegative(float value) { return from_float<T>(value); }
template <>
__device__ __forceinline__ bfloat16 from_nonnegative<bfloat16>(float value) {
  unsigned bits = __float_as_uint(value);
  bits = bits < 0x7fc00000u ? bits : 0x7fc00000u;  // NaN, which arithmetic makes quiet
  bfloat16 result;
  result.bits = static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  return result;
}

// NVRTC has no <cmath>, and so no INFINITY.
__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

__device__ __forceinline__ float absolute(float value) {
  return __uint_as_float(__float_as_uint(value) & 0x7fffffffu);
}

// Equality as maxima see it, to which NaN is a value.
__device__ __forceinline__ bool same(float a, float b) { return (a == b) | ((a != a) & (b != b)); }

// The bits of |x|, which order as its values do.
__device__ __forceinline__ unsigned magnitude(float value) {
  return __float_as_uint(value) & 0x7fffffffu;
}

// e^x for x of any size, within 2 ulp, as arithmetic that vectorizes (libm's expf does not): x = n ln 2 +
// r, a polynomial in r, and n added to the bits of its exponent. Where the result may be denormal, n is
// lifted by 64 first and the result lowered by one product; a product of two powers of two would not do,
// as the host's compiler may multiply those first. Underflows to 0, overflows to infinity, keeps NaN.
__device__ __forceinline__ float fast_exp(float x) {
  float clamped = x > -104.0f ? x : -104.0f;  // of NaN too, which has no integer part
  clamped = clamped < 89.0f ? clamped : 89.0f;
  float scaled = clamped * 1.44269504f;
  float n = rintf(scaled);
  // ln 2 in two parts. As fmaf, which the host's compiler does not reorder: it would add the parts.
  float r = fmaf(n, -0.693145752f, clamped);
  r = fmaf(n, -1.42860677e-6f, r);
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  int lift = n < 0 ? 64 : 0;
  int bits = static_cast<int>(__float_as_uint(p)) + (static_cast<int>(n) + lift) * (1 << 23);
  bits = bits > 0x7f800000 ? 0x7f800000 : bits;
  float result = __uint_as_float(static_cast<unsigned>(bits)) * (n < 0 ? 5.42101086e-20f : 1.0f);
  return x != x ? x : result;
}

// 2^x for x <= 0, within 2 ulp down to 2^-126, less than that below, 0 from x = -127 on; keeps NaN. Half of
// fast_exp's work, for loops that take one exponential after the other: x = n + r, a polynomial in r
// (least squares of its relative error at Chebyshev's nodes) and n added to the bits of its exponent.
__device__ __forceinline__ float exp2_nonpositive(float x) {
  x = x < -127.0f ? -127.0f : x;
  float n = rintf(x);
  float r = x - n;
  float p = 1.53533620e-4f;
  p = p * r + 1.33988750e-3f;
  p = p * r + 9.61843692e-3f;
  p = p * r + 5.55033237e-2f;
  p = p * r + 2.40226477e-1f;
  p = p * r + 6.93147182e-1f;
  p = p * r + 1.0f;
  unsigned exponent = static_cast<unsigned>(static_cast<int>(n)) << 23;
  return __uint_as_float(__float_as_uint(p) + exponent);
}

// Copies `count` numbers that a warp walks. On the host by the C library: a loop over a few numbers costs more to
// begin than to do.
template <class T>
__device__ __forceinline__ void copy_row(T *__restrict__ to, const T *__restrict__ from, int count) {
  if (WARP == 1) {
    memcpy(to, from, count * sizeof(T));
  } else {
    for (int i = lane(); i < count; i += WARP) to[i] = from[i];
  }
}

// The largest of `count` numbers that a warp walks, NaN left out; -infinity if there is none. On the host
// as many maxima at a time as a loop without a carried dependency needs.
template <class T>
__device__ __forceinline__ float row_max(const T *from, int count) {
  constexpr int AT_ONCE = WARP == 1 ? 64 : 1;
  float partial[AT_ONCE];
  for (int t = 0; t < AT_ONCE; t++) partial[t] = -infinity();
  int j = lane();
  for (; j + AT_ONCE <= count; j += WARP * AT_ONCE) {
    for (int t = 0; t < AT_ONCE; t++) {
      float value = to_float(from[j + t]);
      partial[t] = value > partial[t] ? value : partial[t];
    }
  }
  if (WARP == 1) {
    for (int t = 0; t < AT_ONCE; t++) {  // one pass of vectors with masks, not one number after the other
      float value = j + t < count ? to_float(from[j + t]) : -infinity();
      partial[t] = value > partial[t] ? value : partial[t];
    }
  }
  for (int half = AT_ONCE / 2; half >= 1; half /= 2) {  // in halves: one after the other waits for each
    for (int t = 0; t < half; t++) {
      partial[t] = partial[t + half] > partial[t] ? partial[t + half] : partial[t];
    }
  }
  return warp_max(partial[0]);
}
