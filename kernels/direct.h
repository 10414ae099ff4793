// Convolutions over whole maps of one lane, from the weights as they lie: no lists, no gradients.
#pragma once
#include "network.h"

namespace edgecl {

// y = x * weights + bias [, and `finish` behind it, but for its first operand]. Maps have no halo.
void direct_forward(Threads &, const Weight &, const Map &x, const Map &y, const Samples &, std::vector<float> &scratch,
                    const Affine *finish);

} // namespace edgecl
