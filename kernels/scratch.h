// Scratch of the pool's workers.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace edgecl {

// Per worker scratch of the given sizes (floats), each aligned to a cache line.
struct Scratch {
  float *base;
  size_t per_worker = 0;
  std::vector<size_t> starts;
  Scratch(std::vector<float> &v, int workers, std::initializer_list<size_t> sizes) {
    for (size_t s : sizes) {
      starts.push_back(per_worker);
      per_worker += (s + 15) / 16 * 16;
    }
    if (v.size() < per_worker * workers + 16) v.resize(per_worker * workers + 16);
    base = (float *)(((uintptr_t)v.data() + 63) & ~(uintptr_t)63);
  }
  float *operator()(int worker, int i) const { return base + per_worker * worker + starts[i]; }
};

} // namespace edgecl
