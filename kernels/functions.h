// Scalar functions of tensor operations and their derivatives, written so that loops over them become vectors: no
// branches, no calls. Included by tensor_isa.cpp only. Not-a-number passes through each of them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace edgecl {
namespace {

#define EDGECL_F static inline __attribute__((always_inline)) float

EDGECL_F bits_to_float(int32_t i) {
  float f;
  std::memcpy(&f, &i, 4);
  return f;
}
static inline __attribute__((always_inline)) int32_t float_to_bits(float f) {
  int32_t i;
  std::memcpy(&i, &f, 4);
  return i;
}

// Nearest integer, ties to even, for |x| < 2^22: what adding and taking away 1.5 * 2^23 leaves.
EDGECL_F nearest(float x) {
  const float magic = 12582912.f;
  return (x + magic) - magic;
}

// e^x: 2^k * e^r with |r| <= ln(2) / 2, a polynomial of degree 6. 1e-7 of the value.
EDGECL_F exp_f(float x) {
  const float low = x < -87.f ? -87.f : x, clamped = low > 88.f ? 88.f : low;
  const float k = nearest(clamped * 1.44269504f);
  const float r = (clamped - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  const float y = p * bits_to_float((int32_t)((uint32_t)((int32_t)k + 127) << 23));
  const float small = x < -87.f ? 0.f : y;
  return x > 88.f ? (x > 88.72f ? INFINITY : y * (1.f + (x - 88.f) * (1.f + 0.5f * (x - 88.f)))) : small;
}

// ln(x): exponent and mantissa in [sqrt(1/2), sqrt(2)), a polynomial of degree 9.
EDGECL_F log_f(float x) {
  const int32_t i = float_to_bits(x < 1.17549435e-38f ? 1.f : x);
  const int32_t shifted = i - 0x3f3504f3; // sqrt(1/2)
  const float e = (float)(shifted >> 23);
  const float m = bits_to_float((shifted & 0x7fffff) + 0x3f3504f3) - 1.f, z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float y = p * m * z - e * 2.12194440e-4f - 0.5f * z;
  y = m + y + e * 0.693359375f;
  const float at_edge = x < 1.17549435e-38f ? (x < 0.f ? NAN : -INFINITY) : y;
  return x > 3.4028234e38f ? x : (x == x ? at_edge : x);
}

EDGECL_F abs_f(float x) { return x < 0.f ? -x : x; }
EDGECL_F sigmoid_f(float x) {
  const float e = exp_f(-abs_f(x)), s = 1.f / (1.f + e);
  return x < 0.f ? e * s : s;
}
EDGECL_F tanh_f(float x) {
  const float z = x * x, a = abs_f(x);
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float near = p * z * x + x, far = 1.f - 2.f / (exp_f(2.f * a) + 1.f);
  return a < 0.625f ? near : (x < 0.f ? -far : far);
}
// ln(1 + e^x).
EDGECL_F softplus_f(float x) {
  const float e = exp_f(-abs_f(x));
  // Two terms of the series where 1 + e loses e's digits.
  const float l = e < 1e-4f ? e - 0.5f * e * e : log_f(1.f + e);
  return (x > 0.f ? x : (x == x ? 0.f : x)) + l;
}
// Below 1 an odd polynomial, above 1 - t * q(t) * e^-x^2 with t = 1 / (1 + x / 2) (the form of Abramowitz and Stegun
// 7.1.26); both fitted to the least largest error, 1.2e-9 and 1.3e-7 of the value, so that rounding is what is left.
EDGECL_F erf_f(float x) {
  const float a = abs_f(x), z = x * x;
  float s = 7.853788312e-5f;
  s = s * z - 8.010173560e-4f;
  s = s * z + 5.188325637e-3f;
  s = s * z - 2.685381098e-2f;
  s = s * z + 1.128358513e-1f;
  s = s * z - 3.761262582e-1f;
  // 2 / sqrt(pi) - 1, so that x itself is added exactly.
  const float near = x + x * (s * z + 1.2837916710e-1f);
  const float t = 1.f / (1.f + 0.5f * a);
  float p = -1.011801150e-1f;
  p = p * t + 8.497724452e-2f;
  p = p * t + 2.287419612e-1f;
  p = p * t + 2.147970582e-1f;
  p = p * t + 2.899372829e-1f;
  p = p * t + 2.813815702e-1f;
  const float y = 1.f - p * t * exp_f(-z), far = x < 0.f ? -y : y;
  return a < 1.f ? near : far;
}

struct Constants {
  float alpha, beta;
};

// ---- one input: f(x), and d(g, v) = g * f'. v is the output where FROM_OUTPUT, else the input.
#define EDGECL_UNARY(NAME, F, D)                                                                                       \
  struct NAME {                                                                                                        \
    EDGECL_F f(float x, Constants c) {                                                                                 \
      (void)c;                                                                                                         \
      return F;                                                                                                        \
    }                                                                                                                  \
    EDGECL_F d(float g, float v, Constants c) {                                                                        \
      (void)c;                                                                                                         \
      (void)v, (void)g;                                                                                                \
      return D;                                                                                                        \
    }                                                                                                                  \
  };

constexpr float SQRT_HALF = 0.70710678f, PDF = 0.39894228f, GELU_A = 0.79788456f, GELU_B = 0.044715f;

EDGECL_F gelu_tanh_inner(float x) { return GELU_A * (x + GELU_B * x * x * x); }
EDGECL_F gelu_tanh_slope(float x) {
  const float t = tanh_f(gelu_tanh_inner(x));
  return 0.5f * (1.f + t) + 0.5f * x * (1.f - t * t) * GELU_A * (1.f + 3.f * GELU_B * x * x);
}
EDGECL_F silu_slope(float x, float a) {
  const float s = sigmoid_f(a * x);
  return s * (1.f + a * x * (1.f - s));
}
EDGECL_F mish_slope(float x) {
  const float t = tanh_f(softplus_f(x));
  return t + x * sigmoid_f(x) * (1.f - t * t);
}

EDGECL_UNARY(Identity, x, g)
EDGECL_UNARY(Neg, -x, -g)
EDGECL_UNARY(Abs, abs_f(x), v > 0.f ? g : (v < 0.f ? -g : 0.f))
EDGECL_UNARY(Square, x *x, 2.f * g * v)
EDGECL_UNARY(Sqrt, std::sqrt(x), 0.5f * g / v)
EDGECL_UNARY(Exp, exp_f(x), g *v)
EDGECL_UNARY(Log, log_f(x), g / v)
EDGECL_UNARY(Reciprocal, 1.f / x, -g *v *v)
EDGECL_UNARY(Floor, std::floor(x), 0.f)
EDGECL_UNARY(Ceil, std::ceil(x), 0.f)
EDGECL_UNARY(Round, std::nearbyint(x), 0.f)
EDGECL_UNARY(Sign, x > 0.f ? 1.f : (x < 0.f ? -1.f : x), 0.f)
EDGECL_UNARY(Sin, std::sin(x), g *std::cos(v))
EDGECL_UNARY(Cos, std::cos(x), -g *std::sin(v))
EDGECL_UNARY(Erf, erf_f(x), g * 1.1283791671f * exp_f(-v * v))
EDGECL_UNARY(Not, x == 0.f ? 1.f : 0.f, 0.f)
EDGECL_UNARY(Linear, c.alpha *x + c.beta, c.alpha *g)
EDGECL_UNARY(Power, std::pow(x, c.alpha), c.alpha == 0.f ? 0.f : g * c.alpha * std::pow(v, c.alpha - 1.f))
EDGECL_UNARY(Relu, x < 0.f ? 0.f : x, v > 0.f ? g : 0.f)
EDGECL_UNARY(Clip, x < c.alpha ? (c.alpha > c.beta ? c.beta : c.alpha) : (x > c.beta ? c.beta : x),
             v > c.alpha && v < c.beta ? g : 0.f)
EDGECL_UNARY(LeakyRelu, x < 0.f ? c.alpha * x : x, v > 0.f ? g : c.alpha *g)
EDGECL_UNARY(ThresholdedRelu, x > c.alpha ? x : (x == x ? 0.f : x), v > c.alpha ? g : 0.f)
EDGECL_UNARY(Elu, x > 0.f ? x : c.alpha * (exp_f(x) - 1.f), v > 0.f ? g : g *c.alpha *exp_f(v))
EDGECL_UNARY(Selu, x > 0.f ? c.beta * x : c.beta * c.alpha * (exp_f(x) - 1.f),
             v > 0.f ? c.beta * g : g * c.beta * c.alpha * exp_f(v))
EDGECL_UNARY(Celu, x > 0.f ? x : c.alpha * (exp_f(x / c.alpha) - 1.f), v > 0.f ? g : g *exp_f(v / c.alpha))
EDGECL_UNARY(Sigmoid, sigmoid_f(x), g *v *(1.f - v))
EDGECL_UNARY(HardSigmoid,
             c.alpha *x + c.beta < 0.f ? 0.f : (c.alpha * x + c.beta > 1.f ? 1.f : c.alpha * x + c.beta),
             v > 0.f && v < 1.f ? c.alpha *g : 0.f)
EDGECL_UNARY(HardSwish, x <= -3.f ? 0.f : (x >= 3.f ? x : x * (x + 3.f) * (1.f / 6.f)),
             v <= -3.f ? 0.f : (v >= 3.f ? g : g * (v * (1.f / 3.f) + 0.5f)))
EDGECL_UNARY(Silu, x *sigmoid_f(c.alpha *x), g *silu_slope(v, c.alpha))
EDGECL_UNARY(Mish, x *tanh_f(softplus_f(x)), g *mish_slope(v))
EDGECL_UNARY(Gelu, 0.5f * x * (1.f + erf_f(x * SQRT_HALF)),
             g *(0.5f * (1.f + erf_f(v * SQRT_HALF)) + v * PDF * exp_f(-0.5f * v * v)))
EDGECL_UNARY(GeluTanh, 0.5f * x * (1.f + tanh_f(gelu_tanh_inner(x))), g *gelu_tanh_slope(v))
EDGECL_UNARY(Tanh, tanh_f(x), g *(1.f - v * v))
EDGECL_UNARY(Softplus, softplus_f(x), g *sigmoid_f(v))
EDGECL_UNARY(Softsign, x / (1.f + abs_f(x)), g / ((1.f + abs_f(v)) * (1.f + abs_f(v))))

// ---- several inputs: f(a, b, c, d). Names D_X_K are g * the derivative of X by input K.
#define EDGECL_NARY(NAME, F)                                                                                           \
  struct NAME {                                                                                                        \
    EDGECL_F f(float a, float b, float c, float d) {                                                                   \
      (void)a, (void)b, (void)c, (void)d;                                                                              \
      return F;                                                                                                        \
    }                                                                                                                  \
  };

EDGECL_NARY(Add, a + b)
EDGECL_NARY(Sub, a - b)
EDGECL_NARY(Mul, a *b)
EDGECL_NARY(Div, a / b)
EDGECL_NARY(Pow, std::pow(a, b))
EDGECL_NARY(Minimum, b < a ? b : (a == a ? (b == b ? a : b) : a))
EDGECL_NARY(Maximum, b > a ? b : (a == a ? (b == b ? a : b) : a))
EDGECL_NARY(FloorMod, a - b * std::floor(a / b))
EDGECL_NARY(TruncMod, std::fmod(a, b))
EDGECL_NARY(Less, a < b ? 1.f : 0.f)
EDGECL_NARY(LessEqual, a <= b ? 1.f : 0.f)
EDGECL_NARY(Greater, a > b ? 1.f : 0.f)
EDGECL_NARY(GreaterEqual, a >= b ? 1.f : 0.f)
EDGECL_NARY(Equal, a == b ? 1.f : 0.f)
EDGECL_NARY(And, a != 0.f && b != 0.f ? 1.f : 0.f)
EDGECL_NARY(Or, a != 0.f || b != 0.f ? 1.f : 0.f)
EDGECL_NARY(Xor, (a != 0.f) != (b != 0.f) ? 1.f : 0.f)
EDGECL_NARY(Prelu, a < 0.f ? a * b : a)
EDGECL_NARY(Where, a != 0.f ? b : c)
// a is the gradient, then the inputs of the function.
EDGECL_NARY(DDivB, -a *b / (c * c))
EDGECL_NARY(DPowA, c == 0.f ? 0.f : a * c * std::pow(b, c - 1.f))
EDGECL_NARY(DPowB, b > 0.f ? a * std::pow(b, c) * std::log(b) : 0.f)
EDGECL_NARY(DMinimum, b < c ? a : (b == c ? 0.5f * a : 0.f))
EDGECL_NARY(DMaximum, b > c ? a : (b == c ? 0.5f * a : 0.f))
EDGECL_NARY(DPreluA, b > 0.f ? a : a *c)
EDGECL_NARY(DPreluB, b > 0.f ? 0.f : a *b)
EDGECL_NARY(DWhereB, b != 0.f ? a : 0.f)
EDGECL_NARY(DWhereC, b != 0.f ? 0.f : a)

#undef EDGECL_UNARY
#undef EDGECL_NARY

} // namespace
} // namespace edgecl
