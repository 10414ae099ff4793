// Kernels on rows of floats that hold [position][lane], whatever the number of lanes: 1, 2, 4, 8 or 16 divides the
// vector, so a row is read in whole vectors, then in halves, quarters and single floats. Included by isa.cpp only.
#pragma once
#include "maps.h"

namespace edgecl {
namespace {

template <int N> struct Width {
  static constexpr int value = N;
};

// Calls f(Width, first) over [first, n) with the widest vectors that fit.
template <int W, class F> EDGECL_INLINE void each_vector(int n, const F &f, int first = 0) {
  for (; first + W <= n; first += W) f(Width<W>(), first);
  if constexpr (W > 4)
    each_vector<W / 2>(n, f, first);
  else
    for (; first < n; first++) f(Width<1>(), first);
}

// splat for any width.
template <int W> EDGECL_INLINE typename Vec<W>::type fill(float v) { return v - typename Vec<W>::type{}; }

template <int W> EDGECL_INLINE typename Vec<W>::type load(const float *p) {
  return *(const typename Vec<W>::unaligned *)p;
}

template <int W> EDGECL_INLINE void store(float *p, typename Vec<W>::type v) {
  *(typename Vec<W>::unaligned *)p = v;
}

// Ones where a float of a vector at a multiple of `period` belongs to one of `real` lanes.
template <int W> EDGECL_INLINE typename Vec<W>::type period_mask(int period, int real) {
  if (real == period) return fill<W>(1.f); // no divisions where they are for nothing
  typename Vec<W>::type m{};
  for (int i = 0; i < W; i++) m[i] = i % period < real ? 1.f : 0.f;
  return m;
}

// n positions of a source, from (y, x) on, into `out` [n][lanes]. Lanes >= real become zero.
template <int W>
void read(const Source &s, int block, int channel, int y, int x, int positions, float *out, int real) {
  const int lanes = s.a.lanes, n = positions * lanes;
  const float *a = s.a.at(block, channel, y, x), *b = s.b.data ? s.b.at(block, channel, y, x) : nullptr;
  const float scale = s.scale ? s.scale[channel] : 1.f, shift = s.scale ? s.shift[channel] : 0.f;
  const float slope = b ? s.slope[channel] : 0.f;
  const int activation = s.activation, ahead = s.ahead;
  if (!s.scale)
    each_vector<W>(n, [&](auto width, int i) {
      constexpr int V = decltype(width)::value;
      __builtin_prefetch(a + i + ahead);
      store<V>(out + i, load<V>(a + i));
    });
  else if (b)
    each_vector<W>(n, [&](auto width, int i) {
      constexpr int V = decltype(width)::value;
      __builtin_prefetch(a + i + ahead);
      __builtin_prefetch(b + i + ahead);
      store<V>(out + i, fill<V>(scale) * load<V>(a + i) + (fill<V>(slope) * load<V>(b + i) + fill<V>(shift)));
    });
  else
    each_vector<W>(n, [&](auto width, int i) {
      constexpr int V = decltype(width)::value;
      __builtin_prefetch(a + i + ahead);
      store<V>(out + i, activate(load<V>(a + i) * fill<V>(scale) + fill<V>(shift), activation));
    });
  if (real == lanes) return;
  const auto m = period_mask<W>(lanes, real);
  each_vector<W>(n, [&](auto width, int i) {
    constexpr int V = decltype(width)::value;
    const auto mask = load<V>((const float *)&m + i % W);
    const auto v = load<V>(out + i);
    store<V>(out + i, mask > typename Vec<V>::type{} ? v : typename Vec<V>::type{});
  });
}

// out = in & bits: zeros even where `in` is NaN.
template <int W> void keep(float *out, const float *in, const uint32_t *bits, int n) {
  each_vector<W>(n, [&](auto width, int i) {
    constexpr int V = decltype(width)::value;
    typedef typename Vec<V>::mask Bits;
    store<V>(out + i, (typename Vec<V>::type)((Bits)load<V>(in + i) & (Bits)load<V>((const float *)bits + i)));
  });
}

template <int W, int P>
EDGECL_INLINE int taps_by(float *out, const float *init, const float *const *in, const float *weights, int count, int n,
                          int first) {
  for (; first + P * W <= n; first += P * W) {
    typename Vec<W>::type a[P];
#pragma GCC unroll 8
    for (int j = 0; j < P; j++) a[j] = init ? load<W>(init + first + j * W) : typename Vec<W>::type{};
    for (int t = 0; t < count; t++) {
      const float *p = in[t] + first;
      const auto w = fill<W>(weights[t]);
#pragma GCC unroll 8
      for (int j = 0; j < P; j++) a[j] += w * load<W>(p + j * W);
    }
#pragma GCC unroll 8
    for (int j = 0; j < P; j++) store<W>(out + first + j * W, a[j]);
  }
  return first;
}

// out = init (null: 0) + sum over taps of weights[t] * in[t]: one row of a depthwise convolution.
template <int W>
void taps(float *out, const float *init, const float *const *in, const float *weights, int count, int n) {
  int first = EDGECL_LARGEST_TILE >= 16 ? taps_by<W, 8>(out, init, in, weights, count, n, 0) : 0;
  first = taps_by<W, 4>(out, init, in, weights, count, n, first);
  first = taps_by<W, 2>(out, init, in, weights, count, n, first);
  each_vector<W>(
      n,
      [&](auto width, int i) {
        constexpr int V = decltype(width)::value;
        typename Vec<V>::type a = init ? load<V>(init + i) : typename Vec<V>::type{};
        for (int t = 0; t < count; t++) a += fill<V>(weights[t]) * load<V>(in[t] + i);
        store<V>(out + i, a);
      },
      first);
}

// sums[t] [W] += z * in[t] for T taps at once; with few taps a second chain hides the latency.
template <int W, int T> EDGECL_INLINE void tap_dots(const float *z, const float *const *in, int n, float *const *sums) {
  typedef typename Vec<W>::type V;
  V a[T], b[T]{};
  const float *p[T];
#pragma GCC unroll 9
  for (int t = 0; t < T; t++) {
    a[t] = load<W>(sums[t]);
    p[t] = in[t];
  }
  int i = 0;
  if constexpr (T < 9) {
    for (; i + 2 * W <= n; i += 2 * W) {
      const V u = load<W>(z + i), v = load<W>(z + i + W);
#pragma GCC unroll 9
      for (int t = 0; t < T; t++) {
        a[t] += u * load<W>(p[t] + i);
        b[t] += v * load<W>(p[t] + i + W);
      }
    }
  }
  for (; i + W <= n; i += W) {
    const V u = load<W>(z + i);
#pragma GCC unroll 9
    for (int t = 0; t < T; t++) a[t] += u * load<W>(p[t] + i);
  }
#pragma GCC unroll 9
  for (int t = 0; t < T; t++) store<W>(sums[t], T < 9 ? a[t] + b[t] : a[t]);
  if (i == n) return;
  for (int t = 0; t < T; t++)
    each_vector<W>(
        n,
        [&](auto width, int j) {
          constexpr int N = decltype(width)::value;
          float *s = sums[t] + j % W;
          store<N>(s, load<N>(s) + load<N>(z + j) * load<N>(in[t] + j));
        },
        i);
}

template <int W> void all_tap_dots(const float *z, const float *const *in, int count, int n, float *const *sums) {
  int t = 0;
  if (EDGECL_LARGEST_TILE >= 16)
    for (; t + 9 <= count; t += 9) tap_dots<W, 9>(z, in + t, n, sums + t);
  for (; t + 3 <= count; t += 3) tap_dots<W, 3>(z, in + t, n, sums + t);
  for (; t < count; t++) tap_dots<W, 1>(z, in + t, n, sums + t);
}

// sums[0] [W] += v, sums[1] [W] += v * v: 64 vectors at a time, so that sums over whole planes are made of short ones.
template <int W> void row_sums(const float *v, int n, float *sums) {
  int i = 0;
  while (i + 2 * W <= n) {
    typename Vec<W>::type s{}, q{}, s2{}, q2{};
    for (const int end = n - i > 64 * W ? i + 64 * W : n; i + 2 * W <= end; i += 2 * W) {
      const auto u = load<W>(v + i), t = load<W>(v + i + W);
      s += u;
      q += u * u;
      s2 += t;
      q2 += t * t;
    }
    store<W>(sums, load<W>(sums) + (s + s2));
    store<W>(sums + W, load<W>(sums + W) + (q + q2));
  }
  each_vector<W>(
      n,
      [&](auto width, int j) {
        constexpr int V = decltype(width)::value;
        float *a = sums + j % W;
        const auto u = load<V>(v + j);
        store<V>(a, load<V>(a) + u);
        store<V>(a + W, load<V>(a + W) + u * u);
      },
      i);
}

// gradient *= activation'(z); with y also sums[0] [W] += gradient, sums[1] [W] += gradient * y.
template <int W>
void row_mask(float *gradient, const float *z, const float *y, float center, int n, int activation, float *sums) {
  typename Vec<W>::type s{}, q{};
  each_vector<W>(n, [&](auto width, int i) {
    constexpr int V = decltype(width)::value;
    const auto g = activation_gradient(load<V>(gradient + i), load<V>(z + i), activation);
    store<V>(gradient + i, g);
    if (!y) return;
    if constexpr (V == W) {
      s += g;
      q += g * (load<V>(y + i) - fill<V>(center));
    } else {
      float *a = sums + i % W;
      store<V>(a, load<V>(a) + g);
      store<V>(a + W, load<V>(a + W) + g * (load<V>(y + i) - fill<V>(center)));
    }
  });
  if (!y) return;
  store<W>(sums, load<W>(sums) + s);
  store<W>(sums + W, load<W>(sums + W) + q);
}

} // namespace
} // namespace edgecl
