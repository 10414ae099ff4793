// Convolutions of plans that only predict, from the weights as they lie: rows of them times panels of gathered inputs,
// living ones alone, and depthwise planes. Maps have one lane, vectors hold adjacent positions. Included by isa.cpp only.
//
// Cost of a panel: a vector load for each column vector and a broadcast for each row, per input value, so that the bound
// is the multiplications: 12 of them to 7 loads in AVX2, 24 to 11 in AVX-512.
#pragma once
#include <algorithm>

#include "rows.h"

namespace edgecl {
namespace {

// Vectors of columns, and rows for each number of them, whose sums stay in registers: at least 8 sums, which is what two
// multiplications a cycle need to be under way.
constexpr bool MANY_REGISTERS = EDGECL_LARGEST_TILE == 16;
constexpr int PRODUCT_VECTORS = EDGECL_LARGEST_TILE < 14 ? 2 : 3;
constexpr int product_rows(int vectors) {
  return MANY_REGISTERS || vectors == 1 ? 8 : EDGECL_LARGEST_TILE < 14 ? 4 : vectors == 2 ? 6 : 4;
}

constexpr int COLUMNS = PRODUCT_VECTORS * EDGECL_WIDEST;

template <int R, int N> void panel_product(const PanelProduct &p) {
  constexpr int W = EDGECL_WIDEST;
  typedef typename Vec<W>::type V;
  V a[R * N];
  const float *w[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    w[r] = p.weights + r * p.weight_row;
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) a[r * N + n] = p.add ? load<W>(p.out + r * p.row + n * W) : V{};
  }
  const float *x = p.panel;
  for (int k = 0; k < p.depth;) {
    const int end = k + 16 < p.depth ? k + 16 : p.depth; // a line of each row
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) __builtin_prefetch(w[r] + k + R * p.weight_row); // the rows after these
    for (; k < end; k++, x += COLUMNS) {
      V v[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) v[n] = load<W>(x + n * W);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const V s = fill<W>(w[r][k]);
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) a[r * N + n] += s * v[n];
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) store<W>(p.out + r * p.row + n * W, a[r * N + n]);
}

template <int R, int N> void fill_products(Kernels &k) {
  k.panel_product[R - 1][N - 1] = panel_product<R, N>;
  if constexpr (R < product_rows(N)) {
    fill_products<R + 1, N>(k);
  } else {
    k.panel_rows[N - 1] = R;
    if constexpr (N < PRODUCT_VECTORS) fill_products<1, N + 1>(k);
  }
}

// a . b over n floats: sums in lanes, which are added up in the end.
float dot_product(const float *a, const float *b, int n) {
  constexpr int W = EDGECL_WIDEST;
  typename Vec<W>::type sums[4] = {};
  int k = 0;
  for (; k + 4 * W <= n; k += 4 * W)
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      if (i * W % 16 == 0) __builtin_prefetch(a + k + i * W + 512); // a line each
      sums[i] += load<W>(a + k + i * W) * load<W>(b + k + i * W);
    }
  float sum = fold_all<W>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; k < n; k++) sum += a[k] * b[k];
  return sum;
}

template <int N> EDGECL_INLINE void sparse_columns(const SparseProduct &p, int first) {
  constexpr int W = EDGECL_WIDEST;
  typedef typename Vec<W>::type V;
  const float *x = p.x + first * W;
  float *out = p.out + first * W;
  for (int r = p.row0; r < p.row1; r++, out += p.row) {
    V a[N] = {};
    for (int i = p.starts[r]; i < p.starts[r + 1]; i++) {
      const float *in = x + (p.pattern[i] - (ptrdiff_t)r * p.depth) * p.stride;
      const V w = fill<W>(p.values[i]);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) a[n] += w * load<W>(in + n * W);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) store<W>(out + n * W, a[n]);
  }
}

void sparse_product(const SparseProduct &p, int vectors) {
  int at = 0;
  for (; at + 8 <= vectors; at += 8) sparse_columns<8>(p, at);
  if (vectors - at >= 4) sparse_columns<4>(p, at), at += 4;
  if (vectors - at >= 2) sparse_columns<2>(p, at), at += 2;
  if (vectors - at >= 1) sparse_columns<1>(p, at);
}

// n < W floats; some may be copied twice.
template <int W> EDGECL_INLINE void copy_few(float *out, const float *in, int n) {
  if constexpr (W > 4) {
    if (n < W / 2) return copy_few<W / 2>(out, in, n);
    const auto first = load<W / 2>(in), last = load<W / 2>(in + n - W / 2);
    store<W / 2>(out, first);
    store<W / 2>(out + n - W / 2, last);
  } else {
    for (int i = 0; i < n; i++) out[i] = in[i];
  }
}

EDGECL_INLINE void copy_row(float *out, const float *in, int n) {
  constexpr int W = EDGECL_WIDEST;
  if (n < W) return copy_few<W>(out, in, n);
  for (int i = 0; i < n - W; i += W) store<W>(out + i, load<W>(in + i));
  store<W>(out + n - W, load<W>(in + n - W));
}

// out[i] = in[stride * i], n floats; nothing behind the last of them is read.
EDGECL_INLINE void copy_strided(float *out, const float *in, int stride, int n) {
  constexpr int W = EDGECL_WIDEST;
  int i = 0;
  if (stride == 2) {
    typename Vec<W>::mask even;
    for (int j = 0; j < W; j++) even[j] = 2 * j;
    for (; i + W < n; i += W) store<W>(out + i, __builtin_shuffle(load<W>(in + 2 * i), load<W>(in + 2 * i + W), even));
  }
  for (; i < n; i++) out[i] = in[(ptrdiff_t)stride * i];
}

// One piece of a panel for one tap of a channel: columns that lie beside the map are zero.
EDGECL_INLINE void gather_tap(const Gather &g, const GatherPiece &p, const float *plane, int ky, int kx, float *out) {
  const int iy = p.y * g.stride_h + ky * g.tap_y - g.pad_h, ix = p.x * g.stride_w + kx * g.tap_x - g.pad_w;
  int begin = 0, end = p.count;
  if (iy < 0 || iy >= g.height) {
    begin = end;
  } else if (ix < 0 || ix + (p.count - 1) * g.stride_w >= g.width) {
    begin = ix < 0 ? std::min(p.count, (-ix + g.stride_w - 1) / g.stride_w) : 0;
    end = std::max(begin, std::min(p.count, (g.width - ix + g.stride_w - 1) / g.stride_w));
  }
  for (int j = 0; j < begin; j++) out[j] = 0;
  for (int j = end; j < p.count; j++) out[j] = 0;
  if (begin == end) return;
  const float *in = plane + (ptrdiff_t)iy * g.width + ix + (ptrdiff_t)begin * g.stride_w;
  if (g.stride_w == 1)
    copy_row(out + begin, in, end - begin);
  else
    copy_strided(out + begin, in, g.stride_w, end - begin);
}

// Panels of input values, each a tap of a channel.
void gather(const Gather &g) {
  constexpr int W = EDGECL_WIDEST;
  const int taps = g.taps_h * g.taps_w;
  const ptrdiff_t plane = (ptrdiff_t)g.x->plane();
  for (int i = 0; i < g.pieces; i++) {
    const GatherPiece &p = g.piece[i];
    const int k0 = g.k0 / taps;
    const float *in = g.x->at(p.sample, g.channel + k0);
    float *out = g.panel + p.at;
    if (taps == 1 && !g.pad_h && !g.pad_w && g.stride_w == 1) {
      in += (ptrdiff_t)p.y * g.stride_h * g.width + p.x;
      if (p.count == COLUMNS)
        for (int k = g.k0; k < g.k1; k++, out += g.row, in += plane)
#pragma GCC unroll 4
          for (int n = 0; n < PRODUCT_VECTORS; n++) store<W>(out + n * W, load<W>(in + n * W));
      else
        for (int k = g.k0; k < g.k1; k++, out += g.row, in += plane) copy_row(out, in, p.count);
      continue;
    }
    int tap = g.k0 % taps, ky = tap / g.taps_w, kx = tap % g.taps_w;
    for (int k = g.k0; k < g.k1; k++, out += g.row) {
      gather_tap(g, p, in, ky, kx, out);
      if (++kx < g.taps_w) continue;
      kx = 0;
      if (++ky < g.taps_h) continue;
      ky = 0;
      in += plane;
    }
  }
}

// A plane into the middle of `out`, each row cut into its columns modulo the stride; what is around it stays.
void pad_plane(const PadPlane &p) {
  for (int y = 0; y < p.height; y++) {
    const float *in = p.in + (ptrdiff_t)y * p.in_row;
    float *out = p.out + (ptrdiff_t)(y + p.pad_h) * p.row;
    if (p.stride == 1)
      copy_row(out + p.pad_w, in, p.width);
    else
      for (int phase = 0; phase < p.stride; phase++) {
        const int skip = (phase - p.pad_w % p.stride + p.stride) % p.stride; // columns before the first of this phase
        copy_strided(out + (ptrdiff_t)phase * p.part + (skip + p.pad_w) / p.stride, in + skip, p.stride,
                     (p.width - skip + p.stride - 1) / p.stride);
      }
  }
}

// out = activation(v * scale + shift + add * add_scale), whole vectors.
template <class V> EDGECL_INLINE void finish(const FinishRow &f, V v, const float *add, float *out) {
  constexpr int W = EDGECL_WIDEST;
  V z = v * fill<W>(f.scale) + fill<W>(f.shift);
  if (add) z += load<W>(add) * fill<W>(f.add_scale);
  store<W>(out, activate(z, f.activation));
}

// The same for n < W floats.
template <class V> EDGECL_INLINE void finish_few(const FinishRow &f, V v, const float *add, float *out, int n) {
  alignas(64) float some[EDGECL_WIDEST];
  if (add) copy_few<EDGECL_WIDEST>(some, add, n);
  finish(f, v, add ? some : nullptr, some);
  copy_few<EDGECL_WIDEST>(out, some, n);
}

// n floats; `v` may be read up to a whole vector.
void finish_row(const FinishRow &f, const float *v, const float *add, float *out, int n) {
  constexpr int W = EDGECL_WIDEST;
  int i = 0;
  for (; i + W <= n; i += W) finish(f, load<W>(v + i), add ? add + i : nullptr, out + i);
  if (i < n) finish_few(f, load<W>(v + i), add ? add + i : nullptr, out + i, n - i);
}

// Sums of taps times `input`, for H rows from row y and N vectors from column x on.
template <int H, int N> EDGECL_INLINE void tap_tile(const DepthRows &d, const FinishRow &f, int y, int x) {
  constexpr int W = EDGECL_WIDEST;
  typedef typename Vec<W>::type V;
  const float *input = d.input + y * d.step + x;
  V a[H * N] = {};
  for (int t = 0; t < d.taps; t++) {
    const V w = fill<W>(d.weights[t]);
    const float *p = input + d.offsets[t];
#pragma GCC unroll 4
    for (int i = 0; i < H; i++)
#pragma GCC unroll 2
      for (int n = 0; n < N; n++) a[i * N + n] += w * load<W>(p + i * d.step + n * W);
  }
#pragma GCC unroll 4
  for (int i = 0; i < H; i++)
#pragma GCC unroll 2
    for (int n = 0; n < N; n++) {
      const size_t at = (size_t)(y + i) * d.width + x + n * W;
      const int left = d.width - x - n * W;
      if (left >= W)
        finish(f, a[i * N + n], d.add ? d.add + at : nullptr, d.out + at);
      else if (left > 0)
        finish_few(f, a[i * N + n], d.add ? d.add + at : nullptr, d.out + at, left);
    }
}

// 3x3 taps, whose weights stay in registers: H rows of one vector.
template <int H, int STRIDE, class V>
EDGECL_INLINE void three_by_three(const DepthRows &d, const FinishRow &f, const V *w, int y, int x) {
  constexpr int W = EDGECL_WIDEST;
  const ptrdiff_t row = d.offsets[3], second = d.offsets[1], third = d.offsets[2];
  const float *p = d.input + y * d.step + x;
  V a[H] = {};
#pragma GCC unroll 5
  for (int i = 0; i < (H - 1) * STRIDE + 3; i++, p += row) { // input rows
    const V v[3] = {load<W>(p), load<W>(p + second), load<W>(p + third)};
#pragma GCC unroll 2
    for (int h = 0; h < H; h++) {
      const int ky = i - h * STRIDE;
      if (ky < 0 || ky > 2) continue;
#pragma GCC unroll 3
      for (int t = 0; t < 3; t++) a[h] += w[ky * 3 + t] * v[t];
    }
  }
#pragma GCC unroll 2
  for (int h = 0; h < H; h++) {
    const size_t at = (size_t)(y + h) * d.width + x;
    const float *add = d.add ? d.add + at : nullptr;
    if (x + W <= d.width)
      finish(f, a[h], add, d.out + at);
    else
      finish_few(f, a[h], add, d.out + at, d.width - x);
  }
}

template <int STRIDE> void three_by_three_rows(const DepthRows &d, const FinishRow &f) {
  constexpr int W = EDGECL_WIDEST;
  typename Vec<W>::type w[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; t++) w[t] = fill<W>(d.weights[t]);
  int y = 0;
  for (; y + 2 <= d.height; y += 2)
    for (int x = 0; x < d.width; x += W) three_by_three<2, STRIDE>(d, f, w, y, x);
  for (int x = 0; y < d.height && x < d.width; x += W) three_by_three<1, STRIDE>(d, f, w, y, x);
}

template <int H> void tap_rows(const DepthRows &d, const FinishRow &f, int y) {
  constexpr int W = EDGECL_WIDEST;
  int x = 0;
  for (; x + W < d.width; x += 2 * W) tap_tile<H, 2>(d, f, y, x);
  if (x < d.width) tap_tile<H, 1>(d, f, y, x);
}

// Rows [0, height) of a depthwise plane; outputs lie row after row.
void depth_rows(const DepthRows &d, const FinishRow &f) {
  if (d.three && d.step == d.offsets[3]) return three_by_three_rows<1>(d, f);
  if (d.three && d.step == 2 * d.offsets[3]) return three_by_three_rows<2>(d, f);
  int y = 0;
  for (; y + 4 <= d.height; y += 4) tap_rows<4>(d, f, y);
  if (d.height - y == 3) tap_rows<3>(d, f, y);
  if (d.height - y == 2) tap_rows<2>(d, f, y);
  if (d.height - y == 1) tap_rows<1>(d, f, y);
}

} // namespace
} // namespace edgecl
