// Ceilings of one core: vector FMA peak, and one vector load per FMA from a working set of a given size.
// Compiled by bench/ceilings.py with the flags of the instruction set that is measured.
#include <chrono>
#include <cstdlib>
#include <cstring>

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif
typedef float V __attribute__((vector_size(W * 4)));

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static volatile float sink;

// Repeats `work` (FLOPs per call) for `seconds`; the best rate of ten slices, since neighbours only slow it down.
template <class F> static double best_rate(double seconds, double flops, const F &work) {
  double best = 0;
  for (int slice = 0; slice < 10; slice++) {
    const double start = now();
    double done = 0, t = start;
    while (t - start < seconds / 10) {
      work();
      done += flops;
      t = now();
    }
    if (done / (t - start) > best) best = done / (t - start);
  }
  return best;
}

extern "C" double fma_peak(double seconds) {
  constexpr int CHAINS = 12, ROUNDS = 20000;
  return best_rate(seconds, 2.0 * W * CHAINS * ROUNDS, [] {
    V a[CHAINS], x, y;
    for (int l = 0; l < W; l++) x[l] = 0.999f, y[l] = 1e-3f;
    for (int i = 0; i < CHAINS; i++) a[i] = x;
    for (int r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
      for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + y;
      asm volatile("" : "+x"(x), "+x"(y));
    }
    float s = 0;
    for (int i = 0; i < CHAINS; i++) s += a[i][0];
    sink = s;
  });
}

// FLOP/s with one load per FMA from `bytes` of memory, read in order.
extern "C" double load_fma(long bytes, double seconds) {
  const long n = bytes / (W * 4) / 12 * 12;
  V *data = (V *)std::aligned_alloc(64, (n * W * 4 + 63) / 64 * 64);
  std::memset(data, 0, n * W * 4);
  const long passes = n < 100000 ? 100000 / n + 1 : 1;
  const double rate = best_rate(seconds, 2.0 * W * n * passes, [&] {
    V a[12] = {}, x;
    for (int l = 0; l < W; l++) x[l] = 0.999f;
    for (long p = 0; p < passes; p++) {
      asm volatile("" : "+x"(x) : : "memory");
      for (long i = 0; i < n; i += 12) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) a[j] += data[i + j] * x;
      }
    }
    float s = 0;
    for (int i = 0; i < 12; i++) s += a[i][0];
    sink = s;
  });
  std::free(data);
  return rate;
}
