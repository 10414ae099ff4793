// The plain convolution the fast kernels are checked against: NCHW, dense weights, sums in double.
#pragma once
#include "lists.h"

namespace edgecl {

// y[n][out][oh][ow] = sum w * x; y is overwritten.
void reference_conv_forward(const Geometry &, int n, int h, int w, const float *x, const float *weight, float *y);
// dx and dweight are overwritten.
void reference_conv_backward(const Geometry &, int n, int h, int w, const float *x, const float *weight,
                             const float *dy, float *dx, float *dweight);

} // namespace edgecl
