#include "reference.h"

#include <vector>

namespace edgecl {
namespace {

// Calls f(y index, x index, weight index) for every multiply of the convolution that hits the image.
template <class F> void each_product(const Geometry &g, int n, int h, int w, const F &f) {
  const int oh = (h + 2 * g.pad_h - g.kernel_h) / g.stride_h + 1, ow = (w + 2 * g.pad_w - g.kernel_w) / g.stride_w + 1;
  for (int b = 0; b < n; b++)
    for (int o = 0; o < g.out; o++)
      for (int i = 0; i < g.group_in(); i++)
        for (int ky = 0; ky < g.kernel_h; ky++)
          for (int kx = 0; kx < g.kernel_w; kx++)
            for (int y = 0; y < oh; y++)
              for (int x = 0; x < ow; x++) {
                const int iy = y * g.stride_h + ky - g.pad_h, ix = x * g.stride_w + kx - g.pad_w;
                if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
                const int c = o / g.group_out() * g.group_in() + i;
                f((((int64_t)b * g.out + o) * oh + y) * ow + x, (((int64_t)b * g.in + c) * h + iy) * w + ix,
                  (((int64_t)o * g.group_in() + i) * g.kernel_h + ky) * g.kernel_w + kx);
              }
}

void store(const std::vector<double> &from, float *to) {
  for (size_t i = 0; i < from.size(); i++) to[i] = (float)from[i];
}

} // namespace

void reference_conv_forward(const Geometry &g, int n, int h, int w, const float *x, const float *weight, float *y) {
  const int oh = (h + 2 * g.pad_h - g.kernel_h) / g.stride_h + 1, ow = (w + 2 * g.pad_w - g.kernel_w) / g.stride_w + 1;
  std::vector<double> sums((size_t)n * g.out * oh * ow, 0.0);
  each_product(g, n, h, w, [&](int64_t iy, int64_t ix, int64_t iw) { sums[iy] += (double)weight[iw] * x[ix]; });
  store(sums, y);
}

void reference_conv_backward(const Geometry &g, int n, int h, int w, const float *x, const float *weight,
                             const float *dy, float *dx, float *dweight) {
  std::vector<double> a((size_t)n * g.in * h * w, 0.0), b(g.size(), 0.0);
  each_product(g, n, h, w, [&](int64_t iy, int64_t ix, int64_t iw) {
    a[ix] += (double)weight[iw] * dy[iy];
    b[iw] += (double)dy[iy] * x[ix];
  });
  store(a, dx);
  store(b, dweight);
}

} // namespace edgecl
