// Functions of one number and their derivatives. `value` is y = f(x); `backward` is g · f'(x), given x, or y
// where that is the cheaper to have. Where f' is 0 by a comparison, so is
// the product, whatever g is.
#pragma once
#include "math.cuh"

#define FUNCTION(name, of_value, of_backward)                                    \
  struct f_##name {                                                              \
    __device__ __forceinline__ static float value(float x) { return of_value; }  \
    __device__ __forceinline__ static float backward(float g, float s) {         \
      return of_backward;                                                        \
    }                                                                            \
  };

__device__ __forceinline__ float sign_of(float x) {
  return (x > 0 ? 1.0f : 0.0f) - (x < 0 ? 1.0f : 0.0f);
}

constexpr float ROOT_HALF = 0.707106781f, ROOT_HALF_PI_INVERSE = 0.398942280f;  // √½, 1/√(2π)
constexpr float TWICE_ROOT = 1.59576912f, CUBIC = 0.044715f;                    // 2 √(2/π)

// The share of x in gelu(x): (1 + erf(x/√2)) / 2.
__device__ __forceinline__ float normal_share(float x) {
  return 0.5f + 0.5f * fast_erf(x * ROOT_HALF);
}
__device__ __forceinline__ float gelu_slope(float x) {
  float density = ROOT_HALF_PI_INVERSE * exp2_nonpositive(-0.5f * x * x * 1.44269504f);
  return normal_share(x) + x * density;
}

// σ(x) = 1 / (1 + e^-x) and its derivative σ(1 - σ), by an exponential that is quicker than sigmoid's, and
// whose error grows with x as that of a rounded argument does: for products with something as large as x.
struct logistic {
  float share, slope;

  __device__ __forceinline__ explicit logistic(float x) {
    float power = exp2_nonpositive(-absolute(x) * 1.44269504f), inverse = 1.0f / (1.0f + power);
    share = (x < 0 ? power : 1.0f) * inverse;
    slope = power * inverse * inverse;
  }
};

__device__ __forceinline__ float silu_slope(float x) {
  logistic at(x);
  return at.share + x * at.slope;
}

// gelu's approximation x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 is x σ(z), z being twice tanh's argument.
__device__ __forceinline__ float gelu_argument(float x) {
  return TWICE_ROOT * x * (1.0f + CUBIC * x * x);
}
__device__ __forceinline__ float gelu_tanh_slope(float x) {
  logistic at(gelu_argument(x));
  return at.share + x * at.slope * TWICE_ROOT * (1.0f + 3.0f * CUBIC * x * x);
}

__device__ __forceinline__ float softplus_of(float x) {
  return (x > 0 ? x : 0.0f) + fast_log1p(fast_exp(-absolute(x)));
}

// Given x.
FUNCTION(abs, absolute(x), g *sign_of(s))
FUNCTION(square, x *x, 2.0f * g * s)
FUNCTION(log, fast_log(x), g / s)
FUNCTION(log1p, fast_log1p(x), g / (1.0f + s))
FUNCTION(erf, fast_erf(x), g * 1.12837917f * fast_exp(-s * s))
FUNCTION(silu, x *logistic(x).share, g *silu_slope(s))
FUNCTION(gelu, x *normal_share(x), g *gelu_slope(s))
FUNCTION(gelu_tanh, x *logistic(gelu_argument(x)).share, g *gelu_tanh_slope(s))
FUNCTION(softplus, x != x ? x : softplus_of(x), g *sigmoid(s))
FUNCTION(relu, x < 0 ? 0.0f : x, s <= 0 ? 0.0f : g)  // given y, it is the same

// Given y.
FUNCTION(exp, fast_exp(x), g *s)
FUNCTION(expm1, fast_expm1(x), g *(1.0f + s))
FUNCTION(sqrt, sqrtf(x), 0.5f * g / s)
FUNCTION(rsqrt, 1.0f / sqrtf(x), -0.5f * g * s * s * s)
FUNCTION(reciprocal, 1.0f / x, -g * s * s)
FUNCTION(tanh, fast_tanh(x), g *(1.0f - s * s))
FUNCTION(sigmoid, sigmoid(x), g *s *(1.0f - s))
