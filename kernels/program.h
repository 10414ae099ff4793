// A session runs one entry point of a plan: its operations, in order, over one arena.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "network.h"

namespace edgecl {

// Operation codes and their integer arguments; edgecl/compiler/operations.py holds them. Maps are indices into the
// session's table, -1 where absent.
enum class Code : int {
  CONV = 0,          // weight, x, y, stats norm
  STATS = 1,         // norm, y
  AFFINE = 2,        // z, activation, a, norm a, b, norm b
  GROUP_NORM = 3,    // norm, x, y
  COPY = 4,          // destination, source, factor, accumulate
  POOL = 5,          // x, y, kernel h, w, stride h, w, pad h, w, maximum
  HALO = 6,          // map whose halo becomes zero, only before and after the interior (runs: between rows it is)
  AFFINE_AGAIN = 7,  // as AFFINE, with the statistics of the forward pass
  NORM = 8,          // norm, y: its scales, for what reads y through it
  DEPTH = 9,         // weight, x, y, stats norm, norm x is read through, activation
  POINT = 10,        // as DEPTH
  SPLIT = 11,        // weight, x, x in phases (runs.h), rows of a phase
  SAVE = 12,         // map, the same in bfloat16 without halo
  CONV_AFFINE = 13,  // weight, x, z, activation, norm y, b, norm b: CONV and AFFINE of a prediction in one
  CONV_WEIGHT = 16,  // weight, x, dy
  CONV_INPUT = 17,   // weight, dy, dx, accumulate, mask, activation, z, y, norm
  MASK = 18,         // gradient, activation, z, y, norm
  NORM_INPUT = 19,   // norm, out, gradient, y, accumulate
  GROUP_NORM_INPUT = 20, // norm, dx, dy, x, accumulate
  POOL_INPUT = 21,   // dx, dy, kernel h, w, stride h, w, pad h, w, maximum, x, accumulate
  BIAS = 22,         // parameter, dy
  NORM_GRADIENT = 23, // norm, y: its parameters' gradients, and coefficients for what reads its input's gradient
  // weight, x, norm x is read through, activation, gradient, norm it is read through, y of that norm, dx (-1: not
  // wanted), accumulate, mask, activation, y, norm (the last three as in CONV_INPUT)
  DEPTH_BACKWARD = 24,
  POINT_BACKWARD = 25,
  RESTORE = 27,      // saved map, float32 again
  MERGE = 26, // weight, phases, dx, rows of a phase, accumulate
};

struct Operation {
  Code code;
  std::vector<int> args;
};

class Session {
public:
  // maps: rows of (offset in bytes, channels, height, width, top, left, rows, columns, bytes of a value, runs).
  Session(Network &, int blocks, int64_t arena_bytes, const std::vector<std::vector<int64_t>> &maps,
          std::vector<Operation> forward, std::vector<Operation> backward);
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // Runs over this network from now on: one of the plan's layers, whose weights are others (a side's).
  void use(Network &n) { net_ = &n; }
  Network &network() { return *net_; }
  void begin(int samples); // sets the number of samples of the calls that follow
  void run_forward(bool training);
  void run_backward(int first, int last); // operations [first, last)
  // Gradient of all weights, living or not, of output channels [row0, row1) of the convolution that backward
  // operation `index` is about; overwritten. To be called just before that operation runs.
  void dense_gradient(int index, int row0, int row1, float *out);
  // [samples][channels][height][width] float32 or uint8, (value - mean) / std per channel inside `pad`, zeros around.
  void pack(int map, const float *x, const uint8_t *bytes, const float *mean, const float *scale, int pad);
  void unpack(int map, float *out) const;
  void poison(); // fills the arena with NaN (tests)
  const std::vector<double> &seconds(bool backward) const { return backward ? backward_seconds_ : forward_seconds_; }
  int64_t arena_bytes() const { return arena_bytes_; }

private:
  void run(const Operation &, bool training);
  void run_fused(const Operation &, bool training); // fused.cpp
  Source read(int map, int norm, int activation) const;
  Source read_gradient(int map, int norm, int y) const;
  double positions(const Map &m) const {
    return ((double)(samples_.blocks - 1) * samples_.lanes + samples_.last_lanes) * m.height * m.width;
  }
  Network *net_;
  int blocks_;
  Samples samples_;
  int64_t arena_bytes_;
  float *arena_ = nullptr;
  std::vector<Map> maps_;
  std::vector<Operation> forward_, backward_;
  std::vector<double> forward_seconds_, backward_seconds_;
  std::vector<std::vector<float>> group_statistics_;
  std::vector<Scales> scales_; // of each norm, for what reads through it
  std::vector<float> scratch_; // of a predictor, which may run beside the network's own
  bool own_thread_ = false;

public:
  void set_own_thread(bool v) { own_thread_ = v; }
  Threads &pool();
  Threads serial_{1};
};

} // namespace edgecl
