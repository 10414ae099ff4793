#include "point.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "runs.h"
#include "scratch.h"

namespace edgecl {
namespace {

constexpr int ITEMS = 16;            // work items aimed at
constexpr int AHEAD = 4;             // channels by which reading is ahead of gathering
constexpr int ACCUMULATORS = 2048;   // vectors of weight gradients that stay in L2; more are reduced tile by tile
constexpr size_t PARTIALS = 1 << 19; // floats of weight gradients over all items

int tile_vectors(const Kernels &k) { return std::min(k.largest_tile, LONGEST_RUN); }

// Tiles of one sample block: runs are whole planes where no map has a halo, rows otherwise.
struct Runs {
  int runs, run_positions, per_run, positions;
  Runs(std::initializer_list<const Map *> maps, int positions) : positions(positions) {
    const Map &m = **maps.begin();
    bool halo = false;
    for (const Map *o : maps) halo = halo || (o->data && o->columns != o->width);
    runs = halo ? m.height : 1;
    run_positions = halo ? m.width : m.height * m.width;
    per_run = (run_positions + positions - 1) / positions;
  }
  int count() const { return runs * per_run; }
};

struct Run {
  int y, x, positions, floats; // y: row of the run; x: first position in it
  int vectors;
  bool exact; // the vectors hold no more than the tile
};

Run run_at(const Runs &t, int index, int lanes, const Kernels &k) {
  Run out;
  out.y = index / t.per_run;
  out.x = index % t.per_run * t.positions;
  out.positions = std::min(t.positions, t.run_positions - out.x);
  out.floats = out.positions * lanes;
  out.vectors = (out.floats + k.lanes - 1) / k.lanes;
  out.exact = out.vectors * k.lanes == out.floats;
  return out;
}

// Gathers all channels of a tile into `to` [channel][stride]; what its vectors hold beyond it becomes zero. Runs are too
// short for the processor to see them coming: each channel asks for one further on, the last ones for the next tile's.
void gather(const Kernels &k, const Source &source, const Run &t, int block, float *to, size_t stride, int real) {
  Source s = source;
  const int channels = s.a.channels, plane = (int)s.a.plane() * s.a.lanes, near = std::min(AHEAD, channels);
  for (int c = 0; c < channels; c++, to += stride) {
    s.ahead = c + near < channels ? near * plane : (near - channels) * plane + t.floats;
    k.read(s, block, c, t.y, t.x, t.positions, to, real);
    if (!t.exact) std::memset(to + t.floats, 0, ((size_t)t.vectors * k.lanes - t.floats) * 4);
  }
}

// A map as a tile of it is written: in place, or, where its vectors hold more, in scratch.
struct Target {
  float *at;
  size_t channel;
};

Target begin_target(const Kernels &k, const Map &m, const Run &t, int block, float *edge, size_t stride, bool read) {
  if (t.exact) return {m.at(block, 0, t.y, t.x), m.plane() * m.lanes};
  if (read)
    for (int c = 0; c < m.channels; c++) {
      std::memcpy(edge + c * stride, m.at(block, c, t.y, t.x), (size_t)t.floats * 4);
      std::memset(edge + c * stride + t.floats, 0, ((size_t)t.vectors * k.lanes - t.floats) * 4);
    }
  return {edge, stride};
}

void end_target(const Map &m, const Run &t, int block, const float *edge, size_t stride) {
  if (t.exact) return;
  for (int c = 0; c < m.channels; c++)
    std::memcpy(m.at(block, c, t.y, t.x), edge + c * stride, (size_t)t.floats * 4);
}

void store_sums(const float *sums, int rows, int width, int lanes, int real, double *out) {
  for (int i = 0; i < rows * 2; i++) {
    double s = 0;
    for (int c = 0; c < width; c += lanes)
      for (int l = 0; l < real; l++) s += sums[(size_t)i * width + c + l];
    out[i] = s;
  }
}

void run_lists(const Kernels &k, const Lists &lists, const Run &t, ConvBlock &b, bool accumulate) {
  b.offsets = lists.offsets.data();
  b.values = lists.values.data();
  for (const Block &list : lists.blocks) {
    b.row0 = list.row0;
    b.row1 = list.row1;
    b.pointers = lists.pointers.data() + list.base;
    b.first = list.first && !accumulate;
    b.last = list.last;
    k.run_conv[t.vectors](b);
  }
}

} // namespace

bool is_pointwise(const Geometry &g) {
  return g.groups == 1 && g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_h == 0 &&
         g.pad_w == 0;
}

int point_positions(int lanes) {
  const Kernels &k = widest_kernels();
  return tile_vectors(k) * k.lanes / lanes;
}

void point_forward(Threads &threads, const Geometry &g, const Lists &lists, const Source &x, const Map &y,
                   const float *bias, const Samples &samples, Partials *partials, std::vector<float> &scratch) {
  const Kernels &k = widest_kernels();
  const int lanes = samples.lanes, W = k.lanes;
  const size_t stride = (size_t)point_positions(lanes) * lanes;
  const Runs tiles({&x.a, &y}, point_positions(lanes));
  const int chunks = std::min(tiles.count(), std::max(1, ITEMS / samples.blocks));
  if (partials) partials->reset(samples.blocks * chunks, g.out);
  const Scratch space(scratch, threads.count(),
                      {stride * g.in, stride * g.out, partials ? (size_t)g.out * 2 * W : 0});
  threads.run(samples.blocks * chunks, [&](int item, int worker) {
    const int block = item / chunks, chunk = item % chunks, real = samples.in_block(block);
    float *in = space(worker, 0), *edge = space(worker, 1), *sums = partials ? space(worker, 2) : nullptr;
    if (sums) std::memset(sums, 0, (size_t)g.out * 2 * W * 4);
    ConvBlock b{};
    b.bias = bias;
    b.sums = sums;
    for (int i = (int)((long)tiles.count() * chunk / chunks); i < (int)((long)tiles.count() * (chunk + 1) / chunks); i++) {
      const Run t = run_at(tiles, i, lanes, k);
      gather(k, x, t, block, in, stride, real);
      const Target out = begin_target(k, y, t, block, edge, stride, false);
      b.input = (const char *)in;
      b.output = out.at;
      b.output_channel = out.channel;
      // A bias would add to the sums of what lies beyond the tile.
      b.valid = t.exact ? nullptr : run_mask(1, t.positions, t.positions, lanes, W);
      run_lists(k, lists, t, b, false);
      end_target(y, t, block, edge, stride);
    }
    if (sums) store_sums(sums, g.out, W, lanes, real, &partials->values[(size_t)item * g.out * 2]);
  });
}

void point_backward(Threads &threads, const Geometry &g, const Lists *backward, const Source &x,
                    const Source &dy, const Samples &samples, const Backward &want, std::vector<float> &scratch) {
  const Kernels &k = widest_kernels();
  const int lanes = samples.lanes, W = k.lanes;
  const size_t stride = (size_t)point_positions(lanes) * lanes;
  const Map none;
  const Map &dx = want.dx ? *want.dx : none, &kept = want.partials ? want.y : none;
  const Runs tiles({&x.a, &dy.a, dy.b.data ? &dy.b : &dy.a, &dx, &kept}, point_positions(lanes));
  const int entries = want.weights ? (int)want.weights->offsets.size() : 0;
  const int affordable = entries ? std::max(2, (int)(PARTIALS / entries) / samples.blocks) : ITEMS;
  const int chunks = std::min({tiles.count(), std::max(1, ITEMS / samples.blocks), affordable});
  const int items = samples.blocks * chunks;
  const bool reduce = entries > ACCUMULATORS || tiles.count() / chunks <= 2;
  Partials *partials = want.partials;
  if (partials) partials->reset(items, g.in);
  const Scratch space(scratch, threads.count(),
                      {stride * g.in, stride * g.out, dx.data ? stride * g.in : 0, kept.data ? stride * g.in : 0,
                       partials ? (size_t)g.in * 2 * W : 0, reduce ? 0 : (size_t)entries * W});
  const std::unique_ptr<float[]> totals(new float[(size_t)items * entries]); // written first by who takes the item
  threads.run(items, [&](int item, int worker) {
    const int block = item / chunks, chunk = item % chunks, real = samples.in_block(block);
    float *in = space(worker, 0), *d = space(worker, 1), *edge = space(worker, 2), *edge_y = space(worker, 3);
    float *sums = partials ? space(worker, 4) : nullptr, *accumulate = space(worker, 5);
    float *total = totals.get() + (size_t)item * entries;
    std::fill(total, total + entries, 0.f);
    if (sums) std::memset(sums, 0, (size_t)g.in * 2 * W * 4);
    if (!reduce) std::memset(accumulate, 0, (size_t)entries * W * 4);
    for (int i = (int)((long)tiles.count() * chunk / chunks); i < (int)((long)tiles.count() * (chunk + 1) / chunks); i++) {
      const Run t = run_at(tiles, i, lanes, k);
      gather(k, dy, t, block, d, stride, real);
      if (entries || want.mask) gather(k, x, t, block, in, stride, real);
      if (entries) {
        WeightBlock w{};
        w.input = (const char *)in;
        w.offsets = want.weights->offsets.data();
        w.gradient = d;
        w.gradient_channel = stride;
        w.accumulate = accumulate;
        w.reduced = reduce ? total : nullptr;
        for (const Block &list : want.weights->blocks) {
          w.row0 = list.row0;
          w.row1 = list.row1;
          w.pointers = w.starts = want.weights->pointers.data() + list.base;
          k.run_weight[t.vectors](w);
        }
      }
      if (!dx.data) continue;
      const Target out = begin_target(k, dx, t, block, edge, stride, want.accumulate);
      ConvBlock b{};
      b.input = (const char *)d;
      b.output = out.at;
      b.output_channel = out.channel;
      b.mask = want.mask;
      b.activation = want.activation;
      b.sums = sums;
      b.kept = in;
      b.kept_channel = stride;
      if (sums) {
        const Target y = begin_target(k, kept, t, block, edge_y, stride, true);
        b.kept_input = y.at;
        b.kept_input_channel = y.channel;
        b.center = partials->center;
      }
      run_lists(k, *backward, t, b, want.accumulate);
      end_target(dx, t, block, edge, stride);
    }
    if (sums) store_sums(sums, g.in, W, lanes, lanes, &partials->values[(size_t)item * g.in * 2]);
    if (entries && !reduce) k.reduce(accumulate, entries, total);
  });
  const int parts = entries < 1024 ? 1 : ITEMS;
  threads.run(parts, [&](int part, int) {
    const int first = (int)((long)entries * part / parts), last = (int)((long)entries * (part + 1) / parts);
    float *sum = totals.get();
    for (int i = 1; i < items; i++)
      for (int e = first; e < last; e++) sum[e] += totals[(size_t)i * entries + e];
    if (entries) want.weights->add(want.gradients, sum + first, first, last); // none of a frozen weight
  });
}

} // namespace edgecl
