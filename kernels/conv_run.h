// Convolution over whole maps: cuts the work into items for the pool and calls the kernels of conv.h.
#pragma once
#include <vector>

#include "lists.h"
#include "table.h"
#include "threads.h"

namespace edgecl {

// What the epilogue of a convolution adds up, per work item and row: two doubles. Sums are taken over the items in
// order, so they do not depend on threads.
struct Partials {
  std::vector<double> values; // [items][rows][2]
  int items = 0, rows = 0;
  const float *center = nullptr; // of each row: taken off what the second sum multiplies with; null: 0
  void reset(int items_, int rows_) {
    items = items_;
    rows = rows_;
    values.assign((size_t)items * rows * 2, 0.0);
  }
  double total(int row, int which) const {
    double s = 0;
    for (int i = 0; i < items; i++) s += values[((size_t)i * rows + row) * 2 + which];
    return s;
  }
};

struct Epilogue {
  bool mask = false; // backward: multiply by activation'(z)
  int activation = NONE;
  Map z, y;                      // y: also sum gradient * (y - center) (when partials is given)
  Partials *partials = nullptr;  // forward: sum and sum of squares of the output
  Map add;                       // forward, with finish: its summand
  const Affine *finish = nullptr; // forward of a prediction: what follows, but for its first operand
};

// Samples of one call: blocks of `lanes`, the last with `last_lanes` real ones.
struct Samples {
  int blocks, lanes, last_lanes;
  int in_block(int b) const { return b == blocks - 1 ? last_lanes : lanes; }
};

void conv_forward(Threads &, const Kernels &, const Geometry &, const Lists &, const Map &x, const Map &y,
                  const float *bias, const Samples &, Partials *sums, std::vector<float> &scratch,
                  const Affine *finish = nullptr);

// dx (+)= W^T dy; `phases` holds stride_h * stride_w lists.
void conv_backward_input(Threads &, const Kernels &, const Geometry &, const std::vector<Lists> &phases, const Map &dy,
                         const Map &dx, bool accumulate, const Epilogue *, const Samples &,
                         std::vector<float> &scratch);

// gradients[position] += dy . x over the entries of `lists`.
void conv_backward_weight(Threads &, const Kernels &, const Geometry &, const Lists &, const Map &x, const Map &dy,
                          const Samples &, float *gradients, std::vector<float> &scratch);

} // namespace edgecl
