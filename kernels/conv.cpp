#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "runs.h"

namespace edgecl {
namespace {

constexpr int ITEMS = 8;            // work items aimed at: enough to balance, few enough to reuse the input
constexpr double LONG_LISTS = 1.5;  // entries a row and input channel: two dozen in a block of 16
constexpr int WEIGHT_CHUNK = 16384; // gradient accumulators of one item: 1 MB at 16 lanes

// One pass over a grid of output positions.
struct Pass {
  const Lists *lists;
  Map in, out;
  int stride_h, stride_w;   // of the input per output position
  int out_y, out_x;         // first output position
  int step_h, step_w;       // between output positions
  int height, width;        // grid
  const float *bias;
  bool accumulate;
  int reach_h, reach_w;     // input rows and columns read beyond a tile's own
  const float *valid = nullptr; // of a run
};

// Where both maps allow it, the pass over a plane becomes one over a row: see runs.h.
bool runs(const Map &a, const Map &b) { return a.runs && b.runs && a.columns == b.columns; }

Pass as_run(Pass p, Epilogue *e) {
  const int y = p.out_y, x = p.out_x, pitch = p.out.columns;
  p.valid = run_mask(p.height, p.width, pitch, p.out.lanes, isa_lanes()[0]);
  p.in = run_view(p.in);
  p.out = run_view(p.out, y, x);
  if (e && e->mask) {
    if (e->z.data) e->z = run_view(e->z, y, x);
    if (e->y.data) e->y = run_view(e->y, y, x);
  }
  if (e && e->add.data) e->add = run_view(e->add, y, x);
  p.width = run_positions(p.height, p.width, pitch);
  p.height = p.stride_h = p.stride_w = p.step_h = p.step_w = 1;
  p.out_y = p.out_x = p.reach_h = p.reach_w = 0;
  return p;
}

// Whether samples can stand in for rows: a map of one position has nothing else to tile.
bool folds(const Pass &p) { return !p.valid && p.height == 1 && p.width == 1 && p.out.height == 1 && p.out.width == 1; }

// A vector of the wide kernels holds `columns` columns of all lanes; 1 means there are none to use.
struct Wide {
  const Kernels *kernels = nullptr;
  int columns = 1;
};

Wide wide_kernels(int lanes, int width) {
  for (const int *w = isa_lanes(); *w > lanes; w++)
    if (*w / lanes <= width) return {kernels(*w), *w / lanes};
  return {};
}

// Tiles of a grid: wide ones first, narrow ones for the columns left over. x counts columns.
struct WideTile {
  int y, x, shape;
  bool wide;
};
struct WideTiling {
  std::vector<WideTile> tiles;
  std::vector<int> bands;
};

WideTiling cut_wide(int h, int w, int largest, const Wide &wide) {
  const int wide_columns = wide.columns > 1 ? w / wide.columns : 0;
  const int rest = w - wide_columns * wide.columns;
  WideTiling out;
  const Tiling a = wide_columns ? tile_grid(h, wide_columns, wide.kernels->largest_tile) : Tiling();
  const Tiling b = rest ? tile_grid(h, rest, largest) : Tiling();
  // Bands of rows of the first tiling; the strip's tiles go to the band in which they start.
  const Tiling &lead = wide_columns ? a : b;
  for (size_t band = 0; band + 1 < lead.bands.size(); band++) {
    out.bands.push_back((int)out.tiles.size());
    const int y0 = lead.tiles[lead.bands[band]].y;
    const int y1 = band + 2 < lead.bands.size() ? lead.tiles[lead.bands[band + 1]].y : h;
    for (int t = lead.bands[band]; t < lead.bands[band + 1]; t++)
      out.tiles.push_back({lead.tiles[t].y, lead.tiles[t].x * (wide_columns ? wide.columns : 1), lead.tiles[t].shape,
                           wide_columns > 0});
    if (wide_columns)
      for (const Tile &t : b.tiles)
        if (t.y >= y0 && t.y < y1) out.tiles.push_back({t.y, wide_columns * wide.columns + t.x, t.shape, false});
  }
  out.bands.push_back((int)out.tiles.size());
  return out;
}

// A network has few sizes of maps; each is cut once per thread.
const WideTiling &tile_wide(int h, int w, int largest, const Wide &wide) {
  thread_local std::map<std::array<int, 4>, WideTiling> cuts;
  const std::array<int, 4> key{h, w, largest, wide.columns > 1 ? wide.columns * wide.kernels->lanes : 0};
  auto found = cuts.find(key);
  if (found == cuts.end()) found = cuts.emplace(key, cut_wide(h, w, largest, wide)).first;
  return found->second;
}

// A run of vectors in tiles of nearly the same length, each a band of its own; `shape` is the length.
const WideTiling &tile_run(int positions, const Wide &wide) {
  thread_local std::map<std::array<int, 2>, WideTiling> cuts;
  WideTiling &out = cuts[{positions, wide.columns}];
  if (out.tiles.empty()) {
    const int vectors = (positions + wide.columns - 1) / wide.columns;
    const int largest = std::min(LONGEST_RUN, wide.kernels->largest_tile), n = (vectors + largest - 1) / largest;
    for (int i = 0; i < n; i++) {
      const int first = vectors * i / n;
      out.bands.push_back(i);
      out.tiles.push_back({0, first * wide.columns, vectors * (i + 1) / n - first, true});
    }
    out.bands.push_back(n);
  }
  return out;
}

Wide run_kernels(int lanes) { return {&widest_kernels(), widest_kernels().lanes / lanes}; }

int column_kind(int stride) { return stride == 1 ? 0 : stride == 2 ? 1 : 2; }

// Channel offsets in a halo'd input are counted from the padded origin (see lists.cpp).
const char *origin(const Map &m, int block, int y, int x) {
  return (const char *)(m.data + (block * m.block() + (size_t)y * m.columns + x) * m.lanes);
}

// A map whose blocks are larger than this does not wait in L2 for its next use.
bool is_far(const Map &m) { return m.data && m.block() * m.lanes * 4 > 1792 * 1024; }

// `rows` x `columns` positions of `channels` channels of a map, from (channel, y, x), y and x padded coordinates.
Ahead ahead_of(const Map &m, int sample, int channel, int channels, int y, int x, int rows, int columns) {
  const ptrdiff_t position = m.lanes * 4;
  return {origin(m, sample, y, x) + channel * (ptrdiff_t)m.plane() * position, (ptrdiff_t)m.plane() * position,
          m.columns * position, channels, rows, (int)((columns * position + 63) / 64)};
}

// What the next tile reads that this one does not, as far as it lies in memory or L3. Each block of the lists asks for
// its own part.
void look_ahead(ConvBlock &b, const Pass &p, const Epilogue *e, const Block &list, int index, int sample,
                const WideTile &tile, const WideTile *next, int columns) {
  b.aheads = 0;
  if (!next || p.step_w != 1 || !p.reach_h) return;
  const int *shape = TILE_SHAPES[next->shape];
  const int width = shape[1] * (next->wide ? columns : 1), skip = next->y == tile.y ? p.reach_w : 0;
  if (is_far(p.in))
    b.ahead[b.aheads++] =
        ahead_of(p.in, sample, list.channel0, list.channels, next->y * p.stride_h, next->x * p.stride_w + skip,
                 (shape[0] - 1) * p.stride_h + 1 + p.reach_h, width * p.stride_w + p.reach_w - skip);
  const int blocks = (int)p.lists->blocks.size(), rows = b.row1 - b.row0;
  const int row0 = b.row0 + rows * index / blocks, row1 = b.row0 + rows * (index + 1) / blocks;
  auto kept = [&](const Map &m) {
    if (is_far(m)) b.ahead[b.aheads++] = ahead_of(m, sample, row0, row1 - row0, next->y + m.top, next->x + m.left, shape[0], width);
  };
  if (e && e->mask) {
    if (e->activation != NONE) kept(e->z);
    if (e->partials) kept(e->y);
  }
  if (p.accumulate) kept(p.out);
}

void look_ahead(WeightBlock &w, const Geometry &g, const Map &x, const Map &dy, int channel0, int channels, int piece,
                int pieces, int sample, const WideTile &tile, const WideTile *next, int columns) {
  w.aheads = 0;
  if (!next || g.kernel_h == 1) return;
  const int *shape = TILE_SHAPES[next->shape];
  const int width = shape[1] * (next->wide ? columns : 1), skip = next->y == tile.y ? g.kernel_w - 1 : 0;
  if (is_far(x))
    w.ahead[w.aheads++] = ahead_of(x, sample, channel0, channels, next->y * g.stride_h, next->x * g.stride_w + skip,
                                   (shape[0] - 1) * g.stride_h + g.kernel_h, width * g.stride_w + g.kernel_w - 1 - skip);
  const int rows = w.row1 - w.row0, row0 = w.row0 + rows * piece / pieces, row1 = w.row0 + rows * (piece + 1) / pieces;
  if (is_far(dy))
    w.ahead[w.aheads++] = ahead_of(dy, sample, row0, row1 - row0, next->y + dy.top, next->x + dy.left, shape[0], width);
}

void run_pass(Threads &threads, const Kernels &k, const Pass &p, const Epilogue *e, const Samples &samples,
              std::vector<float> &scratch, int partial_base) {
  const int lanes = samples.lanes;
  const bool fold = folds(p);
  const int blocks = fold ? 1 : samples.blocks;
  const int kind = fold ? 0 : column_kind(p.stride_w);
  const Wide wide = p.valid ? run_kernels(lanes) : fold || kind != 0 ? Wide() : wide_kernels(lanes, p.width);
  const WideTiling &tiling = p.valid ? tile_run(p.width, wide)
                             : fold  ? tile_wide(samples.blocks, 1, k.largest_tile, wide)
                                  : tile_wide(p.height, p.width, kind == 2 ? 4 : k.largest_tile, wide);
  const int bands = (int)tiling.bands.size() - 1;
  const int groups = std::min(bands, std::max(1, ITEMS / blocks));
  const bool dense_rows = p.lists->blocks.front().row1 == p.lists->rows; // one group: rows may be split
  const int splits = dense_rows ? std::max(1, std::min(p.lists->rows / 32, ITEMS / (blocks * groups))) : 1;
  Partials *partials = e ? e->partials : nullptr;
  const int wide_lanes = lanes * wide.columns;
  // Sums of narrow tiles, then of wide ones.
  const size_t narrow_sums = ((size_t)p.lists->rows * 2 * lanes + 15) / 16 * 16;
  const size_t sums_size = narrow_sums + (wide.columns > 1 ? (size_t)p.lists->rows * 2 * wide_lanes : 0);
  if (partials && scratch.size() < sums_size * threads.count() + 16) scratch.resize(sums_size * threads.count() + 16);
  float *aligned = (float *)(((uintptr_t)scratch.data() + 63) & ~(uintptr_t)63);

  threads.run(blocks * groups * splits, [&](int item, int worker) {
    const int split = item % splits, group = item / splits % groups, block = item / splits / groups;
    const int band0 = (int)((long)bands * group / groups), band1 = (int)((long)bands * (group + 1) / groups);
    const int row0 = (int)((long)p.lists->rows * split / splits), row1 = (int)((long)p.lists->rows * (split + 1) / splits);
    float *sums = partials ? aligned + sums_size * worker : nullptr;
    auto clear = [&](float *at, int width) {
      std::memset(at + (size_t)row0 * 2 * width, 0, (size_t)(row1 - row0) * 2 * width * 4);
    };
    if (sums) clear(sums, lanes);
    if (sums && wide.columns > 1) clear(sums + narrow_sums, wide_lanes);
    ConvBlock b{};
    b.offsets = p.lists->offsets.data();
    b.values = p.lists->values.data();
    b.input_row = fold ? (ptrdiff_t)p.in.block() * lanes * 4 : (ptrdiff_t)p.stride_h * p.in.columns * lanes * 4;
    b.input_column = (ptrdiff_t)p.stride_w * lanes * 4;
    b.output_channel = p.out.plane() * lanes;
    b.output_row = fold ? (ptrdiff_t)p.out.block() * lanes : (ptrdiff_t)p.step_h * p.out.columns * lanes;
    b.output_column = (ptrdiff_t)p.step_w * lanes;
    b.bias = p.bias;
    if (e) {
      b.mask = e->mask;
      b.center = partials ? partials->center : nullptr;
      b.activation = e->activation;
      b.kept_channel = e->z.plane() * lanes;
      b.kept_row = fold ? (ptrdiff_t)e->z.block() * lanes : (ptrdiff_t)p.step_h * e->z.columns * lanes;
      b.kept_input_channel = e->y.plane() * lanes;
      b.kept_input_row = fold ? (ptrdiff_t)e->y.block() * lanes : (ptrdiff_t)p.step_h * e->y.columns * lanes;
      if (const Affine *f = e->finish) {
        b.finish = true;
        b.activation = f->activation;
        b.scale = f->scale1;
        b.shift = f->shift1;
        b.add_scale = f->scale2;
        b.add_shift = f->shift2;
        b.add_channel = e->add.plane() * lanes;
        b.add_row = fold ? (ptrdiff_t)e->add.block() * lanes : (ptrdiff_t)e->add.columns * lanes;
      }
    }
    for (int t = tiling.bands[band0]; t < tiling.bands[band1]; t++) {
      const WideTile &tile = tiling.tiles[t];
      const int n = fold ? tile.y : block, ty = fold ? 0 : tile.y, tx = fold ? 0 : tile.x;
      b.sums = !sums ? nullptr : tile.wide ? sums + narrow_sums : sums;
      const int oy = p.out_y + ty * p.step_h, ox = p.out_x + tx * p.step_w;
      b.input = origin(p.in, n, ty * p.stride_h, tx * p.stride_w);
      b.output = p.out.at(n, 0, oy, ox);
      if (e && e->mask) {
        b.kept = e->z.data ? e->z.at(n, 0, oy, ox) : nullptr;
        b.kept_input = e->y.data ? e->y.at(n, 0, oy, ox) : nullptr;
      }
      if (e && e->add.data) b.add = e->add.at(n, 0, oy, ox);
      b.valid = p.valid ? p.valid + (size_t)tx * lanes : nullptr;
      const Kernels &fitting = tile.wide ? *wide.kernels : k;
      const ConvBlockKernel kernel = p.valid                 ? fitting.run_conv[tile.shape]
                                     : p.step_w == 1 || fold ? fitting.conv[tile.shape][kind]
                                                             : fitting.conv_apart[tile.shape][tile.wide ? wide.columns / 2 : 0];
      for (const Block &list : p.lists->blocks) {
        b.row0 = std::max(list.row0, row0);
        b.row1 = std::min(list.row1, row1);
        b.pointers = p.lists->pointers.data() + list.base;
        b.first = list.first && !p.accumulate;
        b.last = list.last;
        if (!fold)
          look_ahead(b, p, e, list, (int)(&list - p.lists->blocks.data()), n, tile,
                     t + 1 < tiling.bands[band1] ? &tiling.tiles[t + 1] : nullptr, wide.columns);
        kernel(b);
      }
    }
    if (partials) {
      double *out = &partials->values[(size_t)(partial_base + block * groups + group) * partials->rows * 2];
      // The masked gradient is zero in padded lanes; a forward output may not be.
      const int real = e->mask || fold ? lanes : samples.in_block(block);
      for (int i = row0 * 2; i < row1 * 2; i++) {
        double s = 0;
        for (int l = 0; l < real; l++) s += sums[(size_t)i * lanes + l];
        for (int c = 0; c < wide.columns && wide.columns > 1; c++)
          for (int l = 0; l < real; l++) s += sums[narrow_sums + (size_t)i * wide_lanes + c * lanes + l];
        out[i] = s;
      }
    }
  });
}

int pass_partials(const Kernels &k, const Pass &p, const Samples &samples) {
  if (p.valid)
    return samples.blocks * std::min((int)tile_run(p.width, run_kernels(samples.lanes)).tiles.size(),
                                     std::max(1, ITEMS / samples.blocks));
  if (folds(p)) return (int)tile_wide(samples.blocks, 1, k.largest_tile, Wide()).bands.size() - 1;
  const int kind = column_kind(p.stride_w);
  const Wide wide = kind != 0 ? Wide() : wide_kernels(samples.lanes, p.width);
  const int bands = (int)tile_wide(p.height, p.width, kind == 2 ? 4 : k.largest_tile, wide).bands.size() - 1;
  return samples.blocks * std::min(bands, std::max(1, ITEMS / samples.blocks));
}

} // namespace

void conv_forward(Threads &threads, const Kernels &k, const Geometry &g, const Lists &lists, const Map &x, const Map &y,
                  const float *bias, const Samples &samples, Partials *sums, std::vector<float> &scratch,
                  const Affine *finish) {
  Pass p{&lists, x, y, g.stride_h, g.stride_w, 0, 0, 1, 1, y.height, y.width, bias, false,
         g.kernel_h - 1, g.kernel_w - 1};
  Epilogue e;
  e.finish = finish;
  if (finish) e.add = finish->b;
  if (runs(x, y)) p = as_run(p, &e);
  e.partials = sums;
  const int count = sums ? pass_partials(k, p, samples) : 0;
  if (sums) sums->reset(count, lists.rows);
  run_pass(threads, k, p, sums || finish ? &e : nullptr, samples, scratch, 0);
}

void conv_backward_input(Threads &threads, const Kernels &k, const Geometry &g, const std::vector<Lists> &phases,
                         const Map &dy, const Map &dx, bool accumulate, const Epilogue *given,
                         const Samples &samples, std::vector<float> &scratch) {
  const bool run = runs(dy, dx), phased = run && (g.stride_h > 1 || g.stride_w > 1);
  Epilogue own = given ? *given : Epilogue();
  Epilogue *e = given ? &own : nullptr;
  std::vector<Pass> passes;
  int partials = 0;
  for (int py = 0; py < g.stride_h; py++)
    for (int px = 0; px < g.stride_w; px++) {
      const Lists &lists = phases[py * g.stride_w + px];
      // Of a run dx holds the phases below each other, all of one size.
      const int h = phased ? dx.height / (g.stride_h * g.stride_w) : (dx.height - py + g.stride_h - 1) / g.stride_h;
      const int w = phased ? dx.width : (dx.width - px + g.stride_w - 1) / g.stride_w;
      if (h <= 0 || w <= 0) continue;
      if (accumulate && !e && lists.offsets.empty()) continue;
      passes.push_back({&lists, dy, dx, 1, 1, py, px, g.stride_h, g.stride_w, h, w, nullptr, accumulate,
                        (g.kernel_h - 1) / g.stride_h, (g.kernel_w - 1) / g.stride_w});
      if (phased) passes.back().out_y = (py * g.stride_w + px) * h, passes.back().out_x = 0;
      if (run) passes.back() = as_run(passes.back(), e);
      if (e && e->partials) partials += pass_partials(k, passes.back(), samples);
    }
  if (e && e->partials) e->partials->reset(partials, dx.channels);
  int base = 0;
  for (const Pass &p : passes) {
    run_pass(threads, k, p, e, samples, scratch, base);
    if (e && e->partials) base += pass_partials(k, p, samples);
  }
}

namespace {

// `run`: x and dy are the only rows of their planes.
void weight_pass(Threads &threads, const Kernels &k, const Geometry &g, const Lists &lists, const Map &x, const Map &dy,
                 bool run, const Samples &samples, float *gradients, std::vector<float> &scratch) {
  const int lanes = samples.lanes;
  const bool fold = !run && dy.height == 1 && dy.width == 1;
  const int blocks = fold ? 1 : samples.blocks;
  const int kind = fold ? 0 : column_kind(g.stride_w);
  const Wide wide = run ? run_kernels(lanes) : fold || kind != 0 ? Wide() : wide_kernels(lanes, dy.width);
  const WideTiling &tiling = run    ? tile_run(dy.width, wide)
                             : fold ? tile_wide(samples.blocks, 1, k.largest_tile, wide)
                                  : tile_wide(dy.height, dy.width, kind == 2 ? 4 : k.largest_tile, wide);
  // Sums are reduced at once where there are few visits or lists are long, else vectors are kept. By density and not by
  // the lists' lengths, which blocking changes.
  const bool direct = tiling.tiles.size() * blocks <= 2 || lists.offsets.size() > LONG_LISTS * lists.rows * g.group_in();

  // Items are ranges of rows of equal work. Each streams the whole input through L1, so there are few; but no more
  // accumulators than fit in L2.
  std::vector<long> before(lists.rows + 1, 0); // entries of the rows before
  for (const Block &b : lists.blocks)
    for (int r = b.row0; r < b.row1; r++) before[r + 1] += lists.pointers[b.base + r + 1] - lists.pointers[b.base + r];
  for (int r = 0; r < lists.rows; r++) before[r + 1] += before[r];
  const long total = before.back(), limit = direct ? WEIGHT_CHUNK * 16L : WEIGHT_CHUNK;
  const long per_thread = (total + limit * threads.count() - 1) / (limit * threads.count());
  const long items = std::min((long)lists.rows, threads.count() * per_thread);
  std::vector<int> cuts{0};
  long largest = 0;
  for (long i = 1; i <= items; i++) {
    const long aim = total * i / items;
    int r = (int)(std::lower_bound(before.begin(), before.end(), aim) - before.begin());
    if (r > cuts.back() + 1 && before[r] - aim > aim - before[r - 1]) r--;
    if (r <= cuts.back()) continue;
    largest = std::max(largest, before[r] - before[cuts.back()]);
    cuts.push_back(r);
  }

  const bool in_place = direct && !lists.subset; // sums go straight to the gradients
  const size_t width = direct ? 1 : lanes * wide.columns; // of an accumulator; narrow tiles reduce at once beside wide
  if (in_place) largest = 0;
  const size_t per_worker = ((size_t)largest * width + largest + 64 + 15) / 16 * 16;
  if (scratch.size() < per_worker * threads.count() + 16) scratch.resize(per_worker * threads.count() + 16);
  float *aligned = (float *)(((uintptr_t)scratch.data() + 63) & ~(uintptr_t)63);

  threads.run((int)cuts.size() - 1, [&](int item, int worker) {
    const int row0 = cuts[item], row1 = cuts[item + 1];
    float *accumulate = aligned + per_worker * worker;
    // The entries of these rows, block by block, stand one after another in the accumulators.
    struct Piece {
      int row0, row1, base, start, count, channel0, channels;
    };
    std::vector<Piece> pieces;
    int n = 0;
    for (const Block &b : lists.blocks) {
      const int r0 = std::max(b.row0, row0), r1 = std::min(b.row1, row1);
      if (r0 >= r1) continue;
      const int start = lists.pointers[b.base + r0], count = lists.pointers[b.base + r1] - start;
      if (!count) continue;
      pieces.push_back({r0, r1, b.base, start, count, b.channel0, b.channels});
      n += count;
    }
    if (!n) return;
    float *reduced = direct ? accumulate : accumulate + (size_t)largest * width;
    if (!in_place) std::memset(accumulate, 0, (size_t)n * width * 4);
    if (!direct) std::memset(reduced, 0, (size_t)n * 4);
    WeightBlock w{};
    w.offsets = lists.offsets.data();
    w.input_row = fold ? (ptrdiff_t)x.block() * lanes * 4 : (ptrdiff_t)g.stride_h * x.columns * lanes * 4;
    w.input_column = (ptrdiff_t)g.stride_w * lanes * 4;
    w.gradient_channel = dy.plane() * lanes;
    w.gradient_row = fold ? (ptrdiff_t)dy.block() * lanes : (ptrdiff_t)dy.columns * lanes;
    for (int block = 0; block < blocks; block++)
      for (size_t t = 0; t < tiling.tiles.size(); t++) {
        const WideTile &tile = tiling.tiles[t], *next = t + 1 < tiling.tiles.size() ? &tile + 1 : nullptr;
        const int sample = fold ? tile.y : block, ty = fold ? 0 : tile.y, tx = fold ? 0 : tile.x;
        w.input = origin(x, sample, ty * g.stride_h, tx * g.stride_w);
        w.gradient = dy.at(sample, 0, ty, tx);
        const WeightBlockKernel kernel = run         ? wide.kernels->run_weight[tile.shape]
                                         : tile.wide ? wide.kernels->weight[tile.shape][0]
                                                     : k.weight[tile.shape][kind];
        const bool at_once = direct || (wide.columns > 1 && !tile.wide);
        int place = 0;
        for (const Piece &p : pieces) {
          w.row0 = p.row0;
          w.row1 = p.row1;
          w.pointers = lists.pointers.data() + p.base;
          w.base = p.start;
          w.accumulate = accumulate + (size_t)place * width;
          w.starts = in_place ? lists.starts.data() + p.base : w.pointers;
          w.reduced = in_place ? gradients : at_once ? reduced + place - p.start : nullptr;
          if (!fold) look_ahead(w, g, x, dy, p.channel0, p.channels, (int)(&p - pieces.data()), (int)pieces.size(), block, tile, next, wide.columns);
          kernel(w);
          place += p.count;
        }
      }
    if (in_place) return;
    if (!direct) (wide.columns > 1 ? *wide.kernels : k).reduce(accumulate, n, reduced);
    for (const Piece &p : pieces) {
      lists.add(gradients, reduced, p.start, p.start + p.count);
      reduced += p.count;
    }
  });
}

} // namespace

void conv_backward_weight(Threads &threads, const Kernels &k, const Geometry &g, const Lists &lists, const Map &x,
                          const Map &dy, const Samples &samples, float *gradients, std::vector<float> &scratch) {
  if (lists.offsets.empty()) return;
  if (runs(x, dy)) {
    Geometry flat = g;
    flat.stride_h = flat.stride_w = flat.kernel_h = 1;
    Map out = run_view(dy);
    out.width = run_positions(dy.height, dy.width, dy.columns);
    return weight_pass(threads, k, flat, lists, run_view(x), out, true, samples, gradients, scratch);
  }
  weight_pass(threads, k, g, lists, x, dy, false, samples, gradients, scratch);
}

} // namespace edgecl
