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
  const double c1 = 1 - std::pow((double)o.beta1, (double)count), c2 = 1 - std::pow((double)o.beta2, (double)count);
  const float step = (float)(lr / c1), root = (float)(1 / std::sqrt(c2));
  auto one = [&](int64_t i) {
    const float g = p.gradients[i] + o.weight_decay * p.values[i];
    p.moment1[i] = o.beta1 * p.moment1[i] + (1 - o.beta1) * g;
    p.moment2[i] = o.beta2 * p.moment2[i] + (1 - o.beta2) * g * g;
    p.values[i] -= step * p.moment1[i] / (std::sqrt(p.moment2[i]) * root + o.epsilon);
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
