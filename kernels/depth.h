// Depthwise convolutions (one input channel per output channel) a plane at a time: rows are read through the
// normalisation before it into a few rows of scratch with their halo, so neither the activation nor the gradient
// behind the normalisation after it is ever written to memory. Any kernel, stride and padding.
#pragma once
#include "conv_run.h"

namespace edgecl {

// y = conv(x); sums of y and y^2 per channel when `sums` is given.
void depth_forward(Threads &, const Geometry &, const Lists &, const Source &x, const Map &y,
                   const float *bias, const Samples &, Partials *sums);

// What the backward pass of a fused convolution is asked for.
struct Backward {
  const Lists *weights = nullptr;  // whose gradients are wanted; null: none
  float *gradients = nullptr;      // += by position
  const Map *dx = nullptr;         // null: no gradient of the input
  bool accumulate = false;         // dx += instead of =
  bool mask = false;               // dx *= activation'(x), x being what the source gives
  int activation = NONE;
  Map y;                           // with partials: sums of dx and dx * (y - center) per channel
  Partials *partials = nullptr;
  float center(int channel) const { return partials && partials->center ? partials->center[channel] : 0.f; }
};

void depth_backward(Threads &, const Geometry &, const Lists &, const Source &x, const Source &dy,
                    const Samples &, const Backward &);

} // namespace edgecl
