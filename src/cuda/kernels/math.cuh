// Elementary functions as arithmetic that vectorizes on the host, where libm's do not: polynomials of least
// largest error (weighted least squares at Chebyshev's nodes), beside fast_exp of prelude.cuh. Where the
// host's compiler may not reorder a sum, it is written as fmaf. Infinities, NaN and denormals as in libm.
#pragma once
#include "prelude.cuh"

__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

constexpr float LN_2_HIGH = 6.923828125e-1f, LN_2_LOW = 7.643680600e-4f;  // n · LN_2_HIGH is exact

// ln(2^n (1 + f)) for √½ - 1 <= f <= √2 - 1.
__device__ __forceinline__ float log_of_parts(float n, float f) {
  float p = 6.746601313e-2f;
  p = p * f - 1.167564094e-1f;
  p = p * f + 1.188817471e-1f;
  p = p * f - 1.240559146e-1f;
  p = p * f + 1.421955079e-1f;
  p = p * f - 1.666799635e-1f;
  p = p * f + 2.000211924e-1f;
  p = p * f - 2.500000894e-1f;
  p = p * f + 3.333331347e-1f;
  float tail = f * f * fmaf(f, p, -0.5f);
  return fmaf(n, LN_2_HIGH, f + fmaf(n, LN_2_LOW, tail));
}

constexpr unsigned BITS_OF_ROOT_HALF = 0x3f3504f3u;

// The exponent n for which x = 2^n m with √½ <= m < √2, of a positive normal x by its bits.
__device__ __forceinline__ int exponent_around_one(unsigned bits) {
  return static_cast<int>(bits - BITS_OF_ROOT_HALF) >> 23;
}

// ln x within 2 ulp.
__device__ __forceinline__ float fast_log(float x) {
  bool tiny = x < 1.17549435e-38f;
  unsigned bits = __float_as_uint(tiny ? x * 16777216.0f : x);  // denormals, lifted by 24 places
  int n = exponent_around_one(bits);
  float m = __uint_as_float(bits - (static_cast<unsigned>(n) << 23));
  float result = log_of_parts(static_cast<float>(tiny ? n - 24 : n), m - 1.0f);
  result = x < infinity() ? result : x;
  return x > 0 ? result : x == 0 ? -infinity() : not_a_number();
}

// ln(1 + x) within 2 ulp, near 0 as well: 1 + x gives the exponent alone.
__device__ __forceinline__ float fast_log1p(float x) {
  float sum = 1.0f + x;
  unsigned bits = __float_as_uint(sum);
  int n = exponent_around_one(bits);
  float m = __uint_as_float(bits - (static_cast<unsigned>(n) << 23));
  int small = n < 26 ? n : 26;
  float scale = __uint_as_float(static_cast<unsigned>(127 - small) << 23);
  float f = n < 26 ? fmaf(x, scale, scale - 1.0f) : m - 1.0f;
  float result = log_of_parts(static_cast<float>(n), f);
  result = sum < infinity() ? result : sum;
  return sum > 0 ? result : sum == 0 ? -infinity() : not_a_number();
}

// e^x - 1 for -20 <= x <= 89: (e^r - 1) 2^n + (2^n - 1), by halves, as 2^128 is no float.
__device__ __forceinline__ float expm1_between(float x) {
  float n = rintf(x * 1.44269504f);
  float r = fmaf(n, -0.693145752f, x);
  r = fmaf(n, -1.42860677e-6f, r);
  float p = 1.984587579e-4f;
  p = p * r + 1.394061954e-3f;
  p = p * r + 8.333389647e-3f;
  p = p * r + 4.166636243e-2f;
  p = p * r + 1.666666567e-1f;
  p = p * r + 0.5f;
  p = fmaf(r * r, p, r);
  float half = __uint_as_float(static_cast<unsigned>(static_cast<int>(n) + 126) << 23);
  return 2.0f * fmaf(p, half, half - 0.5f);
}

// e^x - 1 within 3 ulp, near 0 as well.
__device__ __forceinline__ float fast_expm1(float x) {
  float clamped = x > -20.0f ? x : -20.0f;
  clamped = clamped < 89.0f ? clamped : 89.0f;
  float result = expm1_between(clamped);
  return x != x ? x : result;
}

// tanh x within 4 ulp: t / (t + 2) with t = e^2|x| - 1.
__device__ __forceinline__ float fast_tanh(float x) {
  float size = absolute(x);
  size = size < 10.0f ? size : 10.0f;
  float t = expm1_between(2.0f * size);
  float result = t / (t + 2.0f);
  result = x < 0 ? -result : result;
  return x != x ? x : result;
}

// 1 / (1 + e^-x) within 4 ulp.
__device__ __forceinline__ float sigmoid(float x) {
  float power = fast_exp(-absolute(x));
  return (x < 0 ? power : 1.0f) / (1.0f + power);
}

// erf x within 2 ulp: x + x p(x²) below 1, from there 1 - 2^p(x) with p near the logarithm of 1 - erf x.
__device__ __forceinline__ float fast_erf(float x) {
  float size = absolute(x);
  size = size < 4.0f ? size : 4.0f;
  float s = size * size;
  float p = 7.853857824e-5f;
  p = p * s - 8.010192541e-4f;
  p = p * s + 5.188327748e-3f;
  p = p * s - 2.685381100e-2f;
  p = p * s + 1.128358543e-1f;
  p = p * s - 3.761262596e-1f;
  p = p * s + 1.283791661e-1f;
  float inner = fmaf(size, p, size);
  float q = -3.130317541e-5f;
  q = q * size + 6.369119669e-4f;
  q = q * size - 6.066951357e-3f;
  q = q * size + 3.637085339e-2f;
  q = q * size - 1.564200590e-1f;
  q = q * size - 9.135381328e-1f;
  q = q * size - 1.629640011f;
  q = q * size + 2.719046759e-4f;
  float outer = 1.0f - exp2_nonpositive(q);
  float result = size < 1.0f ? inner : outer;
  result = x < 0 ? -result : result;
  return x != x ? x : result;
}

// sin and cos for |x| up to this, within 2 ulp and, near their zeros, 2^-24 of the distance to them. Beyond,
// subtracting multiples of π/2 wants more bits of it: see `periodic` in unary.cu.
constexpr float LARGEST_ANGLE = 65536.0f;

// sin(x + quarters · π/2).
__device__ __forceinline__ float sin_of_quarters(float x, int quarters) {
  float n = rintf(x * 6.36619772e-1f);
  float r = fmaf(n, -1.570796371f, x);
  r = fmaf(n, 4.371138829e-8f, r);
  r = fmaf(n, 1.715124510e-15f, r);
  float s = r * r;
  float sine = 2.718117685e-6f;
  sine = sine * s - 1.983931143e-4f;
  sine = sine * s + 8.333329111e-3f;
  sine = sine * s - 1.666666716e-1f;
  sine = fmaf(r * s, sine, r);
  float cosine = 2.443311860e-5f;
  cosine = cosine * s - 1.388731645e-3f;
  cosine = cosine * s + 4.166664556e-2f;
  cosine = fmaf(s * s, cosine, fmaf(s, -0.5f, 1.0f));
  int turn = static_cast<int>(n) + quarters;
  float result = turn & 1 ? cosine : sine;
  return turn & 2 ? -result : result;
}
