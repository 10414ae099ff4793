// Kernels on whole planes: normalisation, activation, addition, pooling. Included by isa.cpp only.
// All are bound by memory: one pass each, halo and padded lanes written as zero by whoever writes the plane.
#pragma once
#include <cmath>
#include <cstring>

#include "conv.h"

namespace edgecl {
namespace {

template <int W> EDGECL_INLINE typename Vec<W>::type lane_mask(int lanes) {
  typename Vec<W>::type m{};
  for (int i = 0; i < W; i++) m[i] = i < lanes ? 1.f : 0.f;
  return m;
}

// Padded lanes may hold anything (NaN included), so they are chosen away, not multiplied away.
template <int W, class V> EDGECL_INLINE V keep_lanes(V v, V m) { return m > V{} ? v : V{}; }

template <int W> void clear_halo(const Map &m, int block, int channel) {
  if (!m.halo()) return;
  float *p = m.data + (block * m.block() + channel * m.plane()) * W;
  const size_t row = (size_t)m.columns * W, left = (size_t)m.left * W, inner = (size_t)m.width * W;
  std::memset(p, 0, m.top * row * 4);
  p += m.top * row;
  for (int y = 0; y < m.height && m.columns != m.width; y++) {
    std::memset(p + y * row, 0, left * 4);
    std::memset(p + y * row + left + inner, 0, (row - left - inner) * 4);
  }
  std::memset(p + m.height * row, 0, (m.rows - m.top - m.height) * row * 4);
}

// Vectors of whole float32 and of bfloat16 as bits; maps are read and written through the aliasing types.
template <int W> struct Bits {
  typedef unsigned int word __attribute__((vector_size(W * 4)));
  typedef unsigned short half __attribute__((vector_size(W * 2)));
  typedef word words __attribute__((may_alias));
  typedef half halves __attribute__((may_alias));
};

// bfloat16 is the upper half of a float32: adding half of the last kept bit, and a little more where that bit is odd,
// rounds to the nearest, ties to even. A quiet NaN stays one. Integer arithmetic only, the same on every processor.
template <int W> void save(const Map &m, const Map &saved, int block, int channel) {
  typedef typename Bits<W>::word Word;
  typedef typename Bits<W>::half Half;
  auto *to = (typename Bits<W>::halves *)saved.data + block * saved.block() + channel * saved.plane();
  for (int y = 0; y < m.height; y++, to += m.width) {
    auto *from = (const typename Bits<W>::words *)m.at(block, channel, y);
    for (int x = 0; x < m.width; x++) {
      const Word u = from[x], rounded = u + 0x7fff + ((u >> 16) & 1);
      const Word number = (Word)((u & 0x7fffffff) <= 0x7f800000);
      const Word v = ((rounded & number) | ((u | 0x400000) & ~number)) >> 16;
      to[x] = __builtin_convertvector(v, Half);
    }
  }
}

template <int W> void restore(const Map &saved, const Map &m, int block, int channel) {
  typedef typename Bits<W>::word Word;
  typedef typename Bits<W>::half Half;
  auto *from = (const typename Bits<W>::halves *)saved.data + block * saved.block() + channel * saved.plane();
  clear_halo<W>(m, block, channel);
  for (int y = 0; y < m.height; y++, from += m.width) {
    auto *to = (typename Bits<W>::words *)m.at(block, channel, y);
    for (int x = 0; x < m.width; x++) {
      const Half h = from[x];
      to[x] = __builtin_convertvector(h, Word) << 16;
    }
  }
}

template <int W> void plane_sums(const Map &y, int block, int channel, int lanes, double *sums) {
  typedef typename Vec<W>::type V;
  double total = 0, squares = 0;
  for (int r = 0; r < y.height; r++) {
    const V *p = (const V *)y.at(block, channel, r);
    V s{}, q{};
    for (int c = 0; c < y.width; c++) {
      s += p[c];
      q += p[c] * p[c];
    }
    total += horizontal_sum<W>(s, lanes);
    squares += horizontal_sum<W>(q, lanes);
  }
  sums[0] = total;
  sums[1] = squares;
}

template <int W, int TERMS, bool FULL> void affine_rows(const Affine &a, int block, int channel, int lanes) {
  typedef typename Vec<W>::type V;
  const float shift = (a.shift1 ? a.shift1[channel] : 0.f) + (TERMS == 2 && a.shift2 ? a.shift2[channel] : 0.f);
  const V s1 = splat<V>(a.scale1 ? a.scale1[channel] : 1.f), h = splat<V>(shift);
  const V s2 = splat<V>(TERMS == 2 && a.scale2 ? a.scale2[channel] : 1.f);
  const V m = lane_mask<W>(lanes);
  for (int r = 0; r < a.out.height; r++) {
    V *out = (V *)a.out.at(block, channel, r);
    const V *x = (const V *)a.a.at(block, channel, r);
    const V *x2 = TERMS == 2 ? (const V *)a.b.at(block, channel, r) : nullptr;
    for (int c = 0; c < a.out.width; c++) {
      V v = x[c] * s1 + h;
      if (TERMS == 2) v += x2[c] * s2;
      v = activate(v, a.activation);
      out[c] = FULL ? v : keep_lanes<W>(v, m);
    }
  }
}

template <int W> void affine(const Affine &a, int block, int channel, int lanes) {
  clear_halo<W>(a.out, block, channel);
  if (lanes == W)
    a.b.data ? affine_rows<W, 2, true>(a, block, channel, lanes) : affine_rows<W, 1, true>(a, block, channel, lanes);
  else
    a.b.data ? affine_rows<W, 2, false>(a, block, channel, lanes) : affine_rows<W, 1, false>(a, block, channel, lanes);
}

template <int W> void mask(const Mask &a, int block, int channel, double *sums) {
  typedef typename Vec<W>::type V;
  double total = 0, products = 0;
  const V center = splat<V>(a.center ? a.center[channel] : 0.f);
  for (int r = 0; r < a.gradient.height; r++) {
    V *g = (V *)a.gradient.at(block, channel, r);
    if (a.activation != NONE) {
      const V *z = (const V *)a.z.at(block, channel, r);
      for (int c = 0; c < a.gradient.width; c++) g[c] = activation_gradient(g[c], z[c], a.activation);
    }
    if (sums) {
      const V *y = (const V *)a.y.at(block, channel, r);
      V s{}, q{};
      for (int c = 0; c < a.gradient.width; c++) {
        s += g[c];
        q += g[c] * (y[c] - center);
      }
      total += horizontal_sum<W>(s);
      products += horizontal_sum<W>(q);
    }
  }
  if (sums) {
    sums[0] = total;
    sums[1] = products;
  }
}

template <int W> void norm_backward(const NormBackward &a, int block, int channel, int lanes) {
  typedef typename Vec<W>::type V;
  const V k = splat<V>(a.scale[channel]), b = splat<V>(a.slope[channel]), c0 = splat<V>(a.shift[channel]);
  const V m = lane_mask<W>(lanes);
  if (!a.accumulate) clear_halo<W>(a.out, block, channel);
  for (int r = 0; r < a.out.height; r++) {
    V *out = (V *)a.out.at(block, channel, r);
    const V *g = (const V *)a.gradient.at(block, channel, r);
    const V *y = (const V *)a.y.at(block, channel, r);
    if (lanes == W && !a.accumulate) {
      for (int c = 0; c < a.out.width; c++) out[c] = k * g[c] + (b * y[c] + c0);
    } else {
      for (int c = 0; c < a.out.width; c++) {
        V v = keep_lanes<W>(k * g[c] + (b * y[c] + c0), m);
        out[c] = a.accumulate ? out[c] + v : v;
      }
    }
  }
}

template <int W>
void copy(const Map &dst, const Map &src, const Map *factor, int block, int channel, int lanes, bool accumulate) {
  typedef typename Vec<W>::type V;
  const V m = lane_mask<W>(lanes);
  if (!accumulate) clear_halo<W>(dst, block, channel);
  // A flattened map is read channel by channel: channel = (c * height + y) * width + x of the source, or back.
  for (int r = 0; r < dst.height; r++) {
    V *out = (V *)dst.at(block, channel, r);
    for (int c = 0; c < dst.width; c++) {
      const V *in;
      if (src.channels == dst.channels) {
        in = (const V *)src.at(block, channel, r, c);
      } else if (dst.height * dst.width == 1) {
        const int hw = src.height * src.width, p = channel % hw;
        in = (const V *)src.at(block, channel / hw, p / src.width, p % src.width);
      } else {
        in = (const V *)src.at(block, (channel * dst.height + r) * dst.width + c);
      }
      V v = *in;
      if (factor) v *= *(const V *)factor->at(block, channel, r, c);
      v = keep_lanes<W>(v, m);
      out[c] = accumulate ? out[c] + v : v;
    }
  }
}

// Maximum or sum of a window of `in`.
template <int W>
EDGECL_INLINE typename Vec<W>::type pool_window(const Pool2d &p, const Map &in, int block, int channel, int oy, int ox) {
  typedef typename Vec<W>::type V;
  V v = p.maximum ? splat<V>(-INFINITY) : V{};
  for (int ky = 0; ky < p.kernel_h; ky++)
    for (int kx = 0; kx < p.kernel_w; kx++) {
      const int y = oy * p.stride_h + ky - p.pad_h, x = ox * p.stride_w + kx - p.pad_w;
      if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;
      const V t = *(const V *)in.at(block, channel, y, x);
      v = p.maximum ? (t > v ? t : v) : v + t;
    }
  return v;
}

template <int W> void pool_forward(const Pool2d &p, int block, int channel, int lanes) {
  typedef typename Vec<W>::type V;
  const V m = lane_mask<W>(lanes);
  const float count = 1.f / (p.kernel_h * p.kernel_w);
  clear_halo<W>(p.out, block, channel);
  if (!p.maximum && p.out.height * p.out.width == 1 && !p.pad_h && !p.pad_w) { // of the whole plane
    V v{};
    for (int y = 0; y < p.kernel_h; y++) {
      const V *row = (const V *)p.in.at(block, channel, y);
      V sum{};
      for (int x = 0; x < p.kernel_w; x++) sum += row[x];
      v += sum;
    }
    *(V *)p.out.at(block, channel) = keep_lanes<W>(v * splat<V>(count), m);
    return;
  }
  for (int oy = 0; oy < p.out.height; oy++)
    for (int ox = 0; ox < p.out.width; ox++) {
      V v = pool_window<W>(p, p.in, block, channel, oy, ox);
      if (!p.maximum) v *= splat<V>(count);
      *(V *)p.out.at(block, channel, oy, ox) = keep_lanes<W>(v, m);
    }
}

template <int W> void clear_plane(const Map &m, int block, int channel) {
  clear_halo<W>(m, block, channel);
  for (int y = 0; y < m.height; y++) std::memset(m.at(block, channel, y), 0, (size_t)m.width * W * 4);
}

// Max pooling sends the gradient to the first maximum in (ky, kx) order, as torch does.
template <int W> void pool_backward(const Pool2d &p, int block, int channel) {
  typedef typename Vec<W>::type V;
  const float count = 1.f / (p.kernel_h * p.kernel_w);
  if (!p.accumulate) clear_plane<W>(p.in, block, channel);
  for (int oy = 0; oy < p.out.height; oy++)
    for (int ox = 0; ox < p.out.width; ox++) {
      const V g = *(const V *)p.out.at(block, channel, oy, ox);
      V open = splat<V>(1.f);
      const V top = p.maximum ? pool_window<W>(p, *p.kept_in, block, channel, oy, ox) : V{};
      for (int ky = 0; ky < p.kernel_h; ky++)
        for (int kx = 0; kx < p.kernel_w; kx++) {
          const int y = oy * p.stride_h + ky - p.pad_h, x = ox * p.stride_w + kx - p.pad_w;
          if (y < 0 || y >= p.in.height || x < 0 || x >= p.in.width) continue;
          V *d = (V *)p.in.at(block, channel, y, x);
          if (p.maximum) {
            const V t = *(const V *)p.kept_in->at(block, channel, y, x);
            const V hit = t == top ? open : V{};
            *d += hit * g;
            open -= hit;
          } else {
            *d += g * splat<V>(count);
          }
        }
    }
}

// Per sample and group; the lanes are samples, so nothing is summed across lanes. mean, rstd: [lanes].
template <int W>
void group_norm_forward(const Map &out, const Map &in, int block, int group, int groups, const float *scale,
                        const float *shift, float epsilon, float *mean, float *rstd, int lanes) {
  typedef typename Vec<W>::type V;
  const int per = in.channels / groups, c0 = group * per;
  const float count = 1.f / ((float)per * in.height * in.width);
  V s{}, m = lane_mask<W>(lanes);
  for (int c = c0; c < c0 + per; c++)
    for (int y = 0; y < in.height; y++) {
      const V *p = (const V *)in.at(block, c, y);
      V row{};
      for (int x = 0; x < in.width; x++) row += p[x];
      s += row;
    }
  const V mu = keep_lanes<W>(s * splat<V>(count), m);
  V q{};
  for (int c = c0; c < c0 + per; c++)
    for (int y = 0; y < in.height; y++) {
      const V *p = (const V *)in.at(block, c, y);
      V row{};
      for (int x = 0; x < in.width; x++) row += (p[x] - mu) * (p[x] - mu);
      q += row;
    }
  V r{};
  for (int i = 0; i < W; i++) r[i] = i < lanes ? 1.f / std::sqrt(q[i] * count + epsilon) : 0.f;
  *(V *)mean = mu;
  *(V *)rstd = r;
  for (int c = c0; c < c0 + per; c++) {
    clear_halo<W>(out, block, c);
    const V a = r * splat<V>(scale[c]), h = splat<V>(shift[c]);
    for (int y = 0; y < in.height; y++) {
      const V *p = (const V *)in.at(block, c, y);
      V *o = (V *)out.at(block, c, y);
      for (int x = 0; x < in.width; x++) o[x] = keep_lanes<W>((p[x] - mu) * a + h, m);
    }
  }
}

template <int W>
void group_norm_backward(const Map &dx, const Map &dy, const Map &in, int block, int group, int groups,
                         const float *scale, const float *mean, const float *rstd, double *dscale, double *dshift,
                         int lanes, bool accumulate) {
  typedef typename Vec<W>::type V;
  const int per = in.channels / groups, c0 = group * per;
  const float count = 1.f / ((float)per * in.height * in.width);
  const V mu = *(const V *)mean, r = *(const V *)rstd, m = lane_mask<W>(lanes);
  V s1{}, s2{};
  for (int c = c0; c < c0 + per; c++) {
    V a{}, b{};
    for (int y = 0; y < in.height; y++) {
      const V *p = (const V *)in.at(block, c, y), *g = (const V *)dy.at(block, c, y);
      V ra{}, rb{};
      for (int x = 0; x < in.width; x++) {
        const V d = keep_lanes<W>(g[x], m);
        ra += d;
        rb += d * ((p[x] - mu) * r);
      }
      a += ra;
      b += rb;
    }
    b = keep_lanes<W>(b, m);
    dshift[c] = horizontal_sum<W>(a);
    dscale[c] = horizontal_sum<W>(b);
    s1 += a * splat<V>(scale[c]);
    s2 += b * splat<V>(scale[c]);
  }
  s1 *= splat<V>(count);
  s2 *= splat<V>(count);
  for (int c = c0; c < c0 + per; c++) {
    if (!accumulate) clear_halo<W>(dx, block, c);
    const V k = splat<V>(scale[c]);
    for (int y = 0; y < in.height; y++) {
      const V *p = (const V *)in.at(block, c, y), *g = (const V *)dy.at(block, c, y);
      V *o = (V *)dx.at(block, c, y);
      for (int x = 0; x < in.width; x++) {
        const V n = (p[x] - mu) * r;
        const V v = keep_lanes<W>(r * (g[x] * k - s1 - n * s2), m);
        o[x] = accumulate ? o[x] + v : v;
      }
    }
  }
}

} // namespace
} // namespace edgecl
