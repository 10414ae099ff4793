// 2x2 maximum of windows that neither overlap nor reach beyond the map, for 1 or 2 lanes: loops over a row that the
// compiler fills its vectors with. The bits of maps.h. Included by isa.cpp only.
#pragma once
#include "maps.h"

namespace edgecl {
namespace {

inline bool is_2x2_maximum(const Pool2d &p) {
  return p.maximum && p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 && !p.pad_h && !p.pad_w &&
         2 * p.out.height <= p.in.height && 2 * p.out.width <= p.in.width; // no window reaches over the edge
}

EDGECL_INLINE float larger(float a, float b) { return b > a ? b : a; }

template <int W> EDGECL_INLINE float maximum_2x2(const float *top, const float *bottom, int at) {
  return larger(larger(larger(larger(-INFINITY, top[at]), top[at + W]), bottom[at]), bottom[at + W]);
}

template <int W> void maximum_row(float *__restrict out, const float *__restrict top, const float *__restrict bottom, int n) {
  for (int i = 0; i < n; i++)
    for (int l = 0; l < W; l++) out[i * W + l] = maximum_2x2<W>(top, bottom, 2 * i * W + l);
}

// Adds the gradient of a row of windows to the two rows they lie in.
template <int W>
void maximum_row_backward(float *__restrict d_top, float *__restrict d_bottom, const float *__restrict top,
                          const float *__restrict bottom, const float *__restrict gradient, int n) {
  for (int i = 0; i < n; i++)
    for (int l = 0; l < W; l++) {
      const int at = 2 * i * W + l;
      const float m = maximum_2x2<W>(top, bottom, at), g = gradient[i * W + l];
      float open = 1.f, hit = top[at] == m ? open : 0.f;
      d_top[at] += hit * g;
      open -= hit;
      hit = top[at + W] == m ? open : 0.f;
      d_top[at + W] += hit * g;
      open -= hit;
      hit = bottom[at] == m ? open : 0.f;
      d_bottom[at] += hit * g;
      open -= hit;
      d_bottom[at + W] += (bottom[at + W] == m ? open : 0.f) * g;
    }
}

template <int W> void few_maximum(const Pool2d &p, int block, int channel, int lanes) {
  if (lanes < W) return pool_forward<W>(p, block, channel, lanes);
  clear_halo<W>(p.out, block, channel);
  for (int y = 0; y < p.out.height; y++)
    maximum_row<W>(p.out.at(block, channel, y), p.in.at(block, channel, 2 * y), p.in.at(block, channel, 2 * y + 1),
                   p.out.width);
}

template <int W> void few_pool_backward(const Pool2d &p, int block, int channel) {
  if (!is_2x2_maximum(p)) return pool_backward<W>(p, block, channel);
  if (!p.accumulate) clear_plane<W>(p.in, block, channel);
  const Map &x = *p.kept_in;
  for (int y = 0; y < p.out.height; y++)
    maximum_row_backward<W>(p.in.at(block, channel, 2 * y), p.in.at(block, channel, 2 * y + 1),
                            x.at(block, channel, 2 * y), x.at(block, channel, 2 * y + 1), p.out.at(block, channel, y),
                            p.out.width);
}

} // namespace
} // namespace edgecl
