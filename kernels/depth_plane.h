// Depthwise convolutions of few lanes, a whole plane at a time (depth_plane.cpp), and what they share with depth.cpp.
#pragma once
#include "depth.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace edgecl {

// Small planes of few lanes whose output positions are input positions, all or every stride-th: same-size kernels.
bool by_planes(const Geometry &, const Map &x, const Map &y);

void plane_forward(Threads &, const Geometry &, const Lists &, const Source &x, const Map &y,
                   const float *bias, const Samples &, Partials *sums);
void plane_backward(Threads &, const Geometry &, const Lists &, const Source &x, const Source &dy,
                    const Samples &, const Backward &);

// Where each entry of a depthwise convolution's lists, one a channel, sits in the kernel.
struct Taps {
  const Lists &lists;
  std::vector<short> row, column; // of each tap
  Taps(const Lists &l, const Geometry &g) : lists(l) {
    for (int t = 0; t < g.kernel_h * g.kernel_w; t++) {
      row.push_back((short)(t / g.kernel_w));
      column.push_back((short)(t % g.kernel_w));
    }
  }
  int tap(int k) const { return lists.offsets[k]; }
  int ky(int k) const { return row[tap(k)]; }
  int kx(int k) const { return column[tap(k)]; }
  int begin(int channel) const { return lists.pointers[channel]; }
  int end(int channel) const { return lists.pointers[channel + 1]; }
};

// Floats from a cache line on: vectors that straddle two lines cost twice.
template <class T> struct LineAllocator {
  typedef T value_type;
  LineAllocator() = default;
  template <class U> LineAllocator(const LineAllocator<U> &) {}
  T *allocate(size_t n) { return (T *)::operator new(n * sizeof(T), std::align_val_t(64)); }
  void deallocate(T *p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const LineAllocator &) const { return true; }
  bool operator!=(const LineAllocator &) const { return false; }
};
typedef std::vector<float, LineAllocator<float>> Line;

template <class F> void each_channel(Threads &threads, int blocks, int channels, const F &f) {
  const int planes = blocks * channels, items = std::min(planes, threads.count() == 1 ? 1 : 32);
  threads.run(items, [&](int item, int) {
    f((int)((long)planes * item / items), (int)((long)planes * (item + 1) / items));
  });
}

inline double lane_total(const float *v, int width, int lanes, int real) {
  double s = 0;
  for (int i = 0; i < width; i += lanes)
    for (int l = 0; l < real; l++) s += v[i + l];
  return s;
}

// The two sums of a plane that a norm wants: in float over a few rows, in double over all of them. A variance is the
// difference of two sums, so in one float chain over a plane it loses what the mean is larger than it.
struct PlaneSums {
  alignas(64) float row[2 * 16] = {}; // where row kernels add
  double total[2 * 16] = {};
  int rows = 0;
  void end_row() {
    if (++rows % 8 == 0) flush();
  }
  void store(int width, int lanes, int real, double *out) {
    flush();
    for (int which = 0; which < 2; which++) {
      double s = 0;
      for (int i = 0; i < width; i += lanes)
        for (int l = 0; l < real; l++) s += total[which * width + i + l];
      out[which] = s;
    }
  }

private:
  void flush() {
    for (int i = 0; i < 2 * 16; i++) {
      total[i] += row[i];
      row[i] = 0;
    }
  }
};

// gradients += totals [blocks][entries], block by block.
inline void add_totals(const Lists &l, std::vector<float> &totals, int blocks, float *gradients) {
  const size_t entries = l.offsets.size();
  for (int b = 1; b < blocks; b++)
    for (size_t e = 0; e < entries; e++) totals[e] += totals[b * entries + e];
  l.add(gradients, totals.data(), 0, (int64_t)entries);
}

} // namespace edgecl
