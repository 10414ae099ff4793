#include <cmath>

#include "network.h"

namespace edgecl {

void sgd(const Parameter &p, const Optimizer &o, float lr) {
  auto one = [&](int64_t i) {
    float g = p.gradients[i] + o.weight_decay * p.values[i];
    if (p.moment1) g = p.moment1[i] = o.momentum * p.moment1[i] + g;
    p.values[i] -= lr * g;
  };
  if (p.subset)
    for (int64_t k = 0; k < p.subset_count; k++) one(p.subset[k]);
  else
    for (int64_t i = 0; i < p.count; i++) one(i);
}

void adam(const Parameter &p, const Optimizer &o, float lr, int64_t count) {
  const double c1 = 1 - std::pow(o.beta1, (double)count), c2 = 1 - std::pow(o.beta2, (double)count);
  const float step = (float)(lr / c1), root = (float)std::sqrt(c2), epsilon = (float)o.epsilon;
  const float a1 = (float)(1 - o.beta1), b2 = (float)o.beta2, a2 = (float)(1 - o.beta2);
  auto one = [&](int64_t i) {
    const float g = p.gradients[i] + o.weight_decay * p.values[i];
    const float m = p.moment1[i] += a1 * (g - p.moment1[i]);
    const float v = p.moment2[i] = b2 * p.moment2[i] + a2 * (g * g);
    p.values[i] -= step * m / (std::sqrt(v) / root + epsilon);
  };
  if (p.subset)
    for (int64_t k = 0; k < p.subset_count; k++) one(p.subset[k]);
  else
    for (int64_t i = 0; i < p.count; i++) one(i);
}

void Network::step(float lr, const std::vector<int64_t> &adam_counts) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  threads.run((int)parameters.size(), [&](int i, int) {
    const Parameter &p = parameters[i];
    if (p.frozen) return;
    optimizer.adam ? adam(p, optimizer, lr, adam_counts[i]) : sgd(p, optimizer, lr);
  });
  for (auto &n : norms) n->commit();
  threads.run((int)weights.size(), [&](int i, int) { weights[i]->refresh(); });
}

} // namespace edgecl
