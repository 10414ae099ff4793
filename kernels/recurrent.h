// Recurrent layers over a whole sequence, forward and back through time. Included by tensor_isa.cpp only.
//
// The product with the input is a layer of its own, made for all steps at once; here comes what one step needs of the
// one before: the product with the recurrent weights (the living ones, row by row; the state of all samples is in L1)
// and the gates. Gates follow one another as i, f, g, o (LSTM), r, z, n (GRU) and h (RNN). Kept for the way back: the
// gates' values, for a GRU that resets after the product also that product's part of n.
#pragma once
#include "functions.h"
#include "tensor.h"
#include "vec.h"

namespace edgecl {
namespace {

// to[row][L] = bias[row] + sum over the row's living weights of value * from[column][L].
template <int L> void recurrent_product(const Recurrence &r, int first, int last, const float *from, float *to) {
  typedef typename Vec<L>::type V;
  for (int row = first; row < last; row++) {
    V a = splat<V>(r.bias ? r.bias[row] : 0.f);
    for (int k = r.rows[row]; k < r.rows[row + 1]; k++)
      a += splat<V>(r.weights[k]) * *(const V *)(from + (size_t)r.columns[k] * L);
    *(V *)(to + (size_t)row * L) = a;
  }
}

// to[column] += the transpose's product.
template <int L> void recurrent_back(const Recurrence &r, int first, int last, const float *from, float *to) {
  typedef typename Vec<L>::type V;
  for (int row = first; row < last; row++) {
    const V g = *(const V *)(from + (size_t)row * L);
    for (int k = r.rows[row]; k < r.rows[row + 1]; k++) *(V *)(to + (size_t)r.columns[k] * L) += splat<V>(r.weights[k]) * g;
  }
}

template <int L> void recur_of(const Recurrence &r) {
  const int h = r.hidden, n = h * L;
  float *product = r.scratch, *state = product + (size_t)r.gates * n, *cell = state + n, *reset = cell + n;
  for (int i = 0; i < n; i++) state[i] = cell[i] = 0;
  for (int s = 0; s < r.steps; s++) {
    const int t = r.reverse ? r.steps - 1 - s : s;
    auto in = [&](int row, int l) { return r.input[row * r.input_plane + (size_t)t * L + l]; };
    auto keep = [&](int row) { return r.kept + row * r.kept_plane + (size_t)t * L; };
    if (r.gates == 3 && !r.reset_after) { // n's product is of the reset state
      recurrent_product<L>(r, 0, 2 * h, state, product);
      for (int i = 0; i < h; i++)
        for (int l = 0; l < L; l++) reset[i * L + l] = sigmoid_f(in(i, l) + product[i * L + l]) * state[i * L + l];
      recurrent_product<L>(r, 2 * h, 3 * h, reset, product);
    } else {
      recurrent_product<L>(r, 0, r.gates * h, state, product);
    }
    for (int i = 0; i < h; i++) {
      float *out = r.state + i * r.state_plane + (size_t)t * L;
      for (int l = 0; l < L; l++) {
        const int j = i * L + l;
        float y;
        if (r.gates == 4) {
          const float a = sigmoid_f(in(i, l) + product[j]), f = sigmoid_f(in(h + i, l) + product[n + j]);
          const float g = tanh_f(in(2 * h + i, l) + product[2 * n + j]), o = sigmoid_f(in(3 * h + i, l) + product[3 * n + j]);
          cell[j] = f * cell[j] + a * g;
          y = o * tanh_f(cell[j]);
          keep(i)[l] = a;
          keep(h + i)[l] = f;
          keep(2 * h + i)[l] = g;
          keep(3 * h + i)[l] = o;
          r.cell[i * r.cell_plane + (size_t)t * L + l] = cell[j];
        } else if (r.gates == 3) {
          const float a = sigmoid_f(in(i, l) + product[j]), z = sigmoid_f(in(h + i, l) + product[n + j]);
          const float p = product[2 * n + j], c = tanh_f(in(2 * h + i, l) + (r.reset_after ? a * p : p));
          y = (1 - z) * c + z * state[j];
          keep(i)[l] = a;
          keep(h + i)[l] = z;
          keep(2 * h + i)[l] = c;
          keep(3 * h + i)[l] = p;
        } else {
          y = tanh_f(in(i, l) + product[j]);
          keep(i)[l] = y;
        }
        out[l] = y;
      }
    }
    for (int i = 0; i < h; i++)
      for (int l = 0; l < L; l++) state[i * L + l] = r.state[i * r.state_plane + (size_t)t * L + l];
  }
}

// dinput: gradients of the gate inputs; dproduct: of the recurrent product (the same but for a GRU's n).
template <int L> void recur_back_of(const Recurrence &r) {
  const int h = r.hidden, n = h * L;
  float *gates = r.scratch, *dstate = gates + (size_t)r.gates * n, *dcell = dstate + n, *reset = dcell + n;
  for (int i = 0; i < n; i++) dstate[i] = dcell[i] = 0;
  for (int s = r.steps - 1; s >= 0; s--) {
    const int t = r.reverse ? r.steps - 1 - s : s, before = r.reverse ? t + 1 : t - 1;
    auto kept = [&](int row, int l) { return r.kept[row * r.kept_plane + (size_t)t * L + l]; };
    auto earlier = [&](const float *p, ptrdiff_t plane, int i, int l) {
      return s ? p[i * plane + (size_t)before * L + l] : 0.f;
    };
    for (int i = 0; i < h; i++)
      for (int l = 0; l < L; l++) {
        const int j = i * L + l;
        const float dy = dstate[j] + r.dstate[i * r.dstate_plane + (size_t)t * L + l];
        dstate[j] = 0;
        if (r.gates == 4) {
          const float a = kept(i, l), f = kept(h + i, l), g = kept(2 * h + i, l), o = kept(3 * h + i, l);
          const float c = tanh_f(r.cell[i * r.cell_plane + (size_t)t * L + l]);
          const float dc = dcell[j] + dy * o * (1 - c * c);
          gates[j] = dc * g * a * (1 - a);
          gates[n + j] = dc * earlier(r.cell, r.cell_plane, i, l) * f * (1 - f);
          gates[2 * n + j] = dc * a * (1 - g * g);
          gates[3 * n + j] = dy * c * o * (1 - o);
          dcell[j] = dc * f;
        } else if (r.gates == 3) {
          const float a = kept(i, l), z = kept(h + i, l), c = kept(2 * h + i, l), p = kept(3 * h + i, l);
          const float old = earlier(r.state, r.state_plane, i, l);
          const float dn = dy * (1 - z) * (1 - c * c);
          gates[n + j] = dy * (old - c) * z * (1 - z);
          gates[2 * n + j] = dn;
          gates[j] = r.reset_after ? dn * p * a * (1 - a) : 0;
          dstate[j] = dy * z;
        } else {
          const float y = kept(i, l);
          gates[j] = dy * (1 - y * y);
        }
      }
    if (r.gates == 3 && !r.reset_after) {
      for (int i = 0; i < n; i++) reset[i] = 0; // gradient of r * h
      recurrent_back<L>(r, 2 * h, 3 * h, gates, reset);
      for (int i = 0; i < h; i++)
        for (int l = 0; l < L; l++) {
          const int j = i * L + l;
          const float a = kept(i, l);
          gates[j] = reset[j] * earlier(r.state, r.state_plane, i, l) * a * (1 - a);
          dstate[j] += reset[j] * a;
        }
    }
    for (int row = 0; row < r.gates * h; row++)
      for (int l = 0; l < L; l++) {
        float g = gates[(size_t)row * L + l];
        r.dinput[row * r.dinput_plane + (size_t)t * L + l] = g;
        if (r.gates == 3 && r.reset_after && row >= 2 * h) g *= kept(row - 2 * h, l);
        gates[(size_t)row * L + l] = g;
        r.dproduct[row * r.dproduct_plane + (size_t)t * L + l] = g;
      }
    recurrent_back<L>(r, 0, r.gates == 3 && !r.reset_after ? 2 * h : r.gates * h, gates, dstate);
  }
}

} // namespace
} // namespace edgecl
