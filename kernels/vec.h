// Vectors of W floats through GCC's vector extension: one source for SSE2, AVX2, AVX-512 and NEON.
#pragma once

namespace edgecl {

template <int W> struct Vec {
  typedef float type __attribute__((vector_size(W * 4)));
  typedef float unaligned __attribute__((vector_size(W * 4), aligned(4), may_alias));
  typedef int mask __attribute__((vector_size(W * 4)));
};

#define EDGECL_INLINE static inline __attribute__((always_inline))
#define EDGECL_MEMBER inline __attribute__((always_inline))

// An operand of inline assembly that lives in a vector register.
#if defined(__x86_64__)
#define EDGECL_VECTOR(v) "+v"(v)
#else
#define EDGECL_VECTOR(v) "+w"(v)
#endif

// Whether a list's next address and value are fetched before the multiplications of the present entry end. NEON's fmla
// takes the value from a lane: broadcasting it early costs 5 of 40 instructions, and 20 % on llvm-mca's Cortex-A53.
#if defined(__x86_64__)
constexpr bool ENTRY_AHEAD = true;
#else
constexpr bool ENTRY_AHEAD = false;
#endif

// w - 0 is exactly w (0 + w is not for -0), so this is one broadcast.
template <class V> EDGECL_INLINE V splat(float w) { return w - V{}; }

template <int W, class V> EDGECL_INLINE float horizontal_sum(V v, int lanes = W) {
  float s = 0;
  for (int i = 0; i < lanes; i++) s += v[i];
  return s;
}

// Adds lanes of two vectors in pairs: with STEP = W / 2 the halves of a, then of b; with STEP = 1 neighbours, a's in the
// even lanes and b's in the odd ones. Applied from W / 2 down to 1 it sums W vectors horizontally at once.
template <int W, int STEP, class V> EDGECL_INLINE V fold_lanes(V a, V b) {
  typedef typename Vec<W>::mask M;
  M low, high;
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) {
    // Groups of 2 * STEP lanes: the first STEP from a, the others from b.
    const int from = i % (2 * STEP) < STEP ? 0 : W - STEP;
    low[i] = i + from;
    high[i] = i + from + STEP;
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

template <int W, int FIRST, int STEP, class V> EDGECL_INLINE V fold_tree(const V *t) {
  if constexpr (STEP == W)
    return t[FIRST];
  else
    return fold_lanes<W, STEP>(fold_tree<W, FIRST, STEP * 2>(t), fold_tree<W, FIRST + STEP, STEP * 2>(t));
}

// Lane j of the result is the sum of t[j]'s lanes.
template <int W, class V> EDGECL_INLINE V transpose_sum(const V *t) { return fold_tree<W, 0, 1>(t); }

// The sum of the lanes, in the order of transpose_sum.
template <int W, class V> EDGECL_INLINE float fold_all(V v) {
  float s[W];
  for (int i = 0; i < W; i++) s[i] = v[i];
#pragma GCC unroll 4
  for (int step = W / 2; step; step /= 2)
    for (int i = 0; i < step; i++) s[i] += s[i + step];
  return s[0];
}

} // namespace edgecl
