#include "lists.h"

#include <algorithm>
#include <cmath>

#include "table.h"

namespace edgecl {
namespace {

struct Tap {
  int out, in, ky, kx; // in: channel within the group
};

Tap decode(const Geometry &g, int64_t flat) {
  Tap t;
  t.kx = flat % g.taps_w() * g.dilation_w;
  flat /= g.taps_w();
  t.ky = flat % g.taps_h() * g.dilation_h;
  flat /= g.taps_h();
  t.in = flat % g.group_in();
  t.out = (int)(flat / g.group_in());
  return t;
}

// Blocks over `channels` (per group, cut into pieces of `size`) for rows of the same group.
void make_blocks(Lists &l, int groups, int group_rows, int channels, int size) {
  const int pieces = (channels + size - 1) / size;
  int cell = 0;
  for (int g = 0; g < groups; g++)
    for (int p = 0; p < pieces; p++) {
      l.blocks.push_back({g * group_rows, (g + 1) * group_rows, g * channels + p * size,
                          std::min(size, channels - p * size), cell - g * group_rows, p == 0, p == pieces - 1});
      cell += group_rows;
    }
  l.rows = groups * group_rows;
  l.pointers.assign(cell + 1, 0);
}

// Positions as steps of 16 bits, where all fit.
void shorten(Lists &l) {
  for (int cell = 0; cell < l.cells(); cell++)
    for (int k = l.pointers[cell] + 1; k < l.pointers[cell + 1]; k++)
      if (l.positions[k] - l.positions[k - 1] > 0xffff) return;
  l.steps.resize(l.positions.size());
  for (int cell = 0; cell < l.cells(); cell++)
    for (int k = l.pointers[cell] + 1; k < l.pointers[cell + 1]; k++)
      l.steps[k] = (uint16_t)(l.positions[k] - l.positions[k - 1]);
  std::vector<int>().swap(l.positions);
}

// Two passes over the entries: count per (block, row), then place. `each` calls back (cell, offset, position) in
// canonical order, so that entries of a list stay in (channel, kh, kw) order. `follow`: a cell's positions do.
template <class Each> void fill(Lists &l, bool values, bool follow, const Each &each) {
  each([&](int cell, int, int64_t) { l.pointers[cell + 1]++; });
  for (size_t i = 1; i < l.pointers.size(); i++) l.pointers[i] += l.pointers[i - 1];
  const size_t n = l.pointers.back();
  l.offsets.resize(n);
  l.starts.resize(l.cells());
  if (values) l.values.resize(n);
  if (!follow) l.positions.resize(n);
  std::vector<int> next(l.pointers.begin(), l.pointers.end() - 1);
  each([&](int cell, int offset, int64_t position) {
    const int k = next[cell]++;
    l.offsets[k] = offset;
    if (k == l.pointers[cell]) l.starts[cell] = (int)position;
    if (!follow) l.positions[k] = (int)position;
  });
  if (!follow) shorten(l);
}

} // namespace

void Lists::refresh(const float *canonical, int first_cell, int last_cell) {
  float *to = values.data();
  if (!positions.empty()) {
    for (int k = pointers[first_cell]; k < pointers[last_cell]; k++) to[k] = canonical[positions[k]];
    return;
  }
  const uint16_t *step = steps.empty() ? nullptr : steps.data();
  for (int cell = first_cell; cell < last_cell; cell++) {
    const float *from = canonical + starts[cell];
    const int first = pointers[cell], last = pointers[cell + 1];
    if (step)
      for (int k = first; k < last; k++) to[k] = *(from += step[k]);
    else
      for (int k = first; k < last; k++) to[k] = from[k - first];
  }
}

void Lists::add(float *gradients, const float *sums, int first, int last) const {
  int cell = (int)(std::upper_bound(pointers.begin(), pointers.end(), first) - pointers.begin()) - 1;
  for (int k = first; k < last; cell++) {
    const int at = starts[cell] + k - pointers[cell], count = std::min(last, pointers[cell + 1]) - k;
    const float *from = sums + (k - first);
    if (subset)
      for (int i = 0; i < count; i++) gradients[subset[at + i]] += from[i];
    else
      for (int i = 0; i < count; i++) gradients[at + i] += from[i];
    k += count;
  }
}

Lists forward_lists(const Geometry &g, const Living &living, const Plane &in, int size, const int32_t *subset,
                    int64_t subset_count) {
  Lists l;
  make_blocks(l, g.groups, g.group_out(), g.group_in(), size);
  const int pieces = (g.group_in() + size - 1) / size;
  const int64_t n = subset ? subset_count : living.count;
  l.subset = subset;
  fill(l, !subset, true, [&](const auto &emit) {
    for (int64_t i = 0; i < n; i++) {
      const int64_t position = subset ? subset[i] : i;
      const Tap t = decode(g, living.at(position));
      if (g.depthwise()) {
        emit(t.out, t.ky * g.kernel_w + t.kx, i);
        continue;
      }
      const int group = t.out / g.group_out();
      const int cell = (group * pieces + t.in / size) * g.group_out() + t.out % g.group_out();
      const int64_t channel = group * g.group_in() + t.in;
      int row = t.ky + in.top - g.pad_h, column = t.kx + in.left - g.pad_w;
      if (in.phase_rows) {
        const int phase = t.ky % g.stride_h * std::min(g.kernel_w, g.stride_w) + t.kx % g.stride_w;
        row = phase * in.phase_rows + t.ky / g.stride_h;
        column = t.kx / g.stride_w;
      }
      const int64_t vector = (channel * in.rows + row) * in.columns + column;
      emit(cell, (int)(vector * in.lanes * 4), i);
    }
  });
  return l;
}

Lists backward_lists(const Geometry &g, const Living &living, const Plane &dy, int size, int phase_y, int phase_x) {
  Lists l;
  make_blocks(l, g.groups, g.group_in(), g.group_out(), size);
  const int pieces = (g.group_out() + size - 1) / size;
  fill(l, true, false, [&](const auto &emit) {
    for (int64_t i = 0; i < living.count; i++) {
      const Tap t = decode(g, living.at(i));
      const int y = phase_y + g.pad_h - t.ky, x = phase_x + g.pad_w - t.kx;
      if (y % g.stride_h || x % g.stride_w) continue; // C++ remainder: zero exactly when divisible, any sign
      const int group = t.out / g.group_out();
      const int cell = (group * pieces + t.out % g.group_out() / size) * g.group_in() + t.in;
      const int64_t vector = ((int64_t)t.out * dy.rows + y / g.stride_h + dy.top) * dy.columns + x / g.stride_w + dy.left;
      emit(cell, (int)(vector * dy.lanes * 4), i);
    }
  });
  return l;
}

int block_channels(const Geometry &g, double density, int lanes, int channels, int positions) {
  const int widest = isa_lanes()[0];
  // Three quarters of the first data cache that processors of this instruction set have at least, or nearly so. Not of
  // the one at hand: blocks say in which order sums are added up, which shall be the same on each of them.
  const double L1 = 0.75 * (widest >= 16 ? 48 : 32) * 1024;
  // A 2x8 tile of vectors; narrow lanes take several columns a vector (see conv.cpp).
  double footprint = (2.0 + g.kernel_h - 1) * (8.0 * widest / lanes + g.kernel_w - 1) * lanes * 4;
  if (lanes < 4 && positions) { // 16 vectors of a run with the rows they reach, or a whole plane
    const double side = std::sqrt(positions), pitch = side + g.kernel_w - 1;
    footprint = std::min((side + g.kernel_h - 1) * pitch, 16.0 * widest / lanes + (g.kernel_h - 1) * pitch) * lanes * 4;
  }
  int size = std::max(4, (int)(L1 / footprint));
  while (size < channels && density * size * g.kernel_h * g.kernel_w < 8) size *= 2;
  // A summand is rounded least often with as many entries in a block as there are blocks; up to 128 do little harm. A map
  // of one position has no tile to keep in L1.
  const double entries = std::max(density * g.kernel_h * g.kernel_w, 1.0 / channels); // of a row and channel
  const double even = std::sqrt(entries * channels);
  size = std::min(size, std::max(1, (int)(std::max(128.0, even) / entries)));
  if (positions == 1) size = std::max(size, (int)(even / entries));
  // Blocks of equal size.
  int blocks = (channels + size - 1) / size;
#if defined(__aarch64__)
  // One fewer where equal blocks would bring the lists below what pays for loading and storing their accumulators.
  if (blocks > 1 && density * channels / blocks * g.kernel_h * g.kernel_w < 8) blocks--;
#endif
  return (channels + blocks - 1) / blocks;
}

Tiling tile_grid(int h, int w, int largest_tile) {
  // Segments of a row of tiles of height th: the widest shapes first.
  auto segments = [&](int th) {
    std::vector<std::pair<int, int>> out; // (x, shape)
    int best_width[TILE_COUNT], n = 0, shape[TILE_COUNT];
    for (int i = 0; i < TILE_COUNT; i++)
      if (TILE_SHAPES[i][0] == th && TILE_SHAPES[i][0] * TILE_SHAPES[i][1] <= largest_tile) {
        best_width[n] = TILE_SHAPES[i][1];
        shape[n++] = i;
      }
    // Fewest tiles by dynamic programming over the width.
    std::vector<int> cost(w + 1, 1 << 30), choice(w + 1, -1);
    cost[0] = 0;
    for (int x = 1; x <= w; x++)
      for (int j = 0; j < n; j++)
        if (best_width[j] <= x && cost[x - best_width[j]] + 1 <= cost[x]) {
          cost[x] = cost[x - best_width[j]] + 1;
          choice[x] = j;
        }
    for (int x = w; x > 0; x -= best_width[choice[x]]) out.push_back({x - best_width[choice[x]], shape[choice[x]]});
    std::reverse(out.begin(), out.end());
    return out;
  };
  auto cut = [&](int th) {
    Tiling t;
    for (int y = 0; y < h;) {
      int height = th;
      while (height > h - y) height /= 2;
      t.bands.push_back((int)t.tiles.size());
      for (auto [x, shape] : segments(height)) t.tiles.push_back({y, x, shape});
      y += height;
    }
    t.bands.push_back((int)t.tiles.size());
    return t;
  };
  Tiling best = cut(1);
  for (int th : {2, 4}) {
    if (th > h) break;
    Tiling t = cut(th);
    if (t.tiles.size() < best.tiles.size() || (t.tiles.size() == best.tiles.size() && th == 2 && w > 8)) best = t;
  }
  return best;
}

} // namespace edgecl
