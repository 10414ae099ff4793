// Compiled once per instruction set with EDGECL_ISA naming it; no code here runs before cpu.cpp has chosen.
#include "direct_rows.h"
#include "few.h"
#include "planes.h"
#include "slide.h"

#define EDGECL_CONCAT2(a, b) a##b
#define EDGECL_CONCAT(a, b) EDGECL_CONCAT2(a, b)

namespace edgecl {
namespace {

template <int W, int I> void fill_tile(Kernels &k) {
  constexpr int TH = TILE_SHAPES[I][0], TW = TILE_SHAPES[I][1];
  if constexpr (TH * TW <= EDGECL_LARGEST_TILE) {
    k.conv[I][0] = conv_block<W, TH, TW, 1, 0>;
    k.conv_apart[I][0] = conv_block<W, TH, TW, 1, 1>;
    if constexpr (W >= 8) k.conv_apart[I][1] = conv_block<W, TH, TW, 1, 2>;
    if constexpr (W >= 16) k.conv_apart[I][2] = conv_block<W, TH, TW, 1, 4>;
    k.weight[I][0] = weight_block<W, TH, TW, 1>;
    k.conv[I][1] = conv_block<W, TH, TW, 2, 0>;
    k.weight[I][1] = weight_block<W, TH, TW, 2>;
    if constexpr (TH * TW <= 4) { // other strides are rare: small tiles only
      k.conv[I][2] = conv_block<W, TH, TW, 0, 0>;
      k.weight[I][2] = weight_block<W, TH, TW, 0>;
    }
  }
  if constexpr (I + 1 < TILE_COUNT) fill_tile<W, I + 1>(k);
}

template <int W, int N> void fill_runs(Kernels &k) {
  if constexpr (N <= EDGECL_LARGEST_TILE && N <= LONGEST_RUN) {
    k.run_conv[N] = run_block<W, N>;
    k.run_weight[N] = weight_block<W, 1, N, 1, true>;
    fill_runs<W, N + 1>(k);
  }
}

template <int W> const Kernels *make() {
  static const Kernels table = [] {
    Kernels k{};
    k.lanes = W;
    k.largest_tile = EDGECL_LARGEST_TILE;
    if constexpr (W >= 4) {
      fill_tile<W, 0>(k);
      k.reduce = reduce_vectors<W>;
      k.read = read<W>;
      k.read_plane = read_plane<W>;
      k.depth_planes = depth_planes<W>;
      k.keep = keep<W>;
      k.taps = taps<W>;
      k.tap_dots = all_tap_dots<W>;
      k.row_sums = row_sums<W>;
      k.row_mask = row_mask<W>;
    }
    if constexpr (W == EDGECL_WIDEST) {
      fill_runs<W, 1>(k);
      fill_products<1, 1>(k);
      k.vector = W;
      k.dot = dot_product;
      k.panel_vectors = PRODUCT_VECTORS;
      k.sparse_product = sparse_product;
      k.gather = gather;
      k.pad_plane = pad_plane;
      k.finish_row = finish_row;
      k.depth_rows = depth_rows;
    }
    k.halo = clear_halo<W>;
    k.save = save<W>;
    k.restore = restore<W>;
    k.plane_sums = plane_sums<W>;
    k.affine = affine<W>;
    k.mask = mask<W>;
    k.norm_backward = norm_backward<W>;
    k.copy = copy<W>;
    k.pool_forward = pool_forward<W>;
    k.pool_backward = pool_backward<W>;
    k.group_norm_forward = group_norm_forward<W>;
    k.group_norm_backward = group_norm_backward<W>;
    if constexpr (W < 4) {
      k.affine = few_affine<W>;
      k.mask = few_mask;
      k.norm_backward = few_norm_backward<W>;
      k.plane_sums = few_sums;
      k.pool_forward = few_pool_forward<W>;
      k.pool_backward = few_pool_backward<W>;
    }
    return k;
  }();
  return &table;
}

} // namespace

const Kernels *EDGECL_CONCAT(kernels_, EDGECL_ISA)(int lanes) {
#if EDGECL_WIDEST >= 16
  if (lanes == 16) return make<16>();
#endif
#if EDGECL_WIDEST >= 8
  if (lanes == 8) return make<8>();
#endif
  if (lanes == 4) return make<4>();
  if (lanes == 2) return make<2>();
  if (lanes == 1) return make<1>();
  return nullptr;
}

} // namespace edgecl
