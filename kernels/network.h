// What outlives a plan's arenas: weights with their lists, normalisations, and the optimizer's view of parameters.
// All arrays belong to Python; this keeps pointers to them.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "conv_run.h"

namespace edgecl {

struct Weight {
  Geometry geometry;
  float *values = nullptr, *gradients = nullptr;
  const float *bias = nullptr;
  Living living{nullptr, 0};
  Plane input{}, output_gradient{};
  bool input_gradient = false;
  int forward_block = 0, input_block = 0; // channels per block as the plan says; 0: by block_channels
  const int32_t *subset = nullptr;
  int64_t subset_count = 0;
  bool frozen = false;
  bool direct = false;       // a convolution of a plan that only predicts: run from its weights as they lie
  std::vector<float> filled; // all weights of a direct depthwise one of which some are dead
  std::vector<int> starts;   // of another such one: where each row's living weights begin, and an end
  const float *dense() const { return filled.empty() ? values : filled.data(); }
  Lists forward;
  std::vector<Lists> backward; // one per stride phase; empty without an input gradient
  Lists gradient;              // used with a subset

  void build();           // lists from `living`
  void build_direct();    // what a direct one has in their place
  void build_gradient();  // the gradient lists from `subset`
  void refresh();         // values of the lists from `values`
  size_t bytes() const;
};

// Per channel: normalised = y * scale + shift.
struct Scales {
  std::vector<float> scale, shift;
};

struct Norm {
  int channels = 0, groups = 0; // groups > 0: group norm
  float epsilon = 1e-5f, momentum = 0.1f;
  const float *scale = nullptr, *shift = nullptr;
  float *running_mean = nullptr, *running_var = nullptr; // the model's; null for group norm
  bool frozen_mean = false, frozen_var = false;
  bool fixed = false; // training passes too take the running statistics
  float *scale_gradient = nullptr, *shift_gradient = nullptr;
  std::vector<float> working_mean, working_var; // committed by step
  std::vector<float> mean, rstd;                // of the latest training forward
  std::vector<float> a, b, c;                   // per-channel coefficients of the pass at hand
  Partials partials;
  bool touched = false;

  void begin();  // working statistics from the model's
  void commit(); // and back
  // Of a batch norm over `count` values a channel: from the sums in `partials` (training), as the latest training
  // forward had them (again), or from the running statistics.
  enum class From { BATCH, AGAIN, RUNNING };
  void scales(From, double count, Scales &);
  // Sums of a gradient g and of g * (y - mean): a scale's gradient as the difference of two sums of y would lose what the
  // mean is larger than the deviation.
  Partials *of_gradients() {
    partials.center = groups ? nullptr : mean.data();
    return &partials;
  }
  // From these sums: adds the gradients of scale and shift; a, b, c give the input's gradient.
  void backward(double count);
};

struct Parameter {
  float *values, *gradients, *moment1, *moment2;
  int64_t count;
  const int32_t *subset;
  int64_t subset_count;
  bool frozen;
};

// A parameter or constant that tensor operations read as it stands: all of its values live.
struct Tensor {
  const float *values;
  float *gradients; // null: not trained
  int64_t count;
  bool frozen;
};

struct Optimizer {
  bool adam = false;
  float momentum = 0, weight_decay = 0;
  double beta1 = .9, beta2 = .999, epsilon = 1e-8;
};

struct Network {
  Network(int threads, int lanes);
  Threads threads;
  const Kernels &kernels;
  int lanes;
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<std::unique_ptr<Norm>> norms;
  std::vector<Parameter> parameters;
  std::vector<Tensor> tensors;
  Optimizer optimizer;
  std::vector<float> scratch;
  std::shared_mutex mutex; // predictors share it; step and changes of patterns exclude them

  void step(float lr, const std::vector<int64_t> &adam_counts);
  void refresh();

private:
  void refresh_lists(const std::vector<Weight *> &);
};

// values -= lr * (momentum buffer of gradient + decay * values), torch's SGD; over elements [first, last) of `subset` or
// of all.
void sgd(const Parameter &, const Optimizer &, float lr, int64_t first, int64_t last);
// torch's Adam with bias correction for step `count` (1-based); elements alike.
void adam(const Parameter &, const Optimizer &, float lr, int64_t count, int64_t first, int64_t last);

} // namespace edgecl
