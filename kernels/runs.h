// Planes as runs of positions: with few lanes a row of a map fills no vector, but a plane does. Where input and output
// share a row pitch, output position p reads input positions p + offset, whatever row they lie in, so a convolution of
// stride 1 slides whole vectors over the plane and the padding between rows comes out as zero. Strides are taken out
// before: the input is cut into one plane per phase of rows and columns, side by side below each other.
//
// The compiler gives all maps of a run one pitch, zeros as padding, and rows below that hold the last vector.
#pragma once
#include <vector>

#include "conv_run.h"

namespace edgecl {

// The map with one row: whatever lies in it from interior (y, x) on.
Map run_view(const Map &, int y = 0, int x = 0);

// Positions of an output of height x width at this pitch, from the first to the last.
inline int run_positions(int height, int width, int pitch) { return (height - 1) * pitch + width; }

// 1 for floats that are outputs, 0 for padding; as many vectors as hold the run.
const float *run_mask(int height, int width, int pitch, int lanes, int vector);

// out[i] = in[i * step], positions of `lanes` floats.
void gather(float *out, const float *in, int count, int step, int lanes);

// x in phases: row `phase * phase_rows + r`, column c of xs is x[r * stride_h + py - pad_h][c * stride_w + px - pad_w],
// zero outside; phase = py * min(kernel_w, stride_w) + px.
void split_phases(Threads &, const Geometry &, const Map &x, const Map &xs, int phase_rows, const Samples &);

// dx[y * stride_h + py][x * stride_w + px] (+)= row `(py * stride_w + px) * phase_rows + y`, column x of phases.
void merge_phases(Threads &, const Geometry &, const Map &phases, const Map &dx, int phase_rows, bool accumulate,
                  const Samples &);

} // namespace edgecl
