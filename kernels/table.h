// The table of kernels of one instruction set and vector width; filled by isa.cpp, chosen in cpu.cpp.
#pragma once
#include "map.h"

namespace edgecl {

// Register tiles (rows x columns of output positions). A map is cut into these; see tiling in lists.h.
constexpr int TILE_SHAPES[][2] = {{1, 1}, {1, 2}, {1, 4}, {1, 7}, {1, 8}, {1, 16}, {2, 1}, {2, 2},
                                  {2, 4}, {2, 7}, {2, 8}, {4, 1}, {4, 2}, {4, 4}};
constexpr int TILE_COUNT = 14;
constexpr int LONGEST_RUN = 16; // vectors of a tile of a plane laid out as a run (see runs.h)

enum Activation { NONE = 0, RELU = 1, RELU6 = 2 };

// Lines that later work reads, asked for in advance: `lines` lines of 64 bytes in each of `rows` rows of each channel.
// Strides in bytes. The hardware does not foresee tiles: rows are short and planes far apart.
struct Ahead {
  const char *first;
  ptrdiff_t channel, row;
  int channels, rows, lines; // channels 0: nothing
};

constexpr int AHEADS = 4;

// One block of input channels against rows (output channels) [row0, row1), for one tile of one sample block.
// Row r's non-zeros are offsets[pointers[r] .. pointers[r+1]) in bytes from `input`, values alike.
// output[r] = sum value * input[offset] + (first ? bias[r] or 0 : output[r]); then, when `last`:
//   stats: sums[2r] += output, sums[2r+1] += output^2                       (batch norm, forward)
//   mask:  output *= activation'(kept); sums[2r] += output, sums[2r+1] += output * (kept_input - center)  (backward)
// `sums` may be null. Strides are in floats. The block's sum begins anew (at the bias when
// `first`) and runs in list order, (in, kh, kw): a summand is rounded about as often as lists are long, and once a block.
struct ConvBlock {
  const char *input;
  ptrdiff_t input_row;    // bytes between rows of the tile
  ptrdiff_t input_column; // bytes between columns (used when the stride is neither 1 nor 2)
  const int *pointers;    // indexed by row
  const int *offsets;
  const float *values;
  int row0, row1;
  float *output; // of row 0
  ptrdiff_t output_channel, output_row, output_column;
  const float *bias;
  bool first, last;
  int activation;           // mask by this; NONE: no mask
  bool mask;                // backward epilogue
  const float *kept;        // activation output (z), at row 0
  ptrdiff_t kept_channel, kept_row, kept_column;
  const float *kept_input; // normalisation input (y), at row 0
  ptrdiff_t kept_input_channel, kept_input_row, kept_input_column;
  const float *center; // of each row; null: 0
  bool finish;              // predictions: output = activation(output * scale + shift + add * add_scale + add_shift)
  const float *scale, *shift, *add_scale, *add_shift; // of each row; null: 1 and 0
  const float *add; // at row 0; null: no summand
  ptrdiff_t add_channel, add_row;
  float *sums; // [rows][2][lanes]
  const float *valid; // runs: 1 where a float of the tile is an output, 0 where padding; null: all are
  Ahead ahead[AHEADS];
  int aheads;
};

// Gradients of the weights of rows [row0, row1) for one tile: dot products of the output gradient with the
// input at each non-zero. accumulate[k] (a vector each) += ...; or, when `reduced` is given, the sum is added to
// reduced[starts[r] + i] for the i-th entry of row r.
struct WeightBlock {
  const char *input;
  ptrdiff_t input_row, input_column;
  const int *pointers;
  const int *offsets;
  int row0, row1;
  const float *gradient; // of row 0
  ptrdiff_t gradient_channel, gradient_row;
  float *accumulate; // [nonzeros][lanes], indexed by (list index - base)
  float *reduced;
  const int *starts; // indexed by row; `pointers` itself where sums lie in list order
  int base;
  Ahead ahead[AHEADS];
  int aheads;
};

typedef void (*ConvBlockKernel)(const ConvBlock &);
typedef void (*WeightBlockKernel)(const WeightBlock &);

// z = activation(scale1 * a + shift1 [+ scale2 * b + shift2]); one plane. Lanes >= lanes and halo become 0.
struct Affine {
  Map out, a, b; // b.data null: absent
  const float *scale1, *shift1, *scale2, *shift2; // per channel; null: 1 and 0
  int activation;
};

// gradient *= activation'(z) in place; sums (double [2]) of gradient and gradient * (y - center). Either may be absent.
struct Mask {
  Map gradient, z, y;
  int activation;
  const float *center; // of each channel; null: 0
};

// out (+)= scale * gradient + slope * y + shift, per channel. Lanes >= lanes and halo become 0.
struct NormBackward {
  Map out, gradient, y;
  const float *scale, *slope, *shift;
  bool accumulate;
};

// What a convolution reads through a normalisation instead of from a map of its own, per channel:
// activation(a * scale + shift), or with b (gradients) scale * a + (slope * b + shift), or with no scale just a.
struct Source {
  Map a, b;
  const float *scale, *slope, *shift;
  int activation;
  int ahead = 0; // floats by which reading is ahead of use; set by the driver
};

// Channels [channel, channel + count) of a block of samples that a depthwise convolution of few lanes works on together.
struct DepthPlanes {
  int block, channel, count, real;
  int n;                       // floats of a plane
  float *data;                 // a plane and its copies, one a kernel column, each of `size` floats with margins of zeros
  size_t size, margin;
  int columns, middle;         // kernel columns; the copy that is not shifted
  const ptrdiff_t *shift;      // of each copy, in floats
  const uint32_t *keep;        // [columns][n]: all ones where a shifted copy holds a position of the same row
  const ptrdiff_t *starts;     // of each tap's first operand, from a plane's first copy on
  const int *pointers, *taps;  // channel c has entries [pointers[c], pointers[c + 1])
  const float *weights, *bias; // bias: null for none
  float *out;                  // planes of n floats, `out_plane` floats apart
  size_t out_plane;
};

// Dense convolutions of predictions (direct_rows.h). out [rows][columns] (+)= weights [rows][depth], whose rows lie
// `weight_row` floats apart, times panel [depth][as many columns as a product has at most]; rows of `out` lie `row` apart.
struct PanelProduct {
  const float *weights;
  ptrdiff_t weight_row;
  int depth;
  const float *panel;
  float *out;
  ptrdiff_t row;
  bool add; // to what `out` holds
};

// out [rows][columns] = the living weights of rows [row0, row1) times columns of x, whose input values lie `stride` floats
// apart; rows of `out` lie `row` apart. Row r has entries [starts[r], starts[r + 1]), of flat position r * depth + k.
struct SparseProduct {
  const float *x;
  ptrdiff_t stride;
  const int32_t *pattern;
  const float *values;
  const int *starts;
  int depth, row0, row1;
  float *out;
  ptrdiff_t row;
};

// `count` output columns in a row, of one sample and one product; `at`: floats from the panel's first.
struct GatherPiece {
  int sample, y, x, count, at;
};

// Input values [k0, k1) for a panel: taps of channels from `channel` on, of maps without halo.
struct Gather {
  const Map *x;
  int channel, height, width;
  int taps_h, taps_w, tap_y, tap_x; // taps, and positions from one to the next
  int stride_h, stride_w, pad_h, pad_w;
  int k0, k1;
  const GatherPiece *piece;
  int pieces;
  float *panel;
  int row; // floats from one input value to the next
};

// height x width floats of `in` into rows of `row` floats, cut into `stride` parts of `part` floats.
struct PadPlane {
  const float *in;
  ptrdiff_t in_row;
  float *out;
  ptrdiff_t row;
  int part, stride, pad_h, pad_w, height, width;
};

// What stands behind a dense convolution of a prediction, for one channel: activation(v * scale + shift + add * add_scale).
struct FinishRow {
  float scale, shift, add_scale;
  int activation;
};

// A depthwise plane: output row y sums weights[t] * input[y * step + offsets[t] + x]. Input rows reach two vectors beyond
// `width`; outputs and `add` (null: none) lie row after row.
struct DepthRows {
  const float *input;
  ptrdiff_t step;
  const ptrdiff_t *offsets;
  const float *weights;
  int taps;
  float *out;
  const float *add;
  int height, width;
  bool three; // 3x3 taps
};

struct Pool2d {
  Map in, out; // in backward: in = gradient of the input, out = gradient of the output
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool maximum;
  const Map *kept_in; // max pooling's backward
  bool accumulate;
};

struct Kernels {
  int lanes;
  int largest_tile; // positions that fit in registers
  ConvBlockKernel conv[TILE_COUNT][3];  // [tile][column stride 1, 2, any], output columns adjacent
  ConvBlockKernel conv_apart[TILE_COUNT][3]; // column stride 1; output columns apart, 1, 2 or 4 of them a vector
  WeightBlockKernel weight[TILE_COUNT][3];
  // Tiles of 1 .. LONGEST_RUN vectors in a row, as far as the registers reach; of the widest vectors only.
  ConvBlockKernel run_conv[LONGEST_RUN + 1];
  WeightBlockKernel run_weight[LONGEST_RUN + 1];
  // out[k] += sum of vector k, for `count` vectors
  void (*reduce)(const float *vectors, int count, float *out);
  void (*halo)(const Map &, int block, int channel); // zeroes the halo of one plane
  void (*save)(const Map &, const Map &saved, int block, int channel); // one plane to bfloat16, without halo
  void (*restore)(const Map &saved, const Map &, int block, int channel); // and back; zeroes the halo
  void (*plane_sums)(const Map &y, int block, int channel, int lanes, double *sums); // sum, sum of squares
  void (*affine)(const Affine &, int block, int channel, int lanes);
  void (*mask)(const Mask &, int block, int channel, double *sums);
  void (*norm_backward)(const NormBackward &, int block, int channel, int lanes);
  // dst (+)= src * factor (factor map optional); halo and lanes >= lanes become 0 unless accumulating
  void (*copy)(const Map &dst, const Map &src, const Map *factor, int block, int channel, int lanes, bool accumulate);
  void (*pool_forward)(const Pool2d &, int block, int channel, int lanes);
  void (*pool_backward)(const Pool2d &, int block, int channel);
  void (*group_norm_forward)(const Map &out, const Map &in, int block, int group, int groups, const float *scale,
                             const float *shift, float epsilon, float *mean, float *rstd, int lanes);
  void (*group_norm_backward)(const Map &dx, const Map &dy, const Map &in, int block, int group, int groups,
                              const float *scale, const float *mean, const float *rstd, double *dscale,
                              double *dshift, int lanes, bool accumulate);
  // On rows [position][lane] of any number of lanes that divides this width (rows.h).
  void (*read)(const Source &, int block, int channel, int y, int x, int positions, float *out, int real_lanes);
  void (*read_plane)(const Source &, int block, int channel, float *out, int real_lanes);
  void (*depth_planes)(const Source &, const DepthPlanes &);
  void (*keep)(float *out, const float *in, const uint32_t *bits, int n); // out = in & bits: zeros even where in is NaN
  void (*taps)(float *out, const float *init, const float *const *in, const float *weights, int count, int n);
  void (*tap_dots)(const float *z, const float *const *in, int count, int n, float *const *sums);
  void (*row_sums)(const float *v, int n, float *sums);
  // Of dense convolutions, of the widest vectors only: floats of one, vectors of a product's columns at most, and
  // its rows by their number.
  int vector, panel_vectors, panel_rows[3];
  void (*panel_product[8][3])(const PanelProduct &); // by rows and vectors of columns
  float (*dot)(const float *a, const float *b, int n);
  void (*sparse_product)(const SparseProduct &, int vectors);
  void (*gather)(const Gather &);
  void (*pad_plane)(const PadPlane &);
  // out = what FinishRow says of v, n floats; `v` is read up to a whole vector.
  void (*finish_row)(const FinishRow &, const float *v, const float *add, float *out, int n);
  void (*depth_rows)(const DepthRows &, const FinishRow &);
  void (*row_mask)(float *gradient, const float *z, const float *y, float center, int n, int activation, float *sums);
};

// Kernels of the widest vectors.
const Kernels &widest_kernels();

// Kernels of the chosen instruction set for a vector width; null when it has none of that width.
const Kernels *kernels(int lanes);
const char *isa_name();
// Widths the chosen instruction set has, widest first; terminated by 0.
const int *isa_lanes();

} // namespace edgecl
