#include "depth_plane.h"

namespace edgecl {
namespace {

int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Rows of one plane in scratch, each cut into `parts` by column modulo `parts`, with margins of zeros.
struct Rows {
  int lanes, width, parts, before, slots;
  size_t part_size, row_size; // floats
  Line data;                  // slots, then a row of zeros
  std::vector<int> held;      // the row in each slot
  Rows(int lanes, int width, int parts, int before, int after, int slots)
      : lanes(lanes), width(width), parts(parts), before(before), slots(slots),
        part_size(((size_t)(before + (width + parts - 1) / parts + after) * lanes + 15) / 16 * 16), row_size(part_size * parts),
        data(row_size * (slots + 1)), held(slots, -1) {}
  void forget() { std::fill(held.begin(), held.end(), -1); }
  float *slot(int i) { return data.data() + row_size * i; }
  const float *zeros() const { return data.data() + row_size * slots; }
  float *part(float *slot, int p) const { return slot + part_size * p + (size_t)before * lanes; }
  int part_width(int p) const { return (width - p + parts - 1) / parts; }
};

// dst[j] = src[j * step], positions of `lanes` floats; `gather` false: the way back.
void move_columns(float *dst, const float *src, int count, int step, int lanes, bool gather) {
  const size_t d = gather ? lanes : (size_t)lanes * step, s = gather ? (size_t)lanes * step : lanes;
  auto run = [&](auto n) {
    for (int j = 0; j < count; j++, dst += d, src += s) std::memcpy(dst, src, n * 4);
  };
  switch (lanes) { // constant sizes become single moves
  case 16: return run(std::integral_constant<size_t, 16>());
  case 8: return run(std::integral_constant<size_t, 8>());
  case 4: return run(std::integral_constant<size_t, 4>());
  case 2: return run(std::integral_constant<size_t, 2>());
  default: return run(std::integral_constant<size_t, 1>());
  }
}

// Cuts a whole row into its parts.
void split(const Rows &r, const float *whole, float *slot) {
  for (int p = 0; p < r.parts; p++)
    move_columns(r.part(slot, p), whole + (size_t)p * r.lanes, r.part_width(p), r.parts, r.lanes, true);
}

constexpr int AHEAD = 1024; // floats asked for before their turn, at least: rows of small maps are soon done

// Rows are read in order, so those after the next are fetched while this one is worked on.
int ahead_of(const Map &m) { return std::max(2 * m.columns * m.lanes, AHEAD); }

Source ahead(Source s) {
  s.ahead = ahead_of(s.a);
  return s;
}

// A row about to be written is fetched like one to be read: stores that wait for their lines hold everything up.
void ask(const float *row, int n) {
  for (int i = 0; i < n; i += 16) __builtin_prefetch(row + i, 1);
}

} // namespace

void depth_forward(Threads &threads, const Geometry &g, const Lists &lists, const Source &source,
                   const Map &y, const float *bias, const Samples &samples, Partials *sums) {
  if (by_planes(g, source.a, y)) return plane_forward(threads, g, lists, source, y, bias, samples, sums);
  const Kernels &k = widest_kernels();
  const int lanes = samples.lanes, sw = g.stride_w;
  const Source x = ahead(source);
  if (sums) sums->reset(samples.blocks, y.channels);
  const int before = -floor_div(-g.pad_w, sw);
  const int after = std::max(0, floor_div(g.kernel_w - 1 - g.pad_w, sw) + y.width - x.a.width / sw);
  const Taps taps(lists, g);
  std::vector<size_t> column(g.kernel_w); // floats from a row's slot to the first operand of tap kx
  {
    const Rows shape(lanes, x.a.width, sw, before, after, 0);
    for (int kx = 0; kx < g.kernel_w; kx++) {
      const int c = kx - g.pad_w, shift = floor_div(c, sw);
      column[kx] = shape.part_size * (c - shift * sw) + (size_t)(before + shift) * lanes;
    }
  }
  each_channel(threads, samples.blocks, y.channels, [&](int first, int last) {
    Rows rows(lanes, x.a.width, sw, before, after, g.kernel_h);
    Line whole((size_t)x.a.width * lanes), init;
    const int most = g.kernel_h * g.kernel_w, n = y.width * lanes;
    std::vector<const float *> in(most), row(g.kernel_h);
    for (int p = first; p < last; p++) {
      const int block = p / y.channels, channel = p % y.channels, real = samples.in_block(block);
      const int k0 = taps.begin(channel), count = taps.end(channel) - k0;
      if (bias) init.assign(n, bias[channel]);
      PlaneSums s;
      rows.forget();
      for (int oy = 0; oy < y.height; oy++) {
        for (int ky = 0, iy = oy * g.stride_h - g.pad_h; ky < g.kernel_h; ky++, iy++) {
          if (iy < 0 || iy >= x.a.height) {
            row[ky] = rows.zeros();
            continue;
          }
          const int slot = iy % rows.slots;
          float *to = rows.slot(slot);
          row[ky] = to;
          if (rows.held[slot] == iy) continue;
          rows.held[slot] = iy;
          if (sw == 1) {
            k.read(x, block, channel, iy, 0, x.a.width, rows.part(to, 0), real);
          } else {
            k.read(x, block, channel, iy, 0, x.a.width, whole.data(), real);
            split(rows, whole.data(), to);
          }
        }
        for (int t = 0; t < count; t++) in[t] = row[taps.ky(k0 + t)] + column[taps.kx(k0 + t)];
        float *out = y.at(block, channel, oy);
        ask(out + ahead_of(y), n);
        k.taps(out, bias ? init.data() : nullptr, in.data(), lists.values.data() + k0, count, n);
        if (sums) {
          k.row_sums(out, n, s.row);
          s.end_row();
        }
      }
      if (sums) s.store(k.lanes, lanes, real, &sums->values[((size_t)block * y.channels + channel) * 2]);
    }
  });
}

void depth_backward(Threads &threads, const Geometry &g, const Lists &lists,
                    const Source &source, const Source &gradient, const Samples &samples, const Backward &want) {
  if (by_planes(g, source.a, gradient.a))
    return plane_backward(threads, g, lists, source, gradient, samples, want);
  const Kernels &k = widest_kernels();
  const Source x = ahead(source), dy = ahead(gradient);
  const int lanes = samples.lanes, sh = g.stride_h, sw = g.stride_w, width = x.a.width, height = x.a.height;
  const int entries = want.weights ? (int)want.weights->offsets.size() : 0;
  const int before = std::max(0, -floor_div(g.pad_w - (g.kernel_w - 1), sw));
  const int after = std::max(0, floor_div(sw - 1 + g.pad_w, sw) + (width + sw - 1) / sw - dy.a.width);
  std::vector<float> totals((size_t)samples.blocks * entries);
  if (want.partials) want.partials->reset(samples.blocks, x.a.channels);

  const Taps taps(lists, g), trained(want.weights ? *want.weights : lists, g);
  // Input column phase + sw * j takes tap kx from output column j + shift; none where the stride leaves a gap.
  constexpr int NONE_HERE = 1 << 30;
  std::vector<int> shift(sw * g.kernel_w, NONE_HERE);
  for (int phase = 0; phase < sw; phase++)
    for (int kx = 0; kx < g.kernel_w; kx++)
      if ((phase + g.pad_w - kx) % sw == 0) shift[phase * g.kernel_w + kx] = (phase + g.pad_w - kx) / sw * lanes;

  each_channel(threads, samples.blocks, x.a.channels, [&](int first, int last) {
    Rows d(lanes, dy.a.width, 1, before, after, g.kernel_h + 1), z(lanes, width, sw, 0, 0, 1);
    Line whole((size_t)width * lanes), part((size_t)width * lanes);
    const int most = g.kernel_h * g.kernel_w;
    Line dots((size_t)most * k.lanes), weights(most);
    std::vector<const float *> in(most), row(g.kernel_h);
    std::vector<float *> sums(most);
    for (int p = first; p < last; p++) {
      const int block = p / x.a.channels, channel = p % x.a.channels, real = samples.in_block(block);
      const int k0 = taps.begin(channel), k1 = want.dx ? taps.end(channel) : k0;
      const int t0 = trained.begin(channel), t1 = entries ? trained.end(channel) : t0;
      std::fill(dots.begin(), dots.end(), 0.f);
      PlaneSums s;
      const float center = want.center(channel);
      d.forget();
      for (int iy = 0; iy < height; iy++) {
        for (int ky = 0; ky < g.kernel_h; ky++) { // the row of the output gradient that a tap joins with this row
          const int at = iy + g.pad_h - ky, oy = sh == 1 ? at : at / sh;
          row[ky] = nullptr;
          if (at < 0 || oy * sh != at || oy >= dy.a.height) continue;
          const int slot = oy % d.slots;
          float *to = d.part(d.slot(slot), 0);
          row[ky] = to;
          if (d.held[slot] == oy) continue;
          d.held[slot] = oy;
          k.read(dy, block, channel, oy, 0, dy.a.width, to, real);
        }
        float *zrow = sw == 1 ? z.data.data() : whole.data();
        if (t1 > t0 || want.mask) {
          k.read(x, block, channel, iy, 0, width, zrow, real);
          if (sw > 1 && t1 > t0) split(z, zrow, z.data.data());
        }
        float *target = want.dx ? want.dx->at(block, channel, iy) : nullptr;
        if (target) ask(target + ahead_of(*want.dx), width * lanes);
        for (int phase = 0; phase < sw; phase++) {
          const int positions = z.part_width(phase), n = positions * lanes;
          const int *columns = shift.data() + phase * g.kernel_w;
          int count = 0;
          for (int t = t0; t < t1; t++)
            if (row[trained.ky(t)] && columns[trained.kx(t)] != NONE_HERE) {
              in[count] = row[trained.ky(t)] + columns[trained.kx(t)];
              sums[count++] = dots.data() + (size_t)(t - t0) * k.lanes;
            }
          k.tap_dots(z.part(z.data.data(), phase), in.data(), count, n, sums.data());
          if (!target) continue;
          count = 0;
          for (int t = k0; t < k1; t++)
            if (row[taps.ky(t)] && columns[taps.kx(t)] != NONE_HERE) {
              in[count] = row[taps.ky(t)] + columns[taps.kx(t)];
              weights[count++] = lists.values[t];
            }
          if (sw == 1) {
            k.taps(target, want.accumulate ? target : nullptr, in.data(), weights.data(), count, n);
          } else {
            float *at = target + (size_t)phase * lanes;
            if (want.accumulate) move_columns(part.data(), at, positions, sw, lanes, true);
            k.taps(part.data(), want.accumulate ? part.data() : nullptr, in.data(), weights.data(), count, n);
            move_columns(at, part.data(), positions, sw, lanes, false);
          }
        }
        if (target && want.mask) {
          const float *y = want.partials ? want.y.at(block, channel, iy) : nullptr;
          k.row_mask(target, zrow, y, center, width * lanes, want.activation, s.row);
          s.end_row();
        }
      }
      if (want.partials) // padded lanes are zero
        s.store(k.lanes, lanes, lanes, &want.partials->values[((size_t)block * x.a.channels + channel) * 2]);
      for (int t = t0; t < t1; t++)
        totals[(size_t)block * entries + t] =
            (float)lane_total(dots.data() + (size_t)(t - t0) * k.lanes, k.lanes, lanes, lanes);
    }
  });
  if (entries) add_totals(*want.weights, totals, samples.blocks, want.gradients);
}

} // namespace edgecl
