// Sparse convolution over a plane that is one run of positions (runs.h): N vectors at any float. Included by isa.cpp only.
// Cost: as in conv.h, and most loads straddle two cache lines, which halves what L1 delivers. Few accumulators leave the
// adders waiting for each other, so tiles of up to 3 vectors take several rows at once; each row's sum stays in order.
#pragma once
#include "conv.h"

namespace edgecl {
namespace {

template <int W, int N> struct Slide {
  typedef typename Vec<W>::type V;
  typedef typename Vec<W>::unaligned U;

  static EDGECL_MEMBER void begin(const ConvBlock &b, int r, V *a) {
    const V init = b.first && b.bias ? splat<V>(b.bias[r]) : V{};
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) a[i] = init;
  }

  static EDGECL_MEMBER void multiply(V *a, const char *at, V w) {
    const U *p = (const U *)at;
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) a[i] += w * p[i];
  }

  // Entries [k, end) of a list.
  static EDGECL_MEMBER void add(const ConvBlock &b, int k, int end, V *a) {
    const int *offsets = b.offsets;
    const float *values = b.values;
    if (k >= end) return;
    const char *p = b.input + offsets[k];
    V w = splat<V>(values[k]);
    while (++k < end) {
      const char *next = opaque(b.input + offsets[k]);
      V v = splat<V>(values[k]);
      if constexpr (ENTRY_AHEAD) asm("" : EDGECL_VECTOR(v));
      multiply(a, p, w);
      p = next;
      w = v;
    }
    multiply(a, p, w);
  }

  static EDGECL_MEMBER void end(const ConvBlock &b, int r, V *a) {
    U *out = (U *)opaque(b.output + r * b.output_channel);
    if (!b.first) {
#pragma GCC unroll 16
      for (int i = 0; i < N; i++) a[i] += out[i];
    }
    if (b.last) {
      if (b.finish) {
        const Finisher<V> f(b, r);
        const U *q = b.add ? (const U *)opaque(b.add + r * b.add_channel) : nullptr;
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) a[i] = f(a[i], q ? (V)q[i] : V{});
      }
      if (b.valid) {
        const U *v = (const U *)opaque(b.valid);
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) a[i] = v[i] > V{} ? a[i] : V{};
      }
      if (b.mask && b.activation != NONE) {
        const U *z = (const U *)opaque(b.kept + r * b.kept_channel);
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) a[i] = activation_gradient(a[i], (V)z[i], b.activation);
      }
      if (b.sums) {
        const U *y = b.mask ? (const U *)opaque(b.kept_input + r * b.kept_input_channel) : nullptr;
        const V center = splat<V>(y && b.center ? b.center[r] : 0.f);
        V *st = (V *)(b.sums + (size_t)r * 2 * W);
        V s = V{}, q = V{};
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) {
          s += a[i];
          q += a[i] * (y ? (V)y[i] - center : a[i]);
        }
        st[0] += s;
        st[1] += q;
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) out[i] = a[i];
  }
};

template <int W, int N> void run_block(const ConvBlock &b) {
  typedef Slide<W, N> S;
  typedef typename S::V V;
  int r = b.row0;
  if constexpr (N <= 3) {
    constexpr int ROWS = N == 3 ? 2 : 4;
    for (; r + ROWS <= b.row1; r += ROWS) {
      const int *start = b.pointers + r;
      V a[ROWS][N];
      int common = start[1] - start[0];
      for (int j = 0; j < ROWS; j++) {
        S::begin(b, r + j, a[j]);
        common = start[j + 1] - start[j] < common ? start[j + 1] - start[j] : common;
      }
      for (int k = 0; k < common; k++)
#pragma GCC unroll 4
        for (int j = 0; j < ROWS; j++) {
          const int e = start[j] + k;
          S::multiply(a[j], b.input + b.offsets[e], splat<V>(b.values[e]));
        }
#pragma GCC unroll 4
      for (int j = 0; j < ROWS; j++) {
        S::add(b, start[j] + common, start[j + 1], a[j]);
        S::end(b, r + j, a[j]);
      }
    }
  }
  for (; r < b.row1; r++) {
    V a[N];
    S::begin(b, r, a);
    S::add(b, b.pointers[r], b.pointers[r + 1], a);
    S::end(b, r, a);
  }
}

} // namespace
} // namespace edgecl
