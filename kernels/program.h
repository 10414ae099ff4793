// A session runs one entry point of a plan: its operations, in order, over one arena.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "network.h"
#include "operations.h" // written at build time

namespace edgecl {

// Codes and arguments are those of edgecl/compiler/operation_table.py. Maps are indices into the session's table, -1
// where absent.
struct Operation {
  Code code;
  std::vector<int> args;
};

class Session {
public:
  // own_threads: of a predictor, which may run beside the network's own work; 0: the network's pool.
  // maps: rows of (offset in bytes, channels, height, width, top, left, rows, columns, bytes of a value, runs).
  Session(Network &, int blocks, int64_t arena_bytes, const std::vector<std::vector<int64_t>> &maps,
          std::vector<Operation> forward, std::vector<Operation> backward, int own_threads);
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
  void run_tensor(const Operation &, bool training); // tensor.cpp, as what follows
  void run_recurrent(const Operation &, bool training);
  void recurrent_gradients(const Operation &, const std::vector<int> &starts, const std::vector<int> &columns);
  void begin_output(int map, int how, float value);
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
  std::unique_ptr<Threads> own_;
  Threads &pool() { return own_ ? *own_ : net_->threads; }

public:
  std::vector<float> &scratch() { return own_ ? scratch_ : net_->scratch; }
};

} // namespace edgecl
