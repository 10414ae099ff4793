// The kernels of maps.h that matter for speed, for 1 or 2 lanes: rows, or whole planes where no map has a halo, fill the
// widest vectors instead of positions. Included by isa.cpp only.
#pragma once
#include "few_pool.h"
#include "rows.h"

namespace edgecl {
namespace {

constexpr int WIDEST = EDGECL_WIDEST;

// Calls f(row, floats) for each row, or once for a whole plane.
template <class F> EDGECL_INLINE void each_run(const Map &m, bool whole, const F &f) {
  if (whole)
    f(0, m.height * m.width * m.lanes);
  else
    for (int y = 0; y < m.height; y++) f(y, m.width * m.lanes);
}

EDGECL_INLINE bool solid(const Map &m) { return !m.data || m.columns == m.width; }

template <int N> EDGECL_INLINE typename Vec<N>::type real_only(typename Vec<N>::type v, const float *mask, int i) {
  return load<N>(mask + i % WIDEST) > typename Vec<N>::type{} ? v : typename Vec<N>::type{};
}

template <int W> void few_affine(const Affine &a, int block, int channel, int lanes) {
  clear_halo<W>(a.out, block, channel);
  const float shift = (a.shift1 ? a.shift1[channel] : 0.f) + (a.b.data && a.shift2 ? a.shift2[channel] : 0.f);
  const float scale = a.scale1 ? a.scale1[channel] : 1.f, scale2 = a.b.data && a.scale2 ? a.scale2[channel] : 1.f;
  const auto mask = period_mask<WIDEST>(a.out.lanes, lanes);
  each_run(a.out, solid(a.out) && solid(a.a) && solid(a.b), [&](int y, int n) {
    float *out = a.out.at(block, channel, y);
    const float *p = a.a.at(block, channel, y), *q = a.b.data ? a.b.at(block, channel, y) : nullptr;
    each_vector<WIDEST>(n, [&](auto width, int i) {
      constexpr int N = decltype(width)::value;
      auto v = load<N>(p + i) * fill<N>(scale) + fill<N>(shift);
      if (q) v += load<N>(q + i) * fill<N>(scale2);
      store<N>(out + i, real_only<N>(activate(v, a.activation), (const float *)&mask, i));
    });
  });
}

void few_mask(const Mask &a, int block, int channel, double *sums) {
  const Map &m = a.gradient;
  const float center = a.center ? a.center[channel] : 0.f;
  alignas(64) float s[2 * WIDEST] = {};
  each_run(m, solid(m) && solid(a.z) && solid(a.y), [&](int y, int n) {
    float *g = m.at(block, channel, y);
    const float *z = a.activation != NONE ? a.z.at(block, channel, y) : g;
    row_mask<WIDEST>(g, z, sums ? a.y.at(block, channel, y) : nullptr, center, n, a.activation, s);
  });
  if (!sums) return;
  sums[0] = sums[1] = 0;
  for (int i = 0; i < WIDEST; i++) {
    sums[0] += s[i];
    sums[1] += s[WIDEST + i];
  }
}

template <int W> void few_norm_backward(const NormBackward &a, int block, int channel, int lanes) {
  if (!a.accumulate) clear_halo<W>(a.out, block, channel);
  const float k = a.scale[channel], b = a.slope[channel], c = a.shift[channel];
  const auto mask = period_mask<WIDEST>(a.out.lanes, lanes);
  each_run(a.out, solid(a.out) && solid(a.gradient) && solid(a.y), [&](int r, int n) {
    float *out = a.out.at(block, channel, r);
    const float *g = a.gradient.at(block, channel, r), *y = a.y.at(block, channel, r);
    each_vector<WIDEST>(n, [&](auto width, int i) {
      constexpr int N = decltype(width)::value;
      auto v = fill<N>(k) * load<N>(g + i) + (fill<N>(b) * load<N>(y + i) + fill<N>(c));
      v = real_only<N>(v, (const float *)&mask, i);
      store<N>(out + i, a.accumulate ? load<N>(out + i) + v : v);
    });
  });
}

// Sum and sum of squares of the real lanes.
void few_sums(const Map &y, int block, int channel, int lanes, double *sums) {
  alignas(64) float s[2 * WIDEST] = {};
  each_run(y, solid(y), [&](int r, int n) { row_sums<WIDEST>(y.at(block, channel, r), n, s); });
  sums[0] = sums[1] = 0;
  for (int i = 0; i < WIDEST; i++)
    if (i % y.lanes < lanes) {
      sums[0] += s[i];
      sums[1] += s[WIDEST + i];
    }
}

template <int W> void few_pool_forward(const Pool2d &p, int block, int channel, int lanes) {
  const bool global = !p.maximum && p.out.height * p.out.width == 1 && !p.pad_h && !p.pad_w &&
                      p.kernel_h == p.in.height && p.kernel_w == p.in.width;
  if (is_2x2_maximum(p)) return few_maximum<W>(p, block, channel, lanes);
  if (!global) return pool_forward<W>(p, block, channel, lanes);
  alignas(64) float s[WIDEST] = {};
  each_run(p.in, solid(p.in), [&](int y, int n) {
    const float *v = p.in.at(block, channel, y);
    each_vector<WIDEST>(n, [&](auto width, int i) {
      constexpr int N = decltype(width)::value;
      store<N>(s + i % WIDEST, load<N>(s + i % WIDEST) + load<N>(v + i));
    });
  });
  clear_halo<W>(p.out, block, channel);
  const float count = 1.f / (p.kernel_h * p.kernel_w);
  float *out = p.out.at(block, channel);
  for (int l = 0; l < W; l++) {
    float total = 0;
    for (int i = l; i < WIDEST; i += W) total += s[i];
    out[l] = l < lanes ? total * count : 0.f;
  }
}

} // namespace
} // namespace edgecl
