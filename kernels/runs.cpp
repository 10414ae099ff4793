#include "runs.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace edgecl {

Map run_view(const Map &m, int y, int x) {
  Map r = m;
  r.left = (m.top + y) * m.columns + m.left + x;
  r.columns = m.rows * m.columns;
  r.width = r.columns - r.left;
  r.height = r.rows = 1;
  r.top = 0;
  return r;
}

const float *run_mask(int height, int width, int pitch, int lanes, int vector) {
  thread_local std::map<std::array<int, 5>, std::vector<float>> masks;
  std::vector<float> &m = masks[{height, width, pitch, lanes, vector}];
  if (m.empty()) {
    const int n = run_positions(height, width, pitch) * lanes;
    m.resize((size_t)(n + vector - 1) / vector * vector, 0.f);
    for (int i = 0; i < n; i++) m[i] = i / lanes % pitch < width ? 1.f : 0.f;
  }
  return m.data();
}

namespace {

template <class F> void each_plane(Threads &threads, int planes, const F &f) {
  const int items = std::min(planes, threads.count() == 1 ? 1 : 16);
  threads.run(items, [&](int item, int) {
    for (int p = (int)((long)planes * item / items); p < (int)((long)planes * (item + 1) / items); p++) f(p);
  });
}

// First and past the last c with 0 <= c * stride + shift < size, within [0, columns).
struct Range {
  int first, last;
};
Range inside(int shift, int stride, int size, int columns) {
  const int first = shift < 0 ? (-shift + stride - 1) / stride : 0;
  const int last = size - shift <= 0 ? 0 : (size - shift + stride - 1) / stride;
  return {std::min(first, columns), std::max(std::min(last, columns), std::min(first, columns))};
}

} // namespace

// The common case is spelled out for the compiler's shuffles.
void gather(float *__restrict out, const float *__restrict in, int count, int step, int lanes) {
  if (lanes == 1 && step == 2) {
    for (int i = 0; i < count; i++) out[i] = in[2 * i];
  } else {
    for (int i = 0; i < count; i++)
      for (int l = 0; l < lanes; l++) out[i * lanes + l] = in[(size_t)i * step * lanes + l];
  }
}

void split_phases(Threads &threads, const Geometry &g, const Map &x, const Map &xs, int phase_rows,
                  const Samples &samples) {
  const int lanes = x.lanes, sh = g.stride_h, sw = g.stride_w, ph = std::min(g.kernel_h, sh), pw = std::min(g.kernel_w, sw);
  each_plane(threads, samples.blocks * x.channels, [&](int plane) {
    const int block = plane / x.channels, channel = plane % x.channels;
    float *to = xs.data + (block * xs.block() + channel * xs.plane()) * lanes;
    std::memset(to, 0, xs.plane() * lanes * 4);
    for (int phase = 0; phase < ph * pw; phase++) {
      const int px = phase % pw - g.pad_w;
      const Range c = inside(px, sw, x.width, xs.width);
      for (int r = 0; r < phase_rows; r++) {
        const int y = r * sh + phase / pw - g.pad_h;
        if (y < 0 || y >= x.height || c.first == c.last) continue;
        float *out = to + ((size_t)(phase * phase_rows + r) * xs.columns + c.first) * lanes;
        const float *in = x.at(block, channel, y, c.first * sw + px);
        gather(out, in, c.last - c.first, sw, lanes);
      }
    }
  });
}

void merge_phases(Threads &threads, const Geometry &g, const Map &phases, const Map &dx, int phase_rows,
                  bool accumulate, const Samples &samples) {
  const int lanes = dx.lanes, sh = g.stride_h, sw = g.stride_w;
  each_plane(threads, samples.blocks * dx.channels, [&](int plane) {
    const int block = plane / dx.channels, channel = plane % dx.channels;
    for (int y = 0; y < dx.height; y++)
      for (int px = 0; px < std::min(sw, dx.width); px++) {
        const float *in = phases.at(block, channel, (y % sh * sw + px) * phase_rows + y / sh);
        float *out = dx.at(block, channel, y, px);
        for (int i = 0; px + i * sw < dx.width; i++)
          for (int l = 0; l < lanes; l++) {
            float &o = out[(size_t)i * sw * lanes + l];
            o = accumulate ? o + in[i * lanes + l] : in[i * lanes + l];
          }
      }
  });
}

} // namespace edgecl
