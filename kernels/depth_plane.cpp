#include "depth_plane.h"
#include "runs.h"

namespace edgecl {
namespace {

constexpr int LARGEST = 4096; // floats of a plane; larger ones are worked on row by row
constexpr int AT_ONCE = 4096; // floats of planes and their copies that are made before the first is used

// Copies of a plane, one for each column of the kernel, between margins of zeros. On the plane as one run of positions
// tap (ky, kx) is a shift by (ky - pad) * width + kx - pad. Copy kx is shifted by kx - pad already, with zeros for what
// would wrap into another row: where rows fill vectors, taps then read whole cache lines.
class Shifted {
public:
  // `most` planes at once, as far as they stay in the first cache.
  Shifted(const Geometry &g, int height, int width, int lanes, int most = 1)
      : g_(g), height_(height), width_(width), lanes_(lanes),
        margin_(((size_t)(g.pad_h * width + g.pad_w) * lanes + 15) / 16 * 16),
        size_(margin_ * 2 + ((size_t)height * width * lanes + 15) / 16 * 16),
        count_(std::clamp(AT_ONCE / (int)(size_ * g.kernel_w), 1, most)), data_(size_ * g.kernel_w * count_) {
    const int n = height * width * lanes;
    for (int flip = 0; flip < 2; flip++) {
      taps_[flip].resize(g.kernel_h * g.kernel_w);
      for (int kx = 0; kx < g.kernel_w; kx++) {
        const int shift = flip ? g.pad_w - kx : kx - g.pad_w; // of the column that is read
        const int first = shift > 0 ? width - shift : 0, count = shift > 0 ? shift : -shift;
        shift_[flip].push_back((ptrdiff_t)shift * lanes);
        keep_[flip].resize((size_t)n * (kx + 1), ~0u);
        uint32_t *keep = keep_[flip].data() + (size_t)n * kx;
        for (int y = 0; y < height; y++)
          for (int i = std::max(first, 0) * lanes; i < std::min(first + count, width) * lanes; i++)
            keep[y * width * lanes + i] = 0;
        for (int ky = 0; ky < g.kernel_h; ky++)
          taps_[flip][ky * g.kernel_w + kx] =
              (ptrdiff_t)(size_ * kx + margin_) + (ptrdiff_t)((flip ? g.pad_h - ky : ky - g.pad_h) * width) * lanes;
      }
    }
  }
  int count() const { return count_; }
  float *plane() { return copy(g_.pad_w); } // to be filled, then spread

  // `flip`: taps go the other way, as in the gradient of the input.
  void spread(const Kernels &k, bool flip) {
    const int n = height_ * width_ * lanes_;
    for (int kx = 0; kx < g_.kernel_w; kx++)
      if (kx != g_.pad_w) k.keep(copy(kx), plane() + shift_[flip][kx], keep_[flip].data() + (size_t)n * kx, n);
  }
  const float *tap(int number, bool flip) { return data_.data() + taps_[flip][number]; }
  // Of all planes, read as they are.
  DepthPlanes planes() {
    DepthPlanes p{};
    p.n = height_ * width_ * lanes_;
    p.data = data_.data();
    p.size = size_;
    p.margin = margin_;
    p.columns = g_.kernel_w;
    p.middle = g_.pad_w;
    p.shift = shift_[0].data();
    p.keep = keep_[0].data();
    p.starts = taps_[0].data();
    return p;
  }

private:
  float *copy(int kx) { return data_.data() + size_ * kx + margin_; }
  const Geometry &g_;
  int height_, width_, lanes_;
  size_t margin_, size_;
  int count_;
  Line data_;
  std::vector<uint32_t> keep_[2];  // of each copy: all ones where a position may be read
  std::vector<ptrdiff_t> shift_[2]; // floats between what a copy holds and what the plane does
  std::vector<ptrdiff_t> taps_[2]; // floats from the start to a tap's first operand
};

// Rows of a plane in place where the map has no halo, else through `scratch`.
struct Target {
  float *at;
  const Map &map;
  int block, channel;
  Target(const Map &m, int block, int channel, float *scratch, bool load)
      : at(m.columns == m.width ? m.at(block, channel) : scratch), map(m), block(block), channel(channel) {
    if (load && at == scratch) rows([](float *mine, float *theirs, size_t n) { std::memcpy(mine, theirs, n); });
  }
  void store() {
    if (map.columns != map.width) rows([](float *mine, float *theirs, size_t n) { std::memcpy(theirs, mine, n); });
  }
  template <class F> void rows(const F &f) {
    const size_t row = (size_t)map.width * map.lanes;
    for (int y = 0; y < map.height; y++) f(at + y * row, map.at(block, channel, y), row * 4);
  }
};

} // namespace

bool by_planes(const Geometry &g, const Map &x, const Map &y) {
  return x.lanes < 4 && g.kernel_h == 2 * g.pad_h + 1 && g.kernel_w == 2 * g.pad_w + 1 &&
         y.height == (x.height + g.stride_h - 1) / g.stride_h && y.width == (x.width + g.stride_w - 1) / g.stride_w &&
         x.height * x.width * x.lanes <= LARGEST;
}

void plane_forward(Threads &threads, const Geometry &g, const Lists &lists, const Source &x,
                   const Map &y, const float *bias, const Samples &samples, Partials *sums) {
  const Kernels &k = widest_kernels();
  const int lanes = samples.lanes, h = x.a.height, w = x.a.width, n = h * w * lanes, m = y.height * y.width * lanes;
  const bool strided = g.stride_h > 1 || g.stride_w > 1;
  if (sums) sums->reset(samples.blocks, y.channels);
  each_channel(threads, samples.blocks, y.channels, [&](int first, int last) {
    Shifted in(g, h, w, lanes, 16);
    DepthPlanes planes = in.planes();
    planes.pointers = lists.pointers.data();
    planes.taps = lists.offsets.data();
    planes.weights = lists.values.data();
    planes.bias = bias;
    const bool direct = !strided && y.columns == y.width;
    Line whole(direct ? 0 : (size_t)n * in.count()), small(strided ? m : 0);
    for (int p = first; p < last; p += planes.count) {
      const int block = p / y.channels, channel = p % y.channels, real = samples.in_block(block);
      planes.block = block;
      planes.channel = channel;
      planes.real = real;
      planes.count = std::min({in.count(), last - p, y.channels - channel});
      planes.out = direct ? y.at(block, channel) : whole.data();
      planes.out_plane = direct ? y.plane() * lanes : n;
      k.depth_planes(x, planes);
      for (int i = 0; i < planes.count && !(direct && !sums); i++) {
        float *made = planes.out + i * planes.out_plane;
        Target out(y, block, channel + i, strided ? small.data() : made, false);
        if (strided)
          for (int row = 0; row < y.height; row++)
            gather(out.at + (size_t)row * y.width * lanes, made + (size_t)row * g.stride_h * w * lanes, y.width, g.stride_w,
                   lanes);
        if (sums) {
          alignas(64) float s[2 * 16] = {};
          k.row_sums(out.at, m, s);
          double *total = &sums->values[((size_t)block * y.channels + channel + i) * 2];
          total[0] = lane_total(s, k.lanes, lanes, real);
          total[1] = lane_total(s + k.lanes, k.lanes, lanes, real);
        }
        out.store();
      }
    }
  });
}

void plane_backward(Threads &threads, const Geometry &g, const Lists &lists, const Source &x,
                    const Source &dy, const Samples &samples, const Backward &want) {
  const Kernels &k = widest_kernels();
  const int lanes = samples.lanes, h = x.a.height, w = x.a.width, n = h * w * lanes;
  const int entries = want.weights ? (int)want.weights->offsets.size() : 0;
  const bool strided = g.stride_h > 1 || g.stride_w > 1;
  std::vector<float> totals((size_t)samples.blocks * entries);
  if (want.partials) want.partials->reset(samples.blocks, x.a.channels);
  const Taps taps(lists, g), trained(want.weights ? *want.weights : lists, g);
  const Map none;
  each_channel(threads, samples.blocks, x.a.channels, [&](int first, int last) {
    Shifted d(g, h, w, lanes);
    Line z(n), dx(n), kept(n), small(strided ? (size_t)dy.a.height * dy.a.width * lanes : 0);
    const int most = g.kernel_h * g.kernel_w;
    Line dots((size_t)most * k.lanes);
    std::vector<const float *> at(most);
    std::vector<float *> sums(most);
    for (int p = first; p < last; p++) {
      const int block = p / x.a.channels, channel = p % x.a.channels, real = samples.in_block(block);
      const int k0 = taps.begin(channel), count = taps.end(channel) - k0;
      const int t0 = trained.begin(channel), t1 = entries ? trained.end(channel) : t0;
      float *whole = d.plane();
      k.read_plane(dy, block, channel, strided ? small.data() : whole, real);
      if (strided) { // gaps of the stride are zero
        std::fill(whole, whole + n, 0.f);
        const float *from = small.data();
        for (int row = 0; row < dy.a.height; row++)
          for (int x = 0; x < dy.a.width; x++, from += lanes)
            std::memcpy(whole + ((size_t)row * g.stride_h * w + (size_t)x * g.stride_w) * lanes, from, lanes * 4);
      }
      d.spread(k, true);
      if (t1 > t0 || want.mask) k.read_plane(x, block, channel, z.data(), real);
      std::fill(dots.begin(), dots.end(), 0.f);
      for (int t = t0; t < t1; t++) {
        at[t - t0] = d.tap(trained.tap(t), true);
        sums[t - t0] = dots.data() + (size_t)(t - t0) * k.lanes;
      }
      k.tap_dots(z.data(), at.data(), t1 - t0, n, sums.data());
      for (int t = t0; t < t1; t++)
        totals[(size_t)block * entries + t] = (float)lane_total(sums[t - t0], k.lanes, lanes, lanes);
      if (!want.dx) continue;
      Target target(*want.dx, block, channel, dx.data(), want.accumulate);
      for (int t = 0; t < count; t++) at[t] = d.tap(taps.tap(k0 + t), true);
      k.taps(target.at, want.accumulate ? target.at : nullptr, at.data(), lists.values.data() + k0, count, n);
      if (want.mask) {
        alignas(64) float s[2 * 16] = {};
        const Map &ym = want.partials ? want.y : none;
        const float *y = nullptr;
        if (ym.data) y = Target(ym, block, channel, kept.data(), true).at;
        k.row_mask(target.at, z.data(), y, want.center(channel), n, want.activation, s);
        if (want.partials) {
          double *total = &want.partials->values[((size_t)block * x.a.channels + channel) * 2];
          total[0] = lane_total(s, k.lanes, lanes, lanes); // padded lanes are zero
          total[1] = lane_total(s + k.lanes, k.lanes, lanes, lanes);
        }
      }
      target.store();
    }
  });
  if (entries) add_totals(*want.weights, totals, samples.blocks, want.gradients);
}

} // namespace edgecl
