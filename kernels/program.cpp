#include "direct.h"
#include "program.h"

#include <sys/mman.h>
#include <time.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace edgecl {
namespace {

// What lies before the interior's first position and after its last.
void clear_edges(const Map &m, int block, int channel) {
  float *p = m.data + (block * m.block() + channel * m.plane()) * m.lanes;
  const size_t row = (size_t)m.columns * m.lanes;
  const size_t first = m.top * row + (size_t)m.left * m.lanes, end = first + (m.height - 1) * row + (size_t)m.width * m.lanes;
  std::memset(p, 0, first * 4);
  std::memset(p + end, 0, (m.rows * row - end) * 4);
}

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

} // namespace

void Weight::build() {
  if (direct) {
    build_direct();
    return;
  }
  const Geometry &g = geometry;
  const double density = (double)living.count / (double)g.size();
  const int lanes = input.lanes;
  const int block = forward_block ? forward_block : block_channels(g, density, lanes, g.group_in());
  forward = forward_lists(g, living, input, block, nullptr, 0);
  backward.clear();
  if (input_gradient) {
    const int size =
        input_block ? input_block : block_channels(g, density / (g.stride_h * g.stride_w), lanes, g.group_out());
    for (int y = 0; y < g.stride_h; y++)
      for (int x = 0; x < g.stride_w; x++) backward.push_back(backward_lists(g, living, output_gradient, size, y, x));
  }
  build_gradient();
  refresh();
}

void Weight::build_gradient() {
  gradient = Lists();
  if (!subset) return;
  const double density = (double)subset_count / (double)geometry.size();
  gradient = forward_lists(geometry, living, input,
                           block_channels(geometry, density, input.lanes, geometry.group_in(), input.rows * input.columns),
                           subset, subset_count);
}

void Weight::refresh() {
  if (direct) {
    for (int64_t i = 0; !filled.empty() && i < living.count; i++) filled[living.pattern[i]] = values[i];
    return;
  }
  forward.refresh(values, 0, forward.cells());
  for (Lists &l : backward) l.refresh(values, 0, l.cells());
}

size_t Weight::bytes() const {
  size_t n = forward.bytes() + gradient.bytes() + (filled.capacity() + starts.capacity()) * 4;
  for (const Lists &l : backward) n += l.bytes();
  return n;
}

void Norm::begin() {
  if (!running_mean) return;
  working_mean.assign(running_mean, running_mean + channels);
  working_var.assign(running_var, running_var + channels);
  touched = false;
}

void Norm::commit() {
  if (!touched) return;
  if (!frozen_mean) std::memcpy(running_mean, working_mean.data(), channels * sizeof(float));
  if (!frozen_var) std::memcpy(running_var, working_var.data(), channels * sizeof(float));
  begin(); // what was seen while a statistic was frozen is not committed later
}

void Norm::scales(From from, double count, Scales &out) {
  out.scale.resize(channels);
  out.shift.resize(channels);
  if (from == From::RUNNING || fixed) {
    for (int i = 0; i < channels; i++) {
      out.scale[i] = scale[i] * (1 / std::sqrt(running_var[i] + epsilon));
      out.shift[i] = shift[i] - out.scale[i] * running_mean[i];
    }
    return;
  }
  for (int i = 0; i < channels; i++) {
    float mu, r;
    if (from == From::AGAIN) {
      mu = mean[i];
      r = rstd[i];
    } else {
      const double m = partials.total(i, 0) / count;
      const double var = std::max(0.0, partials.total(i, 1) / count - m * m);
      mean[i] = mu = (float)m;
      rstd[i] = r = (float)(1 / std::sqrt(var + epsilon));
      const double unbiased = count > 1 ? var * count / (count - 1) : var;
      working_mean[i] = (1 - momentum) * working_mean[i] + momentum * mu;
      working_var[i] = (1 - momentum) * working_var[i] + momentum * (float)unbiased;
      touched = true;
    }
    out.scale[i] = scale[i] * r;
    out.shift[i] = shift[i] - out.scale[i] * mu;
  }
}

void Norm::backward(double count) {
  a.resize(channels);
  b.resize(channels);
  c.resize(channels);
  for (int i = 0; i < channels; i++) {
    const double sum = partials.total(i, 0);
    const double product = rstd[i] * partials.total(i, 1);
    shift_gradient[i] += (float)sum;
    scale_gradient[i] += (float)product;
    const double k0 = scale[i] * rstd[i], slope = -k0 * rstd[i] * product / count;
    a[i] = (float)k0;
    b[i] = (float)slope;
    c[i] = (float)(-slope * mean[i] - k0 * sum / count);
  }
}

Network::Network(int threads_, int lanes_)
    : threads(threads_), kernels(*[lanes_] {
        const Kernels *k = edgecl::kernels(lanes_);
        if (!k) throw std::invalid_argument("no kernels for this vector width on this processor");
        return k;
      }()),
      lanes(lanes_) {}

Session::Session(Network &net, int blocks, int64_t arena_bytes, const std::vector<std::vector<int64_t>> &maps,
                 std::vector<Operation> forward, std::vector<Operation> backward, int own_threads)
    : net_(&net), blocks_(blocks), arena_bytes_(arena_bytes), forward_(std::move(forward)), backward_(std::move(backward)),
      forward_seconds_(forward_.size()), backward_seconds_(backward_.size()), group_statistics_(net.norms.size()),
      scales_(net.norms.size()) {
  if (own_threads > 0) own_ = std::make_unique<Threads>(own_threads);
  void *p = mmap(nullptr, arena_bytes_ + 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  arena_ = (float *)p;
  madvise(p, arena_bytes_ + 64, MADV_HUGEPAGE); // whole arena is used: no memory lost, fewer misses on strided reads
  for (const auto &m : maps) {
    Map map;
    map.data = arena_ + m[0] / 4;
    map.channels = (int)m[1];
    map.height = (int)m[2];
    map.width = (int)m[3];
    map.top = (int)m[4];
    map.left = (int)m[5];
    map.rows = (int)m[6];
    map.columns = (int)m[7];
    map.runs = m[9] != 0;
    map.lanes = net.lanes;
    if (m[0] < 0 || m[0] + (int64_t)(blocks * map.block() * map.lanes) * m.at(8) > arena_bytes_)
      throw std::invalid_argument("a buffer of the plan lies outside its arena");
    maps_.push_back(map);
  }
  begin(blocks * net.lanes);
}

Session::~Session() { munmap(arena_, arena_bytes_ + 64); }

void Session::begin(int samples) {
  const int lanes = net_->lanes;
  if (samples < 1 || samples > blocks_ * lanes) throw std::invalid_argument("batch larger than planned");
  samples_.blocks = (samples + lanes - 1) / lanes;
  samples_.lanes = lanes;
  samples_.last_lanes = samples - (samples_.blocks - 1) * lanes;
}

void Session::poison() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; i < arena_bytes_ / 4; i++) arena_[i] = nan;
}

void Session::pack(int index, const float *x, const uint8_t *bytes, const float *mean, const float *scale, int pad) {
  const Map &m = maps_[index];
  const int lanes = m.lanes, h = m.height - 2 * pad, w = m.width - 2 * pad;
  const int count = (samples_.blocks - 1) * lanes + samples_.last_lanes;
  const size_t plane = (size_t)h * w;
  each_plane(pool(), samples_.blocks, m.channels, [&](int b, int c, int) {
    std::memset(m.data + (b * m.block() + c * m.plane()) * lanes, 0, m.plane() * lanes * 4);
    const float mu = mean ? mean[c] : 0.f, s = scale ? scale[c] : 1.f;
    for (int l = 0; l < lanes && b * lanes + l < count; l++) {
      const size_t at = ((size_t)(b * lanes + l) * m.channels + c) * plane;
      for (int i = 0; i < h; i++) {
        float *row = m.at(b, c, i + pad, pad) + l;
        if (bytes)
          for (int j = 0; j < w; j++) row[(size_t)j * lanes] = ((float)bytes[at + (size_t)i * w + j] - mu) * s;
        else
          for (int j = 0; j < w; j++) row[(size_t)j * lanes] = (x[at + (size_t)i * w + j] - mu) * s;
      }
    }
  });
}

void Session::unpack(int index, float *out) const {
  const Map &m = maps_[index];
  const int lanes = m.lanes, count = (samples_.blocks - 1) * lanes + samples_.last_lanes;
  for (int n = 0; n < count; n++)
    for (int c = 0; c < m.channels; c++)
      for (int i = 0; i < m.height; i++) {
        const float *row = m.at(n / lanes, c, i) + n % lanes;
        for (int j = 0; j < m.width; j++) *out++ = row[(size_t)j * lanes];
      }
}

void Session::run_forward(bool training) {
  for (size_t i = 0; i < forward_.size(); i++) {
    const double t = now();
    run(forward_[i], training);
    forward_seconds_[i] += now() - t;
  }
}

void Session::run_backward(int first, int last) {
  for (int i = first; i < last; i++) {
    const double t = now();
    run(backward_[i], true);
    backward_seconds_[i] += now() - t;
  }
}

void Session::run(const Operation &op, bool training) {
  const Kernels &k = net_->kernels;
  const Samples &s = samples_;
  Threads &threads = pool();
  std::vector<float> &scratch = this->scratch();
  const std::vector<int> &a = op.args;
  const Map none;
  auto map = [&](int i) -> const Map & { return i < 0 ? none : maps_[i]; };
  auto norm = [&](int i) -> Norm * { return i < 0 ? nullptr : net_->norms[i].get(); };
  const Norm::From from = op.code == Code::AFFINE_AGAIN ? Norm::From::AGAIN
                          : training                    ? Norm::From::BATCH
                                                        : Norm::From::RUNNING;

  switch (op.code) {
  case Code::CONV: {
    using A = args::CONV;
    Weight &w = *net_->weights[a[A::weight]];
    if (w.direct) {
      direct_forward(threads, w, map(a[A::x]), map(a[A::y]), s, scratch, nullptr);
      break;
    }
    Norm *n = training ? norm(a[A::stats_norm]) : nullptr;
    conv_forward(threads, k, w.geometry, w.forward, map(a[A::x]), map(a[A::y]), w.bias, s, n ? &n->partials : nullptr,
                 scratch);
    break;
  }
  case Code::CONV_AFFINE: {
    using A = args::CONV_AFFINE;
    Weight &w = *net_->weights[a[A::weight]];
    Affine f{Map(), Map(), map(a[A::b]), nullptr, nullptr, nullptr, nullptr, a[A::activation]};
    if (Norm *n = norm(a[A::norm_y])) {
      n->scales(from, 0, scales_[a[A::norm_y]]);
      f.scale1 = scales_[a[A::norm_y]].scale.data();
      f.shift1 = scales_[a[A::norm_y]].shift.data();
    }
    if (Norm *n = norm(a[A::norm_b])) {
      n->scales(from, 0, scales_[a[A::norm_b]]);
      f.scale2 = scales_[a[A::norm_b]].scale.data();
      f.shift2 = scales_[a[A::norm_b]].shift.data();
    }
    if (w.direct)
      direct_forward(threads, w, map(a[A::x]), map(a[A::z]), s, scratch, &f);
    else
      conv_forward(threads, k, w.geometry, w.forward, map(a[A::x]), map(a[A::z]), w.bias, s, nullptr, scratch, &f);
    break;
  }
  case Code::STATS: {
    using A = args::STATS;
    if (!training) break;
    Norm &n = *norm(a[A::norm]);
    const Map &y = map(a[A::y]);
    n.partials.reset(s.blocks, y.channels);
    each_plane(threads, s.blocks, y.channels, [&](int b, int c, int) {
      k.plane_sums(y, b, c, s.in_block(b), &n.partials.values[((size_t)b * y.channels + c) * 2]);
    });
    break;
  }
  case Code::AFFINE:
  case Code::AFFINE_AGAIN: {
    using A = args::AFFINE_AGAIN;
    Affine f{map(a[A::z]), map(a[A::a]), map(a[A::b]), nullptr, nullptr, nullptr, nullptr, a[A::activation]};
    if (Norm *n = norm(a[A::norm_a])) {
      n->scales(from, positions(f.a), scales_[a[A::norm_a]]);
      f.scale1 = scales_[a[A::norm_a]].scale.data();
      f.shift1 = scales_[a[A::norm_a]].shift.data();
    }
    if (Norm *n = norm(a[A::norm_b])) {
      n->scales(from, positions(f.b), scales_[a[A::norm_b]]);
      f.scale2 = scales_[a[A::norm_b]].scale.data();
      f.shift2 = scales_[a[A::norm_b]].shift.data();
    }
    each_plane(threads, s.blocks, f.out.channels, [&](int b, int c, int) { k.affine(f, b, c, s.in_block(b)); });
    break;
  }
  case Code::GROUP_NORM: {
    using A = args::GROUP_NORM;
    Norm &n = *norm(a[A::norm]);
    const Map &x = map(a[A::x]), &y = map(a[A::y]);
    std::vector<float> &st = group_statistics_[a[A::norm]];
    st.resize((size_t)blocks_ * n.groups * 2 * s.lanes + 16);
    float *base = (float *)(((uintptr_t)st.data() + 63) & ~(uintptr_t)63);
    each_plane(threads, s.blocks, n.groups, [&](int b, int g, int) {
      float *p = base + ((size_t)b * n.groups + g) * 2 * s.lanes;
      k.group_norm_forward(y, x, b, g, n.groups, n.scale, n.shift, n.epsilon, p, p + s.lanes, s.in_block(b));
    });
    break;
  }
  case Code::COPY: {
    using A = args::COPY;
    const Map &dst = map(a[A::y]), &src = map(a[A::x]);
    each_plane(threads, s.blocks, dst.channels, [&](int b, int c, int) {
      k.copy(dst, src, a[A::factor] < 0 ? nullptr : &map(a[A::factor]), b, c, s.in_block(b), a[A::accumulate]);
    });
    break;
  }
  case Code::POOL: {
    using A = args::POOL;
    Pool2d p{map(a[A::x]),   map(a[A::y]), a[A::kernel_h],     a[A::kernel_w], a[A::stride_h], a[A::stride_w],
             a[A::pad_h],    a[A::pad_w],  a[A::maximum] != 0, nullptr,        false};
    each_plane(threads, s.blocks, p.out.channels, [&](int b, int c, int) { k.pool_forward(p, b, c, s.in_block(b)); });
    break;
  }
  case Code::SAVE: {
    using A = args::SAVE;
    const Map &m = map(a[A::map]);
    each_plane(threads, s.blocks, m.channels, [&](int b, int c, int) { k.save(m, map(a[A::saved]), b, c); });
    break;
  }
  case Code::RESTORE: {
    using A = args::RESTORE;
    const Map &m = map(a[A::map]);
    each_plane(threads, s.blocks, m.channels, [&](int b, int c, int) { k.restore(map(a[A::saved]), m, b, c); });
    break;
  }
  case Code::HALO: {
    using A = args::HALO;
    const Map &m = map(a[A::map]);
    each_plane(threads, s.blocks, m.channels, [&](int b, int c, int) {
      if (a[A::edges])
        clear_edges(m, b, c);
      else
        k.halo(m, b, c);
    });
    break;
  }
  case Code::CONV_WEIGHT: {
    using A = args::CONV_WEIGHT;
    Weight &w = *net_->weights[a[A::weight]];
    if (w.frozen) break;
    conv_backward_weight(threads, k, w.geometry, w.subset ? w.gradient : w.forward, map(a[A::x]), map(a[A::dy]), s,
                         w.gradients, scratch);
    break;
  }
  case Code::CONV_INPUT: {
    using A = args::CONV_INPUT;
    Weight &w = *net_->weights[a[A::weight]];
    Epilogue e;
    e.mask = a[A::mask] != 0;
    e.activation = a[A::activation];
    e.z = map(a[A::z]);
    e.y = map(a[A::y]);
    if (Norm *n = norm(a[A::norm])) e.partials = n->of_gradients();
    conv_backward_input(threads, k, w.geometry, w.backward, map(a[A::dy]), map(a[A::dx]), a[A::accumulate] != 0,
                        e.mask ? &e : nullptr, s, scratch);
    break;
  }
  case Code::MASK: {
    using A = args::MASK;
    Mask m{map(a[A::gradient]), map(a[A::z]), map(a[A::y]), a[A::activation], nullptr};
    Norm *n = norm(a[A::norm]);
    if (n) {
      n->partials.reset(s.blocks, m.gradient.channels);
      m.center = n->of_gradients()->center;
    }
    each_plane(threads, s.blocks, m.gradient.channels, [&](int b, int c, int) {
      k.mask(m, b, c, n ? &n->partials.values[((size_t)b * m.gradient.channels + c) * 2] : nullptr);
    });
    break;
  }
  case Code::NORM_INPUT: {
    using A = args::NORM_INPUT;
    Norm &n = *norm(a[A::norm]);
    const Map &y = map(a[A::y]);
    n.backward(positions(y));
    NormBackward f{map(a[A::dx]), map(a[A::dy]), y, n.a.data(), n.b.data(), n.c.data(), a[A::accumulate] != 0};
    each_plane(threads, s.blocks, f.out.channels, [&](int b, int c, int) { k.norm_backward(f, b, c, s.in_block(b)); });
    break;
  }
  case Code::GROUP_NORM_INPUT: {
    using A = args::GROUP_NORM_INPUT;
    Norm &n = *norm(a[A::norm]);
    const Map &dx = map(a[A::dx]), &dy = map(a[A::dy]), &x = map(a[A::x]);
    std::vector<double> sums((size_t)s.blocks * n.channels * 2);
    std::vector<float> &st = group_statistics_[a[A::norm]];
    float *base = (float *)(((uintptr_t)st.data() + 63) & ~(uintptr_t)63);
    each_plane(threads, s.blocks, n.groups, [&](int b, int g, int) {
      const float *p = base + ((size_t)b * n.groups + g) * 2 * s.lanes;
      double *d = &sums[(size_t)b * n.channels * 2];
      k.group_norm_backward(dx, dy, x, b, g, n.groups, n.scale, p, p + s.lanes, d, d + n.channels, s.in_block(b),
                            a[A::accumulate]);
    });
    for (int c = 0; c < n.channels; c++) {
      double scale = 0, shift = 0;
      for (int b = 0; b < s.blocks; b++) {
        scale += sums[((size_t)b * 2) * n.channels + c];
        shift += sums[((size_t)b * 2 + 1) * n.channels + c];
      }
      n.scale_gradient[c] += (float)scale;
      n.shift_gradient[c] += (float)shift;
    }
    break;
  }
  case Code::POOL_INPUT: {
    using A = args::POOL_INPUT;
    Pool2d p{map(a[A::dx]), map(a[A::dy]), a[A::kernel_h],     a[A::kernel_w], a[A::stride_h],        a[A::stride_w],
             a[A::pad_h],   a[A::pad_w],   a[A::maximum] != 0, nullptr,        a[A::accumulate] != 0};
    if (p.maximum) p.kept_in = &map(a[A::x]);
    each_plane(threads, s.blocks, p.in.channels, [&](int b, int c, int) { k.pool_backward(p, b, c); });
    break;
  }
  case Code::BIAS: {
    using A = args::BIAS;
    const Parameter &p = net_->parameters[a[A::parameter]];
    if (p.frozen) break;
    const Map &dy = map(a[A::dy]);
    std::vector<double> sums((size_t)s.blocks * dy.channels * 2);
    each_plane(threads, s.blocks, dy.channels, [&](int b, int c, int) {
      k.plane_sums(dy, b, c, s.in_block(b), &sums[((size_t)b * dy.channels + c) * 2]);
    });
    for (int c = 0; c < dy.channels; c++) {
      double t = 0;
      for (int b = 0; b < s.blocks; b++) t += sums[((size_t)b * dy.channels + c) * 2];
      p.gradients[c] += (float)t;
    }
    break;
  }
  default: run_fused(op, training);
  }
}

} // namespace edgecl
