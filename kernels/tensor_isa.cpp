// The kernels of tensor.h. Compiled once per instruction set with EDGECL_ISA naming it.
#include "tensor.h"

#include <algorithm>

#include "functions.h"
#include "recurrent.h"
#include "vec.h"

#define EDGECL_CONCAT2(a, b) a##b
#define EDGECL_CONCAT(a, b) EDGECL_CONCAT2(a, b)

namespace edgecl {
namespace {

typedef void (*Flat)(const float *const *in, float *out, int n, float alpha, float beta);

template <class F> void flat_unary(const float *const *in, float *out, int n, float alpha, float beta) {
  const float *x = in[0];
  const Constants c{alpha, beta};
  for (int i = 0; i < n; i++) out[i] = F::f(x[i], c);
}
template <class F> void flat_derivative(const float *const *in, float *out, int n, float alpha, float beta) {
  const float *g = in[0], *v = in[1];
  const Constants c{alpha, beta};
  for (int i = 0; i < n; i++) out[i] = F::d(g[i], v[i], c);
}
template <class F> void flat_binary(const float *const *in, float *out, int n, float, float) {
  const float *a = in[0], *b = in[1];
  for (int i = 0; i < n; i++) out[i] = F::f(a[i], b[i], 0.f, 0.f);
}
template <class F> void flat_ternary(const float *const *in, float *out, int n, float, float) {
  const float *a = in[0], *b = in[1], *c = in[2];
  for (int i = 0; i < n; i++) out[i] = F::f(a[i], b[i], c[i], 0.f);
}

struct Entry {
  Flat run = nullptr;
  int inputs = 0;
};

struct Functions {
  Entry entries[(int)Function::COUNT];
  template <class F> void unary(Function f, Function d) {
    entries[(int)f] = {flat_unary<F>, 1};
    entries[(int)d] = {flat_derivative<F>, 2};
  }
  template <class F> void binary(Function f) { entries[(int)f] = {flat_binary<F>, 2}; }
  template <class F> void ternary(Function f) { entries[(int)f] = {flat_ternary<F>, 3}; }
  Functions() {
    typedef Function N;
    unary<Identity>(N::identity, N::d_identity);
    unary<Neg>(N::neg, N::d_neg);
    unary<Abs>(N::abs, N::d_abs);
    unary<Square>(N::square, N::d_square);
    unary<Sqrt>(N::sqrt, N::d_sqrt);
    unary<Exp>(N::exp, N::d_exp);
    unary<Log>(N::log, N::d_log);
    unary<Reciprocal>(N::reciprocal, N::d_reciprocal);
    unary<Floor>(N::floor, N::d_floor);
    unary<Ceil>(N::ceil, N::d_ceil);
    unary<Round>(N::round, N::d_round);
    unary<Sign>(N::sign, N::d_sign);
    unary<Sin>(N::sin, N::d_sin);
    unary<Cos>(N::cos, N::d_cos);
    unary<Erf>(N::erf, N::d_erf);
    unary<Not>(N::logical_not, N::d_logical_not);
    unary<Linear>(N::scale_shift, N::d_scale_shift);
    unary<Power>(N::power, N::d_power);
    unary<Relu>(N::relu, N::d_relu);
    unary<Clip>(N::clip, N::d_clip);
    unary<LeakyRelu>(N::leaky_relu, N::d_leaky_relu);
    unary<ThresholdedRelu>(N::thresholded_relu, N::d_thresholded_relu);
    unary<Elu>(N::elu, N::d_elu);
    unary<Selu>(N::selu, N::d_selu);
    unary<Celu>(N::celu, N::d_celu);
    unary<Sigmoid>(N::sigmoid, N::d_sigmoid);
    unary<HardSigmoid>(N::hard_sigmoid, N::d_hard_sigmoid);
    unary<HardSwish>(N::hard_swish, N::d_hard_swish);
    unary<Silu>(N::silu, N::d_silu);
    unary<Mish>(N::mish, N::d_mish);
    unary<Gelu>(N::gelu, N::d_gelu);
    unary<GeluTanh>(N::gelu_tanh, N::d_gelu_tanh);
    unary<Tanh>(N::tanh, N::d_tanh);
    unary<Softplus>(N::softplus, N::d_softplus);
    unary<Softsign>(N::softsign, N::d_softsign);
    binary<Add>(N::add);
    binary<Sub>(N::sub);
    binary<Mul>(N::mul);
    binary<Div>(N::div);
    binary<Pow>(N::pow);
    binary<Minimum>(N::minimum);
    binary<Maximum>(N::maximum);
    binary<FloorMod>(N::floor_mod);
    binary<TruncMod>(N::trunc_mod);
    binary<Less>(N::less);
    binary<LessEqual>(N::less_equal);
    binary<Greater>(N::greater);
    binary<GreaterEqual>(N::greater_equal);
    binary<Equal>(N::equal);
    binary<And>(N::logical_and);
    binary<Or>(N::logical_or);
    binary<Xor>(N::logical_xor);
    binary<Prelu>(N::prelu);
    ternary<Where>(N::where);
    ternary<DDivB>(N::d_div_b);
    ternary<DPowA>(N::d_pow_a);
    ternary<DPowB>(N::d_pow_b);
    ternary<DMinimum>(N::d_minimum);
    ternary<DMaximum>(N::d_maximum);
    ternary<DPreluA>(N::d_prelu_a);
    binary<DPreluB>(N::d_prelu_b);
    binary<DWhereB>(N::d_where_b);
    binary<DWhereC>(N::d_where_c);
  }
};

const Entry &entry(Function f) {
  static const Functions table;
  return table.entries[(int)f];
}

// ---- rows ------------------------------------------------------------------------------------------------------
// Sum of term(i) over n vectors, sixteen at a time: a summand is rounded n / 16 + 16 times instead of n.
template <int L, class Term> EDGECL_INLINE typename Vec<L>::type line_sum(int n, const Term &term) {
  typename Vec<L>::type sum{};
  for (int i = 0; i < n;) {
    typename Vec<L>::type part{};
    for (const int end = std::min(n, i + 16); i < end; i++) part += term(i);
    sum += part;
  }
  return sum;
}

// n positions of a view, `stride` floats apart, into out [n][L].
template <int L> void gather(const float *p, ptrdiff_t stride, bool parameter, int n, float *out) {
  typedef typename Vec<L>::type V;
  if (parameter) {
    for (int i = 0; i < n; i++) *(V *)(out + i * L) = splat<V>(p[i * stride]);
  } else if (stride == 0) {
    const V v = *(const V *)p;
    for (int i = 0; i < n; i++) *(V *)(out + i * L) = v;
  } else {
    for (int i = 0; i < n; i++) *(V *)(out + i * L) = *(const V *)(p + i * stride);
  }
}

template <int L> EDGECL_INLINE typename Vec<L>::type real_lanes(int real) {
  typename Vec<L>::type m{};
  for (int i = 0; i < L; i++) m[i] = i < real ? 1.f : 0.f;
  return m;
}

// And back: lanes without a sample become zero. A stride of 0 sums the whole row first.
template <int L>
void scatter(float *p, ptrdiff_t stride, bool parameter, int n, const float *row, Combine how, int real) {
  typedef typename Vec<L>::type V;
  if (parameter) { // gradients are summed over the samples
    double total = 0;
    for (int i = 0; i < n; i++) {
      double s = 0;
      for (int l = 0; l < real; l++) s += row[i * L + l];
      if (stride)
        p[i * stride] += (float)s;
      else
        total += s;
    }
    if (!stride) *p += (float)total;
    return;
  }
  const V mask = real_lanes<L>(real), zero{};
  if (stride == 0 && how == Combine::ADD) {
    const V a = line_sum<L>(n, [&](int i) { return *(const V *)(row + i * L); });
    *(V *)p += mask > zero ? a : zero;
    return;
  }
  for (int i = 0; i < n; i++) {
    const V v = *(const V *)(row + i * L), kept = mask > zero ? v : zero;
    V *d = (V *)(p + i * stride);
    *d = how == Combine::ADD ? *d + kept : kept;
  }
}

struct Walk { // over all axes but the last `inner`
  int index[MAX_AXES] = {};
  int outer;
  explicit Walk(int n) : outer(n) {}
  // Next place; false after the last. Calls move(axis, steps) for each axis that changes.
  template <class F> bool next(const int *size, const F &move) {
    for (int a = outer - 1; a >= 0; a--) {
      if (++index[a] < size[a]) {
        move(a, 1);
        return true;
      }
      move(a, -(size[a] - 1));
      index[a] = 0;
    }
    return false;
  }
};

template <int L> void each_of(const TensorOp &o) {
  const Entry &f = entry(o.function);
  const int last = o.axes - 1, n = o.size[last], most = ROW_FLOATS / L, count = f.inputs;
  alignas(64) float rows[MAX_INPUTS + 1][ROW_FLOATS];
  const float *in[MAX_INPUTS];
  float *out = o.out.base;
  for (int k = 0; k < count; k++) in[k] = o.in[k].base;
  const bool whole = !o.out.parameter && o.out.stride[last] == L && o.combine == Combine::STORE && o.real == L;
  Walk walk(last);
  do {
    for (int first = 0; first < n; first += most) {
      const int m = std::min(most, n - first);
      const float *row[MAX_INPUTS];
      for (int k = 0; k < count; k++) {
        const View &v = o.in[k];
        const float *p = in[k] + first * v.stride[last];
        if (!v.parameter && v.stride[last] == L) {
          row[k] = p;
        } else {
          gather<L>(p, v.stride[last], v.parameter, m, rows[k]);
          row[k] = rows[k];
        }
      }
      float *to = out + first * o.out.stride[last];
      const bool plain = o.function == Function::identity;
      if (whole && plain) {
        std::memcpy(to, row[0], (size_t)m * L * 4);
      } else if (whole) {
        f.run(row, to, m * L, o.alpha, o.beta);
      } else {
        if (!plain) f.run(row, rows[MAX_INPUTS], m * L, o.alpha, o.beta);
        scatter<L>(to, o.out.stride[last], o.out.parameter, m, plain ? row[0] : rows[MAX_INPUTS], o.combine, o.real);
      }
    }
  } while (walk.next(o.size, [&](int a, int steps) {
    out += steps * o.out.stride[a];
    for (int k = 0; k < count; k++) in[k] += steps * o.in[k].stride[a];
  }));
}

// ---- lines -----------------------------------------------------------------------------------------------------
template <int L> EDGECL_INLINE typename Vec<L>::type &at(float *p, int i) { return *(typename Vec<L>::type *)(p + i * L); }

template <int L> typename Vec<L>::type root(typename Vec<L>::type v) {
  for (int i = 0; i < L; i++) v[i] = std::sqrt(v[i]);
  return v;
}

template <int L> typename Vec<L>::type line_maximum(float *x, int n) {
  auto m = at<L>(x, 0);
  for (int i = 1; i < n; i++) m = at<L>(x, i) > m || at<L>(x, i) != at<L>(x, i) ? at<L>(x, i) : m;
  return m;
}

// out = e^(x - m); returns the sum.
template <int L> typename Vec<L>::type line_exp(float *x, float *out, int n, typename Vec<L>::type m) {
  for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x, i) - m;
  for (int i = 0; i < n * L; i++) out[i] = exp_f(out[i]);
  return line_sum<L>(n, [&](int i) { return at<L>(out, i); });
}

// One line [n][L]: inputs x[0..], result out. The gradient comes first where there is one.
template <int L> void line(const TensorOp &o, int n, float *const *x, float *out) {
  typedef typename Vec<L>::type V;
  const V count = splat<V>(1.f / n), one = splat<V>(1.f), zero{};
  auto sum = [&](float *p) { return line_sum<L>(n, [&](int i) { return at<L>(p, i); }); };
  auto dot = [&](float *p, float *q) { return line_sum<L>(n, [&](int i) { return at<L>(p, i) * at<L>(q, i); }); };
  auto spread = [&](V v) {
    for (int i = 0; i < n; i++) at<L>(out, i) = v;
  };
  auto centred = [&](float *p, V &mean) { // variance
    mean = sum(p) * count;
    return line_sum<L>(n, [&](int i) { return (at<L>(p, i) - mean) * (at<L>(p, i) - mean); }) * count;
  };
  switch (o.function) {
  case Function::softmax: {
    const V s = one / line_exp<L>(x[0], out, n, line_maximum<L>(x[0], n));
    for (int i = 0; i < n; i++) at<L>(out, i) *= s;
    break;
  }
  case Function::d_softmax: { // gradient, output
    const V s = dot(x[0], x[1]);
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x[1], i) * (at<L>(x[0], i) - s);
    break;
  }
  case Function::log_softmax: {
    const V m = line_maximum<L>(x[0], n);
    V s = line_exp<L>(x[0], out, n, m);
    for (int i = 0; i < L; i++) s[i] = log_f(s[i]);
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x[0], i) - m - s;
    break;
  }
  case Function::d_log_softmax: { // gradient, output
    const V s = sum(x[0]);
    for (int i = 0; i < n * L; i++) out[i] = exp_f(x[1][i]);
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x[0], i) - at<L>(out, i) * s;
    break;
  }
  case Function::log_sum_exp: {
    const V m = line_maximum<L>(x[0], n);
    V s = line_exp<L>(x[0], out, n, m);
    for (int i = 0; i < L; i++) s[i] = log_f(s[i]);
    spread(m + s);
    break;
  }
  case Function::d_log_sum_exp: { // gradient, input
    const V s = one / line_exp<L>(x[1], out, n, line_maximum<L>(x[1], n));
    for (int i = 0; i < n; i++) at<L>(out, i) *= s * at<L>(x[0], i);
    break;
  }
  case Function::standardise: // input, scale, shift
  case Function::scale_gradient: { // gradient, input: g * xhat
    float *in = o.function == Function::standardise ? x[0] : x[1];
    V mean;
    const V r = one / root<L>(centred(in, mean) + splat<V>(o.alpha));
    if (o.function == Function::standardise)
      for (int i = 0; i < n; i++) at<L>(out, i) = (at<L>(in, i) - mean) * r * at<L>(x[1], i) + at<L>(x[2], i);
    else
      for (int i = 0; i < n; i++) at<L>(out, i) = (at<L>(in, i) - mean) * r * at<L>(x[0], i);
    break;
  }
  case Function::d_standardise: { // gradient, input, scale
    V mean;
    const V r = one / root<L>(centred(x[1], mean) + splat<V>(o.alpha));
    const V s1 = count * line_sum<L>(n, [&](int i) { return at<L>(out, i) = at<L>(x[0], i) * at<L>(x[2], i); });
    const V s2 = count * line_sum<L>(n, [&](int i) { return at<L>(out, i) * ((at<L>(x[1], i) - mean) * r); });
    for (int i = 0; i < n; i++) at<L>(out, i) = r * (at<L>(out, i) - s1 - (at<L>(x[1], i) - mean) * r * s2);
    break;
  }
  case Function::rms: // input, scale
  case Function::rms_scale_gradient: { // gradient, input
    float *in = o.function == Function::rms ? x[0] : x[1], *other = o.function == Function::rms ? x[1] : x[0];
    const V r = one / root<L>(dot(in, in) * count + splat<V>(o.alpha));
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(in, i) * r * at<L>(other, i);
    break;
  }
  case Function::d_rms: { // gradient, input, scale
    const V r = one / root<L>(dot(x[1], x[1]) * count + splat<V>(o.alpha));
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x[0], i) * at<L>(x[2], i);
    const V s = dot(out, x[1]) * (r * r * count);
    for (int i = 0; i < n; i++) at<L>(out, i) = r * (at<L>(out, i) - at<L>(x[1], i) * s);
    break;
  }
  case Function::unit: { // x / max(|x|, alpha)
    const V d = root<L>(dot(x[0], x[0])), low = splat<V>(o.alpha), r = one / (d > low ? d : low);
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(x[0], i) * r;
    break;
  }
  case Function::d_unit: { // gradient, input
    const V d = root<L>(dot(x[1], x[1])), low = splat<V>(o.alpha), r = one / (d > low ? d : low);
    const V s = d > low ? dot(x[0], x[1]) * r * r : zero;
    for (int i = 0; i < n; i++) at<L>(out, i) = r * (at<L>(x[0], i) - at<L>(x[1], i) * s);
    break;
  }
  case Function::line_max:
  case Function::line_min:
  case Function::d_line_max: // gradient, input: shared by equal ones, as torch's amax does
  case Function::d_line_min: {
    const bool back = o.function == Function::d_line_max || o.function == Function::d_line_min;
    const bool least = o.function == Function::line_min || o.function == Function::d_line_min;
    float *in = back ? x[1] : x[0];
    V m = at<L>(in, 0);
    for (int i = 1; i < n; i++) {
      const V v = at<L>(in, i);
      m = (least ? v < m : v > m) || v != v ? v : m;
    }
    if (!back) {
      spread(m);
      break;
    }
    V same{};
    for (int i = 0; i < n; i++) same += at<L>(in, i) == m ? one : zero;
    const V share = one / same;
    for (int i = 0; i < n; i++) at<L>(out, i) = at<L>(in, i) == m ? at<L>(x[0], i) * share : zero;
    break;
  }
  case Function::line_argmax: {
    V m = at<L>(x[0], 0), best{};
    for (int i = 1; i < n; i++) {
      const V v = at<L>(x[0], i), here = splat<V>((float)i);
      const auto better = o.alpha != 0.f ? v >= m : v > m; // alpha: the last of equal ones
      best = better ? here : best;
      m = better ? v : m;
    }
    spread(best);
    break;
  }
  case Function::line_prod: {
    V p = one;
    for (int i = 0; i < n; i++) p *= at<L>(x[0], i);
    spread(p);
    break;
  }
  case Function::d_line_prod: { // gradient, input: products of all others, from both sides
    V before = one, after = one;
    for (int i = 0; i < n; i++) {
      at<L>(out, i) = before * at<L>(x[0], i);
      before *= at<L>(x[1], i);
    }
    for (int i = n - 1; i >= 0; i--) {
      at<L>(out, i) *= after;
      after *= at<L>(x[1], i);
    }
    break;
  }
  default: break;
  }
}

template <int L> void lines_of(const TensorOp &o, float *scratch) {
  const int outer = o.axes - o.line, last = o.axes - 1, run = o.size[last];
  int n = 1;
  for (int a = outer; a < o.axes; a++) n *= o.size[a];
  float *in[MAX_INPUTS], *out = o.out.base, *lines[MAX_INPUTS], *result = scratch + (size_t)o.inputs * n * L;
  for (int k = 0; k < o.inputs; k++) {
    in[k] = o.in[k].base;
    lines[k] = scratch + (size_t)k * n * L;
  }
  Walk walk(outer);
  do {
    for (int k = 0; k < o.inputs; k++) {
      const View &v = o.in[k];
      const float *p = in[k];
      float *to = lines[k];
      Walk inside(last - outer);
      do {
        gather<L>(p, v.stride[last], v.parameter, run, to);
        to += (size_t)run * L;
      } while (inside.next(o.size + outer, [&](int a, int steps) { p += steps * v.stride[outer + a]; }));
    }
    line<L>(o, n, lines, result);
    float *q = out;
    const float *from = result;
    Walk inside(last - outer);
    do {
      scatter<L>(q, o.out.stride[last], o.out.parameter, run, from, o.combine, o.real);
      from += (size_t)run * L;
    } while (inside.next(o.size + outer, [&](int a, int steps) { q += steps * o.out.stride[outer + a]; }));
  } while (walk.next(o.size, [&](int a, int steps) {
    out += steps * o.out.stride[a];
    for (int k = 0; k < o.inputs; k++) in[k] += steps * o.in[k].stride[a];
  }));
}

// ---- products --------------------------------------------------------------------------------------------------
// out[R rows][C columns] += alpha * sum over the inner axis of a * b.
template <int L, int R, int C>
EDGECL_INLINE void product_tile(const TensorOp &o, float *out, const float *a, const float *b, int inner) {
  typedef typename Vec<L>::type V;
  const int r = o.axes - 3, c = o.axes - 2, k = o.axes - 1;
  const ptrdiff_t ar = o.in[0].stride[r], ak = o.in[0].stride[k], bc = o.in[1].stride[c], bk = o.in[1].stride[k];
  V s[R][C] = {};
  for (int i = 0; i < inner; i++) {
    V u[C];
#pragma GCC unroll 4
    for (int y = 0; y < C; y++) u[y] = *(const V *)(b + y * bc + i * bk);
#pragma GCC unroll 4
    for (int x = 0; x < R; x++) {
      const V v = *(const V *)(a + x * ar + i * ak);
#pragma GCC unroll 4
      for (int y = 0; y < C; y++) s[x][y] += v * u[y];
    }
  }
  const V scale = splat<V>(o.alpha), mask = real_lanes<L>(o.real), zero{};
  for (int x = 0; x < R; x++)
    for (int y = 0; y < C; y++) {
      V *p = (V *)(out + x * o.out.stride[r] + y * o.out.stride[c]);
      const V v = mask > zero ? s[x][y] * scale : zero;
      *p = o.combine == Combine::ADD ? *p + v : v;
    }
}

// With one or two lanes vectors span the columns of b, which are gathered into a panel [inner][columns][L].
template <int L> void product_narrow(const TensorOp &o, float *out, const float *a, const float *b, float *panel) {
  const int r = o.axes - 3, c = o.axes - 2, k = o.axes - 1;
  const int rows = o.size[r], columns = o.size[c], inner = o.size[k], most = 64 / L;
  alignas(64) float sums[64];
  for (int first = 0; first < columns; first += most) {
    const int m = std::min(most, columns - first), n = m * L;
    for (int i = 0; i < inner; i++)
      gather<L>(b + first * o.in[1].stride[c] + i * o.in[1].stride[k], o.in[1].stride[c], false, m, panel + (size_t)i * n);
    for (int x = 0; x < rows; x++) {
      for (int j = 0; j < n; j++) sums[j] = 0;
      const float *p = a + x * o.in[0].stride[r];
      for (int i = 0; i < inner; i++, p += o.in[0].stride[k]) {
        const float *u = panel + (size_t)i * n;
        if constexpr (L == 1) {
          const float v = *p;
          for (int j = 0; j < n; j++) sums[j] += v * u[j];
        } else {
          const float v0 = p[0], v1 = p[1];
          for (int j = 0; j + 1 < n; j += 2) {
            sums[j] += v0 * u[j];
            sums[j + 1] += v1 * u[j + 1];
          }
        }
      }
      for (int j = 0; j < n; j++) sums[j] *= o.alpha;
      scatter<L>(out + x * o.out.stride[r] + first * o.out.stride[c], o.out.stride[c], false, m, sums, o.combine, o.real);
    }
  }
}

template <int L> void product_of(const TensorOp &o, float *panel) {
  const int r = o.axes - 3, c = o.axes - 2, k = o.axes - 1;
  const int rows = o.size[r], columns = o.size[c], inner = o.size[k];
  float *out = o.out.base;
  const float *a = o.in[0].base, *b = o.in[1].base;
  Walk walk(r);
  do {
    if constexpr (L < 4) {
      product_narrow<L>(o, out, a, b, panel);
    } else {
      for (int x = 0; x < rows; x += 4)
        for (int y = 0; y < columns; y += 4) {
          float *p = out + x * o.out.stride[r] + y * o.out.stride[c];
          const float *u = a + x * o.in[0].stride[r], *v = b + y * o.in[1].stride[c];
          if (x + 4 <= rows && y + 4 <= columns) {
            product_tile<L, 4, 4>(o, p, u, v, inner);
            continue;
          }
          for (int i = 0; i < std::min(4, rows - x); i++)
            for (int j = 0; j < std::min(4, columns - y); j++)
              product_tile<L, 1, 1>(o, p + i * o.out.stride[r] + j * o.out.stride[c], u + i * o.in[0].stride[r],
                                    v + j * o.in[1].stride[c], inner);
        }
    }
  } while (walk.next(o.size, [&](int axis, int steps) {
    out += steps * o.out.stride[axis];
    a += steps * o.in[0].stride[axis];
    b += steps * o.in[1].stride[axis];
  }));
}

// ---- resampling ------------------------------------------------------------------------------------------------
template <int L> void resample_of(const TensorOp &o, const SparseRows &s) {
  typedef typename Vec<L>::type V;
  const int last = o.axes - 1, n = o.size[last];
  const ptrdiff_t to = o.out.stride[last], from = o.in[0].stride[last];
  const V mask = real_lanes<L>(o.real), zero{};
  float *out = o.out.base;
  const float *in = o.in[0].base;
  Walk walk(last);
  do {
    for (int row = 0; row < o.line; row++) {
      float *y = out + row * s.out_stride;
      for (int i = 0; i < n; i++) {
        V v{};
        for (int e = s.pointers[row]; e < s.pointers[row + 1]; e++)
          v += splat<V>(bits_to_float(s.weights[e])) * *(const V *)(in + s.columns[e] * s.in_stride + i * from);
        v = mask > zero ? v : zero;
        V *d = (V *)(y + i * to);
        *d = o.combine == Combine::ADD ? *d + v : v;
      }
    }
  } while (walk.next(o.size, [&](int a, int steps) {
    out += steps * o.out.stride[a];
    in += steps * o.in[0].stride[a];
  }));
}

// ---- by lanes --------------------------------------------------------------------------------------------------
template <template <int> class Run, class... A> void by_lanes(int lanes, A &&...args) {
  switch (lanes) {
#if EDGECL_WIDEST >= 16
  case 16: return Run<16>::run(args...);
#endif
#if EDGECL_WIDEST >= 8
  case 8: return Run<8>::run(args...);
#endif
  case 4: return Run<4>::run(args...);
  case 2: return Run<2>::run(args...);
  default: return Run<1>::run(args...);
  }
}

template <int L> struct Each {
  static void run(const TensorOp &o) { each_of<L>(o); }
};
template <int L> struct Lines {
  static void run(const TensorOp &o, float *scratch) { lines_of<L>(o, scratch); }
};
template <int L> struct Product {
  static void run(const TensorOp &o, float *scratch) { product_of<L>(o, scratch); }
};
template <int L> struct Resample {
  static void run(const TensorOp &o, const SparseRows &s) { resample_of<L>(o, s); }
};
template <int L> struct Recur {
  static void run(const Recurrence &r) { recur_of<L>(r); }
};
template <int L> struct RecurBack {
  static void run(const Recurrence &r) { recur_back_of<L>(r); }
};

float dot_product(const float *a, const float *b, int n) {
  constexpr int W = EDGECL_WIDEST;
  typedef typename Vec<W>::unaligned U;
  typename Vec<W>::type s{};
  int i = 0;
  for (; i + W <= n; i += W) s += *(const U *)(a + i) * *(const U *)(b + i);
  float t = horizontal_sum<W>(s);
  for (; i < n; i++) t += a[i] * b[i];
  return t;
}

} // namespace

const TensorKernels &EDGECL_CONCAT(tensor_kernels_, EDGECL_ISA)() {
  static const TensorKernels table{
      [](const TensorOp &o) { by_lanes<Each>(o.lanes, o); },
      [](const TensorOp &o, float *scratch) { by_lanes<Lines>(o.lanes, o, scratch); },
      [](const TensorOp &o, float *scratch) { by_lanes<Product>(o.lanes, o, scratch); },
      [](const TensorOp &o, const SparseRows &s) { by_lanes<Resample>(o.lanes, o, s); },
      [](const Recurrence &r) { by_lanes<Recur>(r.lanes, r); },
      [](const Recurrence &r) { by_lanes<RecurBack>(r.lanes, r); },
      dot_product,
  };
  return table;
}

} // namespace edgecl
