// Sparse convolution, forward and backward. Included by isa.cpp only.
//
// Wide tiles: where the lanes fill only part of the widest vector (small batches) and columns are adjacent, the same
// kernel runs on vectors of several columns: [column][lane] is contiguous, so nothing but the tile's width changes.
//
// Cost: per non-zero and tile one broadcast and P fused multiply-adds with one vector load each, so the bound is
// one load per FMA from wherever the input tile lives. Blocking over input channels keeps it in L1 (8-16 channels
// of a 2x8 tile with halo are 20-40 KB at 16 lanes); P accumulators stay in registers, and are read and written once a
// list: a list of 7 entries costs as much for that as for half of its multiplications. The backward pass for the
// input is the same kernel on the transposed lists. Measured on Zen 5: 45-60 % of FMA peak over a whole network.
#pragma once
#include <utility>

#include "table.h"
#include "vec.h"

namespace edgecl {
namespace {

template <class V> EDGECL_INLINE V activation_gradient(V g, V z, int activation) {
  const V zero = V{}, six = splat<V>(6.f);
  if (activation == RELU) return z > zero ? g : zero;
  if (activation == RELU6) {
    V inside = z < six ? g : zero;
    return z > zero ? inside : zero;
  }
  return g;
}

// Not-a-number passes through, so that a bad sample shows in the loss.
template <class V> EDGECL_INLINE V activate(V v, int activation) {
  const V zero = V{}, six = splat<V>(6.f);
  if (activation == RELU) return v < zero ? zero : v;
  if (activation == RELU6) {
    V low = v < zero ? zero : v;
    return low > six ? six : low;
  }
  return v;
}

// What follows a convolution in a prediction: normalisation, summand, activation.
template <class V> struct Finisher {
  V scale, shift, add_scale;
  int activation;
  EDGECL_MEMBER Finisher(const ConvBlock &b, int r)
      : scale(splat<V>(b.scale ? b.scale[r] : 1.f)),
        shift(splat<V>((b.shift ? b.shift[r] : 0.f) + (b.add_shift ? b.add_shift[r] : 0.f))),
        add_scale(splat<V>(b.add_scale ? b.add_scale[r] : 1.f)), activation(b.activation) {}
  EDGECL_MEMBER V operator()(V v, V add) const { return activate(v * scale + shift + add * add_scale, activation); }
};

// Maps are read and written through this type. With wide tiles a vector spans columns and starts at any of them;
// the narrowest vectors never do outside of runs, and SSE2 wants its operands aligned.
template <int W, bool RUN = false> struct Access {
  typedef typename Vec<W>::unaligned type;
};
#if EDGECL_WIDEST <= 4
template <int W> struct Access<W, false> {
  typedef typename Vec<W>::type type;
};
#endif

// An opaque pointer: keeps the compiler to `base + constant` addresses, one base per row of the tile.
template <class T> EDGECL_INLINE const T *opaque(const T *p) {
  asm("" : "+r"(p));
  return p;
}

// a += w * input tile.
template <int W, int TH, int TW, class V>
EDGECL_INLINE void multiply(V *a, const char *p, V w, ptrdiff_t row_stride, ptrdiff_t column_stride) {
  typedef typename Access<W>::type U; // an alias as a template argument would lose its alignment
#pragma GCC unroll 4
  for (int y = 0; y < TH; y++) {
#pragma GCC unroll 16
    for (int x = 0; x < TW; x++) a[y * TW + x] += w * *(const U *)(p + x * column_stride);
    if (y + 1 < TH) p = opaque(p + row_stride);
  }
}

// Asks for the lines of several `Ahead`, evenly over `steps` calls. Kept out of line, so that it takes no registers
// from the loops around it.
class Asker {
public:
  Asker(const Ahead *ahead, int count, int steps) : ahead_(ahead), count_(count), steps_(steps) {
    for (int i = 0; i < count; i++) at_[i] = {ahead[i].first, ahead[i].first, 0, 0};
  }
  __attribute__((noinline)) void next() {
    for (int i = 0; i < count_; i++) {
      const Ahead &a = ahead_[i];
      Place &p = at_[i];
      for (p.credit += a.channels * a.rows; p.credit >= steps_; p.credit -= steps_) {
        for (int j = 0; j < a.lines; j++) __builtin_prefetch(p.line + j * 64);
        if (++p.row == a.rows) {
          p.row = 0;
          p.line = p.channel += a.channel;
        } else {
          p.line += a.row;
        }
      }
    }
  }

private:
  struct Place {
    const char *channel, *line;
    int row, credit;
  };
  const Ahead *ahead_;
  int count_, steps_;
  Place at_[AHEADS];
};

// Output vectors: of adjacent columns (APART 0), or of APART columns that lie `step` floats apart, as in the backward
// pass of a strided convolution. A column apart is read as the part of a whole vector, which ends where the last one does.
template <int W, int APART, class V> EDGECL_INLINE V load_columns(const float *p, ptrdiff_t step) {
  typedef typename Access<W>::type U;
  V v = *(const U *)p;
  if constexpr (APART > 1) {
    constexpr int L = W / APART;
#pragma GCC unroll 4
    for (int j = 1; j < APART; j++) {
      typename Vec<W>::mask from;
      for (int i = 0; i < W; i++) from[i] = i / L == j ? W + i : i;
      const V column = *(const typename Vec<W>::unaligned *)(p + j * (step - L));
      v = __builtin_shuffle(v, column, from);
    }
  }
  return v;
}

template <int L, class V, int... I>
EDGECL_INLINE typename Vec<L>::type first_lanes(V v, std::integer_sequence<int, I...>) {
  return typename Vec<L>::type{v[I]...};
}

template <int W, int APART, class V> EDGECL_INLINE void store_columns(float *p, ptrdiff_t step, V v) {
  typedef typename Access<W>::type U;
  if constexpr (APART > 1) {
    constexpr int L = W / APART;
#pragma GCC unroll 4
    for (int j = 0; j < APART; j++) {
      // The column's lanes come first.
      typename Vec<W>::mask from;
      for (int i = 0; i < W; i++) from[i] = (i + j * L) % W;
      const V turned = j ? __builtin_shuffle(v, from) : v;
      *(typename Vec<L>::unaligned *)(p + j * step) = first_lanes<L>(turned, std::make_integer_sequence<int, L>());
    }
  } else {
    *(U *)p = v;
  }
}

// STRIDE is the column stride of the input in vectors, 0 meaning `input_column` bytes; APART as above.
template <int W, int TH, int TW, int STRIDE, int APART> void conv_block(const ConvBlock &b) {
  typedef typename Vec<W>::type V;
  typedef typename Access<W>::type U;
  constexpr int P = TH * TW;
  const ptrdiff_t row_stride = b.input_row;
  const ptrdiff_t column_stride = STRIDE ? (ptrdiff_t)STRIDE * W * 4 : b.input_column;
  const ptrdiff_t step = b.output_column, ocol = APART ? APART * step : W; // floats between vectors of the output
  const int *pointers = b.pointers, *offsets = b.offsets;
  const float *values = b.values;
  const bool load = !b.first, sums = b.last && b.sums, masked = b.last && b.mask, finish = b.last && b.finish;
  Asker asker(b.ahead, b.aheads, b.row1 - b.row0);
  for (int r = b.row0; r < b.row1; r++) {
    if (b.aheads) asker.next();
    int k = pointers[r];
    const int end = pointers[r + 1];
    if (k == end && load && !sums && !masked && !finish) continue;
    const float *out = b.output + r * b.output_channel;
    V a[P];
    const V init = !load && b.bias ? splat<V>(b.bias[r]) : V{};
#pragma GCC unroll 16
    for (int i = 0; i < P; i++) a[i] = init;
    if constexpr (!ENTRY_AHEAD) {
      for (; k < end; k++)
        multiply<W, TH, TW>(a, b.input + offsets[k], splat<V>(values[k]), row_stride, column_stride);
    } else if (k < end) {
      const char *p = b.input + offsets[k];
      V w = splat<V>(values[k]);
      while (++k < end) {
        const char *next = opaque(b.input + offsets[k]);
        V v = splat<V>(values[k]);
        asm("" : EDGECL_VECTOR(v));
        multiply<W, TH, TW>(a, p, w, row_stride, column_stride);
        p = next;
        w = v;
      }
      multiply<W, TH, TW>(a, p, w, row_stride, column_stride);
    }
    if (load) {
#pragma GCC unroll 4
      for (int y = 0; y < TH; y++) {
        const float *o = opaque(out + y * b.output_row);
#pragma GCC unroll 16
        for (int x = 0; x < TW; x++) a[y * TW + x] += load_columns<W, APART, V>(o + x * ocol, step);
      }
    }
    if (finish) {
      const Finisher<V> f(b, r);
#pragma GCC unroll 4
      for (int y = 0; y < TH; y++) {
        const U *q = b.add ? (const U *)opaque(b.add + r * b.add_channel + y * b.add_row) : nullptr;
#pragma GCC unroll 16
        for (int x = 0; x < TW; x++) a[y * TW + x] = f(a[y * TW + x], q ? (V)q[x] : V{});
      }
    }
    if (masked) {
      const float *z = b.kept + r * b.kept_channel;
      if (b.activation != NONE) {
#pragma GCC unroll 4
        for (int y = 0; y < TH; y++) {
          const float *q = opaque(z + y * b.kept_row);
#pragma GCC unroll 16
          for (int x = 0; x < TW; x++)
            a[y * TW + x] =
                activation_gradient(a[y * TW + x], load_columns<W, APART, V>(q + x * ocol, step), b.activation);
        }
      }
      if (sums) {
        const float *in = b.kept_input + r * b.kept_input_channel;
        const V center = splat<V>(b.center ? b.center[r] : 0.f);
        V *st = (V *)(b.sums + (size_t)r * 2 * W);
        V s = V{}, q = V{}, s2 = V{}, q2 = V{};
#pragma GCC unroll 4
        for (int y = 0; y < TH; y++) {
          const float *t = opaque(in + y * b.kept_input_row);
#pragma GCC unroll 16
          for (int x = 0; x < TW; x++) {
            const int i = y * TW + x;
            const V kept = load_columns<W, APART, V>(t + x * ocol, step) - center;
            if (i & 1) {
              s2 += a[i];
              q2 += a[i] * kept;
            } else {
              s += a[i];
              q += a[i] * kept;
            }
          }
        }
        st[0] += s + s2;
        st[1] += q + q2;
      }
    } else if (sums) {
      V *st = (V *)(b.sums + (size_t)r * 2 * W);
      V s = V{}, q = V{}, s2 = V{}, q2 = V{};
#pragma GCC unroll 16
      for (int i = 0; i < P; i++) {
        if (i & 1) {
          s2 += a[i];
          q2 += a[i] * a[i];
        } else {
          s += a[i];
          q += a[i] * a[i];
        }
      }
      st[0] += s + s2;
      st[1] += q + q2;
    }
#pragma GCC unroll 4
    for (int y = 0; y < TH; y++) {
      float *o = (float *)opaque(out + y * b.output_row);
#pragma GCC unroll 16
      for (int x = 0; x < TW; x++) store_columns<W, APART>(o + x * ocol, step, a[y * TW + x]);
    }
  }
}

// s + t += d . input tile, in two chains.
template <int W, int TH, int TW, bool RUN, class V>
EDGECL_INLINE void dot(const V *d, const char *p, ptrdiff_t row_stride, ptrdiff_t column_stride, V &s, V &t) {
  typedef typename Access<W, RUN>::type U;
#pragma GCC unroll 4
  for (int y = 0; y < TH; y++) {
#pragma GCC unroll 16
    for (int x = 0; x < TW; x++) {
      const V v = *(const U *)(p + x * column_stride);
      if ((y * TW + x) & 1)
        t += d[y * TW + x] * v;
      else
        s += d[y * TW + x] * v;
    }
    if (y + 1 < TH) p = opaque(p + row_stride);
  }
}

// Dot products of W entries, added up in pairs as they come, so that few vectors are alive: lane j of the result is the
// sum over the lanes of entry j, in the order of transpose_sum.
template <int W, int TH, int TW, int FIRST, int STEP, bool RUN, class V>
EDGECL_INLINE V dots(const V *d, const char *input, const int *offsets, ptrdiff_t row_stride, ptrdiff_t column_stride) {
  if constexpr (STEP == W) {
    V s = V{}, t = V{};
    dot<W, TH, TW, RUN>(d, input + offsets[FIRST], row_stride, column_stride, s, t);
    return TH * TW > 1 ? s + t : s;
  } else {
    const V a = dots<W, TH, TW, FIRST, STEP * 2, RUN>(d, input, offsets, row_stride, column_stride);
    const V b = dots<W, TH, TW, FIRST + STEP, STEP * 2, RUN>(d, input, offsets, row_stride, column_stride);
    return fold_lanes<W, STEP>(a, b);
  }
}

// The same for 4 entries, whose sums come to lanes 0, W / 2, W / 4 and 3 W / 4, with the same order of additions.
template <int W, int TH, int TW, bool RUN, class V>
EDGECL_INLINE V dots4(const V *d, const char *input, const int *offsets, ptrdiff_t row_stride, ptrdiff_t column_stride) {
  V s[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    s[i] = V{};
    V t = V{};
    dot<W, TH, TW, RUN>(d, input + offsets[i], row_stride, column_stride, s[i], t);
    if (TH * TW > 1) s[i] += t;
  }
  V v = fold_lanes<W, W / 4>(fold_lanes<W, W / 2>(s[0], s[1]), fold_lanes<W, W / 2>(s[2], s[3]));
  if constexpr (W >= 16) v = fold_lanes<W, W / 8>(v, v);
  if constexpr (W >= 8) v = fold_lanes<W, 1>(v, v);
  return v;
}

template <int W, int TH, int TW, int STRIDE, bool RUN = false> void weight_block(const WeightBlock &b) {
  typedef typename Vec<W>::type V;
  typedef typename Access<W, RUN>::type U;
  typedef typename Vec<W>::unaligned Loose;
  constexpr int P = TH * TW;
  const ptrdiff_t row_stride = b.input_row;
  const ptrdiff_t column_stride = STRIDE ? (ptrdiff_t)STRIDE * W * 4 : b.input_column;
  Asker asker(b.ahead, b.aheads, b.row1 - b.row0);
  for (int r = b.row0; r < b.row1; r++) {
    if (b.aheads) asker.next();
    int k = b.pointers[r];
    const int end = b.pointers[r + 1];
    if (k == end) continue;
    const float *g = b.gradient + r * b.gradient_channel;
    V d[P];
#pragma GCC unroll 16
    for (int i = 0; i < P; i++) d[i] = *(const U *)(g + (i / TW) * b.gradient_row + (i % TW) * W);
    if (!b.reduced) {
      V *acc = (V *)b.accumulate - b.base;
      for (; k < end; k++) {
        const char *p = b.input + b.offsets[k];
        V s = P > 1 ? V{} : acc[k], t = V{};
        dot<W, TH, TW, RUN>(d, p, row_stride, column_stride, s, t);
        acc[k] = P > 1 ? acc[k] + (s + t) : s;
      }
    } else {
      float *out = b.reduced + (b.starts[r] - k);
      // Gradients of one list lie together, those of the next one far away.
      const float *later = b.reduced + b.starts[r + 4 < b.row1 ? r + 4 : r];
      for (int i = 0; i < 3; i++) __builtin_prefetch(later + i * 16, 1);
      for (; k + W <= end; k += W)
        *(Loose *)(out + k) += dots<W, TH, TW, 0, 1, RUN>(d, b.input, b.offsets + k, row_stride, column_stride);
      if constexpr (W > 4)
        for (; k + 4 <= end; k += 4) {
          const V v = dots4<W, TH, TW, RUN>(d, b.input, b.offsets + k, row_stride, column_stride);
          typedef typename Vec<4>::type Four;
          *(typename Vec<4>::unaligned *)(out + k) += Four{v[0], v[W / 2], v[W / 4], v[W / 2 + W / 4]};
        }
      for (; k < end; k++) {
        V s = V{}, t = V{};
        dot<W, TH, TW, RUN>(d, b.input + b.offsets[k], row_stride, column_stride, s, t);
        out[k] += fold_all<W>(P > 1 ? s + t : s);
      }
    }
  }
}

template <int W> void reduce_vectors(const float *vectors, int count, float *out) {
  typedef typename Vec<W>::type V;
  const V *v = (const V *)vectors;
  for (int k = 0; k < count; k += W) {
    const int m = count - k < W ? count - k : W;
    V t[W];
    for (int j = 0; j < W; j++) t[j] = j < m ? v[k + j] : V{};
    const V s = transpose_sum<W>(t);
    for (int j = 0; j < m; j++) out[k + j] += s[j];
  }
}

} // namespace
} // namespace edgecl
