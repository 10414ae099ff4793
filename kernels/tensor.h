// Tensor operations: elementwise with broadcasting, reductions, softmax and norms along lines, products of maps,
// resampling, recurrences. One family for tensors of any rank and any view of them; the convolutions have their own.
//
// A tensor of rank r lives in a map: its first axis is the channel, its last the column, those between are the row
// (rank 1: channels only, rank 2: rows of height 1). So an axis has a constant stride, whatever halo the map has, and a
// view - a permutation, a slice, a broadcast, windows - is an offset and a stride for each axis of an iteration. A
// position is a vector with one float of each sample (lane); a parameter has one float for all of them.
//
// Every kernel walks rows along the innermost axis. What does not lie there position by position is gathered into a
// scratch row in L1, computed flat, and scattered: only gather and scatter know strides and lanes.
#pragma once
#include "map.h"
#include "operations.h" // written at build time

namespace edgecl {

constexpr int MAX_AXES = 8;
constexpr int MAX_INPUTS = 4;
constexpr int ROW_FLOATS = 1024; // of a scratch row

// A view of a map (of one block of samples) or of a parameter: strides in floats.
struct View {
  float *base = nullptr;
  ptrdiff_t stride[MAX_AXES] = {};
  bool parameter = false;
};

enum class Combine : int { STORE = 0, ADD = 1 };

// What is the same for all work items of an operation; views are set for each block.
struct TensorOp {
  int axes = 0;
  int size[MAX_AXES] = {};
  View out, in[MAX_INPUTS];
  int inputs = 0;
  Function function = Function::identity;
  Combine combine = Combine::STORE;
  float alpha = 0, beta = 0;
  int lanes = 0, real = 0; // floats of a position, those of them that hold samples
  int line = 0;            // axes of a line, the innermost ones (lines); output axis size (resample)
};

// y[row] (+)= sum over entries of weight * x[column], along one axis.
struct SparseRows {
  const int *pointers, *columns, *weights; // weights are floats as bits
  ptrdiff_t out_stride, in_stride;
};

// One recurrent layer over all steps, for one block of samples; planes are [channel][step][lane].
struct Recurrence {
  int hidden, steps, lanes;
  bool reverse;
  const float *input;              // gate inputs [gates * hidden][steps]
  float *state, *kept, *cell;      // output [hidden][steps]; gate values; LSTM cells
  ptrdiff_t input_plane, state_plane, kept_plane, cell_plane; // floats
  const float *weights;            // living, canonical [gates * hidden][hidden]
  const int *rows, *columns;       // rows[r] .. rows[r + 1): the living ones of a row
  const float *bias;               // on the recurrent side [gates * hidden]; null: zeros
  int gates;                       // 4 LSTM, 3 GRU, 1 RNN
  bool reset_after;                // GRU: linear_before_reset
  float *scratch;                  // (gates + 3) * hidden * lanes floats
  // Backward: gradient of the output, gradient of the gate inputs, and of what the recurrent product gave (GRU).
  const float *dstate;
  float *dinput, *dproduct;
  ptrdiff_t dstate_plane, dinput_plane, dproduct_plane;
};

struct TensorKernels {
  // Rows [first, last) of the outermost axis that is not of size 1 is the caller's to choose by changing size[0].
  void (*each)(const TensorOp &);
  void (*lines)(const TensorOp &, float *scratch); // scratch: inputs + 1 lines
  void (*product)(const TensorOp &, float *scratch); // axes: batch.., rows, columns, inner; scratch: inner * ROW_FLOATS
  void (*resample)(const TensorOp &, const SparseRows &);
  void (*recur)(const Recurrence &);
  void (*recur_back)(const Recurrence &);
  // gradients[i] += sum over steps and samples of a[rows of i] * b[columns of i], both [steps * lanes] floats.
  float (*dot)(const float *a, const float *b, int n);
};

const TensorKernels &tensor_kernels(); // of the chosen instruction set

} // namespace edgecl
