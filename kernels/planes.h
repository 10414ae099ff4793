// Planes of depthwise convolutions of one or two lanes, several in a call (depth_plane.cpp). Included by isa.cpp only.
#pragma once
#include "rows.h"

namespace edgecl {
namespace {

// A plane into `to` [height][width][lanes].
template <int W> void read_plane(const Source &s, int block, int channel, float *to, int real) {
  const Map &m = s.a;
  if (m.columns == m.width && (!s.b.data || s.b.columns == m.width))
    return read<W>(s, block, channel, 0, 0, m.height * m.width, to, real);
  for (int y = 0; y < m.height; y++) read<W>(s, block, channel, y, 0, m.width, to + (size_t)y * m.width * m.lanes, real);
}

// out = init + sum of weights[t] * the n floats from in + starts[taps[t]] on.
template <int W, int P>
EDGECL_INLINE int plane_taps_by(float *out, float init, const float *in, const ptrdiff_t *starts, const int *taps,
                                const float *weights, int count, int n, int first) {
  for (; first + P * W <= n; first += P * W) {
    typename Vec<W>::type a[P];
#pragma GCC unroll 8
    for (int j = 0; j < P; j++) a[j] = fill<W>(init);
    for (int t = 0; t < count; t++) {
      const float *p = in + starts[taps[t]] + first;
      const auto w = fill<W>(weights[t]);
#pragma GCC unroll 8
      for (int j = 0; j < P; j++) a[j] += w * load<W>(p + j * W);
    }
#pragma GCC unroll 8
    for (int j = 0; j < P; j++) store<W>(out + first + j * W, a[j]);
  }
  return first;
}

// Step by step over all planes, not plane by plane: what was just stored is slow to load across the borders of stores.
template <int W> void depth_planes(const Source &x, const DepthPlanes &d) {
  const auto copy = [&](int plane, int column) { return d.data + (size_t)(plane * d.columns + column) * d.size + d.margin; };
  for (int i = 0; i < d.count; i++) read_plane<W>(x, d.block, d.channel + i, copy(i, d.middle), d.real);
  for (int i = 0; i < d.count; i++)
    for (int c = 0; c < d.columns; c++)
      if (c != d.middle) keep<W>(copy(i, c), copy(i, d.middle) + d.shift[c], d.keep + (size_t)c * d.n, d.n);
  for (int i = 0; i < d.count; i++) {
    const int k = d.pointers[d.channel + i], count = d.pointers[d.channel + i + 1] - k;
    const float *in = d.data + (size_t)i * d.columns * d.size, *weights = d.weights + k;
    const int *taps = d.taps + k;
    const float init = d.bias ? d.bias[d.channel + i] : 0.f;
    float *out = d.out + i * d.out_plane;
    int first = EDGECL_LARGEST_TILE >= 16 ? plane_taps_by<W, 8>(out, init, in, d.starts, taps, weights, count, d.n, 0) : 0;
    first = plane_taps_by<W, 4>(out, init, in, d.starts, taps, weights, count, d.n, first);
    each_vector<W>(
        d.n,
        [&](auto width, int at) {
          plane_taps_by<decltype(width)::value, 1>(out, init, in, d.starts, taps, weights, count,
                                                   at + decltype(width)::value, at);
        },
        first);
  }
}

} // namespace
} // namespace edgecl
