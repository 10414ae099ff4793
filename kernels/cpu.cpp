// Which instruction set runs: probed at start, EDGECL_ISA in the environment forces an older one.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "table.h"
#include "tensor.h"

namespace edgecl {

#if defined(__x86_64__)
const Kernels *kernels_sse2(int lanes);
const Kernels *kernels_avx2(int lanes);
const Kernels *kernels_avx512(int lanes);
const TensorKernels &tensor_kernels_sse2();
const TensorKernels &tensor_kernels_avx2();
const TensorKernels &tensor_kernels_avx512();
#else
const Kernels *kernels_neon(int lanes);
const TensorKernels &tensor_kernels_neon();
#endif

namespace {

struct Isa {
  const char *name;
  bool supported;
  const Kernels *(*get)(int);
  const TensorKernels &(*tensors)();
  int lanes[6];
};

const Isa &chosen() {
  static const Isa *isa = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    static const Isa all[] = {
        {"avx512",
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"),
         kernels_avx512,
         tensor_kernels_avx512,
         {16, 8, 4, 2, 1, 0}},
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), kernels_avx2,
         tensor_kernels_avx2, {8, 4, 2, 1, 0}},
        {"sse2", true, kernels_sse2, tensor_kernels_sse2, {4, 2, 1, 0}}};
#else
    static const Isa all[] = {{"neon", true, kernels_neon, tensor_kernels_neon, {4, 2, 1, 0}}};
#endif
    const char *forced = std::getenv("EDGECL_ISA");
    for (const Isa &i : all) {
      if (forced && *forced && std::strcmp(forced, i.name) != 0) continue;
      if (i.supported) return &i;
    }
    throw std::runtime_error(std::string("EDGECL_ISA=") + forced + " is unknown or not supported by this processor.");
  }();
  return *isa;
}

} // namespace

const Kernels *kernels(int lanes) { return chosen().get(lanes); }
const TensorKernels &tensor_kernels() { return chosen().tensors(); }
const Kernels &widest_kernels() { return *kernels(chosen().lanes[0]); }
const char *isa_name() { return chosen().name; }
const int *isa_lanes() { return chosen().lanes; }

} // namespace edgecl
