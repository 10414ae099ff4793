#include <algorithm>
#include <cmath>
#include <cstring>

#include "network.h"

namespace edgecl {

namespace {

constexpr int64_t GROUP = 1 << 19;  // elements of the layers stepped together
constexpr int64_t CHUNK = 32768; // elements of one work item: large layers come last and would leave a thread alone

// Items of several arrays, cut into chunks.
struct Chunk {
  int array;
  int64_t first, last;
};

// Makes zero the gradients around elements [first, last) of a parameter's subset: all of them, chunk after chunk.
void clear_between(const Parameter &p, int64_t first, int64_t last) {
  const int64_t from = first ? p.subset[first] : 0, to = last < p.subset_count ? p.subset[last] : p.count;
  std::memset(p.gradients + from, 0, (to - from) * sizeof(float));
}

void add_chunks(std::vector<Chunk> &chunks, int array, int64_t count) {
  for (int64_t i = 0; i < count; i += CHUNK) chunks.push_back({array, i, std::min(count, i + CHUNK)});
}

} // namespace

void sgd(const Parameter &p, const Optimizer &o, float lr, int64_t first, int64_t last) {
  float *__restrict values = p.values, *__restrict moment = p.moment1, *__restrict gradients = p.gradients;
  const float decay = o.weight_decay, momentum = o.momentum; // copies: stores could change what they alias
  auto one = [&](int64_t i) {
    float g = gradients[i] + decay * values[i];
    if (moment) g = moment[i] = momentum * moment[i] + g;
    values[i] -= lr * g;
    gradients[i] = 0;
  };
  if (p.subset) {
    for (int64_t k = first; k < last; k++) one(p.subset[k]);
    clear_between(p, first, last);
  } else {
    for (int64_t i = first; i < last; i++) one(i);
  }
}

void adam(const Parameter &p, const Optimizer &o, float lr, int64_t count, int64_t first, int64_t last) {
  const double c1 = 1 - std::pow(o.beta1, (double)count), c2 = 1 - std::pow(o.beta2, (double)count);
  const float step = (float)(lr / c1), root = (float)std::sqrt(c2), epsilon = (float)o.epsilon;
  const float a1 = (float)(1 - o.beta1), b2 = (float)o.beta2, a2 = (float)(1 - o.beta2);
  auto one = [&](int64_t i) {
    const float g = p.gradients[i] + o.weight_decay * p.values[i];
    const float m = p.moment1[i] += a1 * (g - p.moment1[i]);
    const float v = p.moment2[i] = b2 * p.moment2[i] + a2 * (g * g);
    p.values[i] -= step * m / (std::sqrt(v) / root + epsilon);
    p.gradients[i] = 0;
  };
  if (p.subset) {
    for (int64_t k = first; k < last; k++) one(p.subset[k]);
    clear_between(p, first, last);
  } else {
    for (int64_t i = first; i < last; i++) one(i);
  }
}

void Network::step(float lr, const std::vector<int64_t> &adam_counts) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  auto still = [](const Parameter &p) { return p.frozen || (p.subset && !p.subset_count); };
  // A few layers at a time: their lists are refreshed while the new values are in the cache.
  for (size_t i = 0; i < parameters.size();) {
    std::vector<Chunk> chunks;
    std::vector<Weight *> changed;
    for (int64_t elements = 0; i < parameters.size() && elements < GROUP; i++) {
      const Parameter &p = parameters[i];
      add_chunks(chunks, (int)i, p.subset && !still(p) ? p.subset_count : p.count);
      elements += p.count;
      for (auto &w : weights)
        if (w->values == p.values && !still(p)) changed.push_back(w.get());
    }
    threads.run((int)chunks.size(), [&](int item, int) {
      const Chunk &c = chunks[item];
      const Parameter &p = parameters[c.array];
      if (still(p)) {
        std::memset(p.gradients + c.first, 0, (c.last - c.first) * sizeof(float));
        return;
      }
      optimizer.adam ? adam(p, optimizer, lr, adam_counts[c.array], c.first, c.last)
                     : sgd(p, optimizer, lr, c.first, c.last);
    });
    refresh_lists(changed);
  }
  for (auto &n : norms) n->commit();
}

void Network::refresh() {
  std::unique_lock<std::shared_mutex> lock(mutex);
  std::vector<Weight *> all;
  for (auto &w : weights) all.push_back(w.get());
  refresh_lists(all);
}

void Network::refresh_lists(const std::vector<Weight *> &some) {
  std::vector<std::pair<Lists *, const float *>> lists;
  std::vector<Chunk> chunks;
  for (Weight *w : some) {
    if (w->direct) {
      w->refresh();
      continue;
    }
    auto add = [&](Lists &l) {
      const int n = (int)l.values.size(), array = (int)lists.size();
      for (int first = 0, cell = 0; first < n; first += CHUNK) { // whole cells
        const auto end = std::lower_bound(l.pointers.begin(), l.pointers.end(), std::min<int64_t>(n, first + CHUNK));
        const int next = (int)(end - l.pointers.begin());
        if (next > cell) chunks.push_back({array, cell, next});
        cell = next;
      }
      lists.push_back({&l, w->values});
    };
    add(w->forward);
    for (Lists &l : w->backward) add(l);
  }
  threads.run((int)chunks.size(), [&](int item, int) {
    const Chunk &c = chunks[item];
    lists[c.array].first->refresh(lists[c.array].second, (int)c.first, (int)c.last);
  });
}

} // namespace edgecl
