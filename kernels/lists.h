// Index lists of one weight tensor, made from its pattern. Cell block.base + r, row r of a block: entries
// [pointers[cell], pointers[cell + 1]) of (byte offset, value), in canonical order. Forward lists of a depthwise
// convolution have taps, ky * kernel_w + kx, for offsets.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "map.h"

namespace edgecl {

// A convolution; a linear layer is one with a 1x1 kernel on 1x1 maps. Weights are [out][in / groups][taps_h][taps_w]; the
// kernel is as large as they reach, of a dilated one only every so many of its places are taps. Padding is what stands
// before the map; what stands after it follows from the output's size.
struct Geometry {
  int out, in, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, groups;
  int dilation_h = 1, dilation_w = 1;
  bool transposed = false; // run by its input gradient: lists of every geometry are general ones
  int taps_h() const { return (kernel_h - 1) / dilation_h + 1; }
  int taps_w() const { return (kernel_w - 1) / dilation_w + 1; }
  int group_in() const { return in / groups; }
  int group_out() const { return out / groups; }
  int64_t size() const { return (int64_t)out * group_in() * taps_h() * taps_w(); }
  bool depthwise() const { return !transposed && groups > 1 && groups == in && groups == out; }
};

struct Block {
  int row0, row1; // rows it adds to
  int channel0, channels; // channels its entries read
  int base;       // row r's list starts at pointers[base + r]
  bool first, last; // among the blocks of these rows
};

struct Lists {
  int rows = 0;
  std::vector<Block> blocks;
  std::vector<int> pointers;
  std::vector<int> offsets;
  std::vector<float> values; // empty in gradient lists
  // Where a cell's entries stand among the living weights: the first at starts[cell]. In forward lists the others follow
  // it; in gradient lists both are positions in `subset`. In backward lists each stands `steps` after the one before, or
  // at `positions` where some step takes more than 16 bits.
  std::vector<int> starts;
  const int32_t *subset = nullptr;
  std::vector<uint16_t> steps;
  std::vector<int> positions;

  int cells() const { return (int)pointers.size() - 1; }
  void refresh(const float *canonical, int first_cell, int last_cell); // values of these cells again
  // gradients[position of entry k] += sums[k - first], for entries [first, last) of forward or gradient lists.
  void add(float *gradients, const float *sums, int first, int last) const;
  size_t bytes() const {
    return blocks.capacity() * sizeof(Block) + steps.capacity() * 2 +
           (pointers.capacity() + offsets.capacity() + values.capacity() + starts.capacity() + positions.capacity()) * 4;
  }
};

// The plane of a map as the lists see it. `phase_rows` > 0: of an input cut into phases (runs.h), that many rows each.
struct Plane {
  int rows, columns, top, left, lanes, phase_rows = 0;
};

// Living weights: `count` sorted flat indices, or all when `pattern` is null.
struct Living {
  const int32_t *pattern;
  int64_t count;
  int64_t at(int64_t i) const { return pattern ? pattern[i] : i; }
};

// Rows are output channels, blocks run over input channels; offsets into the input map. `subset` (sorted positions
// in the living list) restricts the entries: the gradient lists.
Lists forward_lists(const Geometry &, const Living &, const Plane &input, int block_channels, const int32_t *subset,
                    int64_t subset_count);

// Rows are input channels, blocks run over output channels; offsets into the output gradient. For input rows
// y = phase_y mod stride and columns alike.
Lists backward_lists(const Geometry &, const Living &, const Plane &gradient, int block_channels, int phase_y,
                     int phase_x);

// Channels per block: the input tile of a block should stay in L1 and lists should not get too short.
// `positions` of an input plane, where known, bound the tile where planes are runs.
int block_channels(const Geometry &, double density, int lanes, int channels, int positions = 0);

struct Tile {
  int y, x, shape; // shape indexes TILE_SHAPES
};

// Cuts an h x w grid into bands of tiles; bands[i] is the first tile of band i (one more entry at the end).
struct Tiling {
  std::vector<Tile> tiles;
  std::vector<int> bands;
};
Tiling tile_grid(int h, int w, int largest_tile);

} // namespace edgecl
