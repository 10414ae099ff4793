// 1x1 convolutions on long runs of positions: no halo and no neighbours, so a tile is any run, and it is gathered
// (through a normalisation where there is one) into scratch [channel][run] that stays in cache whatever the stride of
// the maps. The gradients of weights and input share what was gathered. Kernels are those of conv.h at full width.
#pragma once
#include "depth.h"

namespace edgecl {

bool is_pointwise(const Geometry &);

// Positions of a tile: the channel stride of the lists (Plane::columns).
int point_positions(int lanes);

void point_forward(Threads &, const Geometry &, const Lists &, const Source &x, const Map &y, const float *bias,
                   const Samples &, Partials *sums, std::vector<float> &scratch);

// `backward` are the lists of the input's gradient; unused when none is wanted.
void point_backward(Threads &, const Geometry &, const Lists *backward, const Source &x, const Source &dy,
                    const Samples &, const Backward &, std::vector<float> &scratch);

} // namespace edgecl
