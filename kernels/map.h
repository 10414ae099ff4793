// A batch of feature maps: [n_blocks][channels][height + halo][width + halo][lanes], float32.
// The batch is innermost: lane l of block b is sample b * lanes + l. Vectors hold a position for all lanes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace edgecl {

struct Map {
  float *data = nullptr; // first vector of the first padded plane
  int channels = 0, height = 0, width = 0;
  int top = 0, left = 0;     // halo before the interior
  int rows = 0, columns = 0; // padded plane: halo included
  int lanes = 0;
  bool runs = false; // pitch, zeros and spare rows as runs.h asks

  size_t plane() const { return (size_t)rows * columns; }         // vectors
  size_t block() const { return (size_t)channels * plane(); }     // vectors
  bool halo() const { return rows != height || columns != width; }
  float *at(int block_index, int channel, int y = 0, int x = 0) const { // interior coordinates
    return data + (block_index * block() + channel * plane() + (size_t)(y + top) * columns + x + left) * lanes;
  }
};

} // namespace edgecl
