// Operations of a session that read through normalisations: depthwise and pointwise convolutions.
#include <cstring>

#include "point.h"
#include "program.h"
#include "runs.h"

namespace edgecl {

Source Session::read(int map, int norm, int activation) const {
  Source s{maps_[map], Map(), nullptr, nullptr, nullptr, activation, 0};
  if (norm >= 0) {
    s.scale = scales_[norm].scale.data();
    s.shift = scales_[norm].shift.data();
  }
  return s;
}

Source Session::read_gradient(int map, int norm, int y) const {
  Source s{maps_[map], Map(), nullptr, nullptr, nullptr, NONE, 0};
  if (norm >= 0) {
    const Norm &n = *net_->norms[norm];
    s.b = maps_[y];
    s.scale = n.a.data();
    s.slope = n.b.data();
    s.shift = n.c.data();
  }
  return s;
}

void Session::run_fused(const Operation &op, bool training) {
  const std::vector<int> &a = op.args;
  std::vector<float> &scratch = this->scratch();
  auto partials = [&](int norm) { return norm < 0 ? nullptr : &net_->norms[norm]->partials; };
  switch (op.code) {
  case Code::NORM: {
    using A = args::NORM;
    net_->norms[a[A::norm]]->scales(training ? Norm::From::BATCH : Norm::From::RUNNING, positions(maps_[a[A::y]]),
                                   scales_[a[A::norm]]);
    break;
  }
  case Code::NORM_GRADIENT: {
    using A = args::NORM_GRADIENT;
    net_->norms[a[A::norm]]->backward(positions(maps_[a[A::y]]));
    break;
  }
  case Code::SPLIT: {
    using A = args::SPLIT;
    split_phases(pool(), net_->weights[a[A::weight]]->geometry, maps_[a[A::x]], maps_[a[A::phases]], a[A::rows], samples_);
    break;
  }
  case Code::MERGE: {
    using A = args::MERGE;
    merge_phases(pool(), net_->weights[a[A::weight]]->geometry, maps_[a[A::phases]], maps_[a[A::dx]], a[A::rows],
                 a[A::accumulate] != 0, samples_);
    break;
  }
  case Code::DEPTH:
  case Code::POINT: {
    using A = args::POINT;
    const Weight &w = *net_->weights[a[A::weight]];
    const Source x = read(a[A::x], a[A::norm], a[A::activation]);
    Partials *sums = training ? partials(a[A::stats_norm]) : nullptr;
    if (op.code == Code::DEPTH)
      depth_forward(pool(), w.geometry, w.forward, x, maps_[a[A::y]], w.bias, samples_, sums);
    else
      point_forward(pool(), w.geometry, w.forward, x, maps_[a[A::y]], w.bias, samples_, sums, scratch);
    break;
  }
  case Code::DEPTH_BACKWARD:
  case Code::POINT_BACKWARD: {
    using A = args::POINT_BACKWARD;
    const Weight &w = *net_->weights[a[A::weight]];
    const Source x = read(a[A::x], a[A::norm], a[A::activation]);
    const Source dy = read_gradient(a[A::gradient], a[A::norm_g], a[A::y_g]);
    Backward want;
    if (!w.frozen) {
      want.weights = w.subset ? &w.gradient : &w.forward;
      want.gradients = w.gradients;
    }
    if (a[A::dx] >= 0) want.dx = &maps_[a[A::dx]];
    want.accumulate = a[A::accumulate] != 0;
    want.mask = a[A::mask] != 0;
    want.activation = a[A::mask_activation];
    if (a[A::y] >= 0) want.y = maps_[a[A::y]];
    if (a[A::mask_norm] >= 0) want.partials = net_->norms[a[A::mask_norm]]->of_gradients();
    if (op.code == Code::DEPTH_BACKWARD)
      depth_backward(pool(), w.geometry, w.forward, x, dy, samples_, want);
    else
      point_backward(pool(), w.geometry, want.dx ? &w.backward.front() : nullptr, x, dy, samples_, want, scratch);
    break;
  }
  default: run_tensor(op, training);
  }
}

void Session::dense_gradient(int index, int row0, int row1, float *out) {
  const Operation &op = backward_.at(index);
  const std::vector<int> &a = op.args;
  using A = args::DEPTH_BACKWARD; // POINT_BACKWARD has the same arguments, all begin with the weight
  const Weight &w = *net_->weights.at(a[A::weight]);
  const int64_t row = w.geometry.size() / w.geometry.out;
  std::vector<int32_t> all((size_t)(row1 - row0) * row);
  for (size_t i = 0; i < all.size(); i++) all[i] = (int32_t)(row0 * row + i);
  const int size = block_channels(w.geometry, 1.0, w.input.lanes, w.geometry.group_in());
  const Lists lists =
      forward_lists(w.geometry, {nullptr, w.geometry.size()}, w.input, size, all.data(), (int64_t)all.size());
  std::memset(out, 0, all.size() * 4);
  float *gradients = out - row0 * row;
  if (op.code == Code::CONV_WEIGHT) {
    conv_backward_weight(pool(), net_->kernels, w.geometry, lists, maps_.at(a[args::CONV_WEIGHT::x]),
                         maps_.at(a[args::CONV_WEIGHT::dy]), samples_, gradients, net_->scratch);
    return;
  }
  Backward want;
  want.weights = &lists;
  want.gradients = gradients;
  const Source x = read(a[A::x], a[A::norm], a[A::activation]);
  const Source dy = read_gradient(a[A::gradient], a[A::norm_g], a[A::y_g]);
  if (op.code == Code::DEPTH_BACKWARD)
    depth_backward(pool(), w.geometry, w.forward, x, dy, samples_, want);
  else
    point_backward(pool(), w.geometry, nullptr, x, dy, samples_, want, net_->scratch);
}

} // namespace edgecl
