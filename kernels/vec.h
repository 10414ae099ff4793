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

// Sums W vectors horizontally at once: lane j of the result is the sum of t[j]'s lanes.
template <int W, class V> EDGECL_INLINE V transpose_sum(const V *t) {
  typedef typename Vec<W>::mask M;
  if constexpr (W == 16) {
    const M a8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
    const M b8 = {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31};
    const M a4 = {0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27};
    const M b4 = {4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31};
    const M a2 = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
    const M b2 = {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31};
    const M a1 = {0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30};
    const M b1 = {1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31};
    V u[8], v[4], w[2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) u[i] = __builtin_shuffle(t[i], t[i + 8], a8) + __builtin_shuffle(t[i], t[i + 8], b8);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) v[i] = __builtin_shuffle(u[i], u[i + 4], a4) + __builtin_shuffle(u[i], u[i + 4], b4);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) w[i] = __builtin_shuffle(v[i], v[i + 2], a2) + __builtin_shuffle(v[i], v[i + 2], b2);
    return __builtin_shuffle(w[0], w[1], a1) + __builtin_shuffle(w[0], w[1], b1);
  } else if constexpr (W == 8) {
    const M a4 = {0, 1, 2, 3, 8, 9, 10, 11}, b4 = {4, 5, 6, 7, 12, 13, 14, 15};
    const M a2 = {0, 1, 8, 9, 4, 5, 12, 13}, b2 = {2, 3, 10, 11, 6, 7, 14, 15};
    const M a1 = {0, 8, 2, 10, 4, 12, 6, 14}, b1 = {1, 9, 3, 11, 5, 13, 7, 15};
    V u[4], v[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) u[i] = __builtin_shuffle(t[i], t[i + 4], a4) + __builtin_shuffle(t[i], t[i + 4], b4);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) v[i] = __builtin_shuffle(u[i], u[i + 2], a2) + __builtin_shuffle(u[i], u[i + 2], b2);
    return __builtin_shuffle(v[0], v[1], a1) + __builtin_shuffle(v[0], v[1], b1);
  } else {
    const M a2 = {0, 1, 4, 5}, b2 = {2, 3, 6, 7}, a1 = {0, 4, 2, 6}, b1 = {1, 5, 3, 7};
    V u0 = __builtin_shuffle(t[0], t[2], a2) + __builtin_shuffle(t[0], t[2], b2);
    V u1 = __builtin_shuffle(t[1], t[3], a2) + __builtin_shuffle(t[1], t[3], b2);
    return __builtin_shuffle(u0, u1, a1) + __builtin_shuffle(u0, u1, b1);
  }
}

} // namespace edgecl
