// The Python face of the kernels. Arrays passed to bind and build calls are kept alive by the caller.
#include "casters.h"
#include "point.h"
#include "program.h"
#include "reference.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace edgecl;

namespace {

typedef nb::ndarray<float, nb::c_contig, nb::device::cpu> Floats;
typedef nb::ndarray<const float, nb::c_contig, nb::device::cpu> ConstFloats;
typedef nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> Indices;
typedef nb::ndarray<nb::numpy, float> Result;

float *data(std::optional<Floats> &a) { return a ? a->data() : nullptr; }

Result make_result(std::vector<size_t> shape) {
  size_t n = 1;
  for (size_t d : shape) n *= d;
  float *p = new float[n ? n : 1];
  nb::capsule owner(p, [](void *q) noexcept { delete[] (float *)q; });
  return Result(p, shape.size(), shape.data(), owner);
}

Plane plane(const std::vector<int> &v, int lanes) {
  return {v.at(0), v.at(1), v.at(2), v.at(3), lanes, v.size() > 4 ? v[4] : 0};
}

Geometry geometry(const std::vector<int> &v) {
  if (v.size() != 9 && v.size() != 12)
    throw std::invalid_argument("a geometry has nine numbers, and three of dilation and direction");
  Geometry g{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
  if (v.size() == 12) {
    g.dilation_h = v[9];
    g.dilation_w = v[10];
    g.transposed = v[11] != 0;
  }
  if (g.dilation_h < 1 || g.dilation_w < 1 || (g.kernel_h - 1) % g.dilation_h || (g.kernel_w - 1) % g.dilation_w)
    throw std::invalid_argument("a kernel does not fit its dilation");
  return g;
}

// A session's input: float32 or uint8, [B, ...].
struct Input {
  const float *floats = nullptr;
  const uint8_t *bytes = nullptr;
  int samples = 0;
  Input(const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> &x) {
    if (x.dtype() == nb::dtype<uint8_t>())
      bytes = (const uint8_t *)x.data();
    else if (x.dtype() == nb::dtype<float>())
      floats = (const float *)x.data();
    else
      throw std::invalid_argument("samples must be uint8 or float32");
    samples = (int)x.shape(0);
  }
};

struct Feed {
  int map = 0, pad = 0;
  std::vector<float> mean, scale;
};

// The session over another network of the same plan, for the time of a call.
struct Over {
  Session &session;
  Network &own;
  Over(Session &s, Network &n) : session(s), own(s.network()) { session.use(n); }
  ~Over() { session.use(own); }
};

void feed(Session &s, const Feed &f, const Input &in) {
  s.begin(in.samples);
  s.pack(f.map, in.floats, in.bytes, f.mean.data(), f.scale.data(), f.pad);
}

} // namespace

NB_MODULE(_kernels, m) {
  m.doc() = "Compiled kernels of edgecl: sparse convolution, normalisation, optimizers and the program that runs them.";

  m.def("isa", [] { return std::string(isa_name()); }, "Name of the instruction set in use.");
  m.def("lanes", [] {
    std::vector<int> v;
    for (const int *p = isa_lanes(); *p; p++) v.push_back(*p);
    return v;
  }, "Vector widths available, widest first.");
  m.def("panel", [] { return std::make_pair(widest_kernels().vector, widest_kernels().panel_vectors); },
        "Floats of a vector, and vectors of a product's columns, of dense convolutions that only predict.");
  m.def("point_positions", &point_positions, "lanes"_a, "Positions of a tile of a pointwise convolution.");
  m.def("largest_tile", [](int lanes) {
    const Kernels *k = kernels(lanes);
    if (!k) throw std::invalid_argument("no kernels for this vector width");
    return k->largest_tile;
  });

  m.def("block_channels", [](std::vector<int> g, double density, int lanes, int in, int out) {
    const Geometry q = geometry(g);
    return std::make_pair(block_channels(q, density, lanes, q.group_in(), in),
                          block_channels(q, density / (q.stride_h * q.stride_w), lanes, q.group_out(), out));
  }, "geometry"_a, "density"_a, "lanes"_a, "in_positions"_a, "out_positions"_a,
     "Channels per block of the forward and of the input-gradient lists, for maps of so many positions.");

  nb::class_<Network>(m, "Network")
      .def(nb::init<int, int>(), "threads"_a, "lanes"_a)
      .def("add_weight", [](Network &n, std::vector<int> g) {
        n.weights.push_back(std::make_unique<Weight>());
        n.weights.back()->geometry = geometry(g);
        return (int)n.weights.size() - 1;
      })
      .def("build_weight",
           [](Network &n, int id, Floats values, std::optional<Floats> gradients, std::optional<Floats> bias,
              std::optional<Indices> pattern, std::vector<int> input, std::optional<std::vector<int>> output_gradient,
              std::pair<int, int> blocks, bool direct) {
             Weight &w = *n.weights.at(id);
             if (direct && !pattern && (int64_t)values.size() != w.geometry.size())
               throw std::invalid_argument("a dense layer has as many values as its geometry says");
             nb::gil_scoped_release release;
             w.forward_block = blocks.first;
             w.input_block = blocks.second;
             std::unique_lock<std::shared_mutex> lock(n.mutex);
             w.values = values.data();
             w.gradients = data(gradients);
             w.bias = data(bias);
             w.living = {pattern ? pattern->data() : nullptr, (int64_t)values.size()};
             w.input = plane(input, n.lanes);
             w.input_gradient = output_gradient.has_value();
             w.direct = direct;
             if (output_gradient) w.output_gradient = plane(*output_gradient, n.lanes);
             w.subset = nullptr;
             w.build();
           },
           "id"_a, "values"_a, "gradients"_a.none(), "bias"_a.none(), "pattern"_a.none(), "input"_a, "output_gradient"_a.none(),
           "blocks"_a, "direct"_a = false)
      .def("set_subset",
           [](Network &n, int id, std::optional<Indices> subset, bool frozen) {
             Weight &w = *n.weights.at(id);
             nb::gil_scoped_release release;
             w.subset = subset ? subset->data() : nullptr;
             w.subset_count = subset ? (int64_t)subset->size() : 0;
             w.frozen = frozen;
             w.build_gradient();
           },
           "id"_a, "subset"_a.none(), "frozen"_a)
      .def("kernel_bytes", [](Network &n) {
        size_t b = 0;
        for (auto &w : n.weights) b += w->bytes();
        return b;
      }, "Bytes of all index lists.")
      .def("scratch_bytes", [](Network &n) { return n.scratch.size() * sizeof(float); },
           "Bytes of sums and gradient accumulators so far.")
      .def("add_norm", [](Network &n, int channels, int groups, float epsilon, float momentum, bool fixed) {
        auto p = std::make_unique<Norm>();
        p->channels = channels;
        p->groups = groups;
        p->epsilon = epsilon;
        p->momentum = momentum;
        p->fixed = fixed;
        p->mean.resize(channels);
        p->rstd.resize(channels);
        n.norms.push_back(std::move(p));
        return (int)n.norms.size() - 1;
      })
      .def("bind_norm",
           [](Network &n, int id, Floats scale, Floats shift, std::optional<Floats> mean, std::optional<Floats> var,
              std::optional<Floats> scale_gradient, std::optional<Floats> shift_gradient, std::pair<bool, bool> frozen) {
             Norm &p = *n.norms.at(id);
             p.scale = scale.data();
             p.shift = shift.data();
             const bool fresh = p.running_mean != data(mean);
             p.running_mean = data(mean);
             p.running_var = data(var);
             p.frozen_mean = frozen.first;
             p.frozen_var = frozen.second;
             p.scale_gradient = data(scale_gradient);
             p.shift_gradient = data(shift_gradient);
             if (fresh) p.begin();
           },
           "id"_a, "scale"_a, "shift"_a, "mean"_a.none(), "var"_a.none(), "scale_gradient"_a.none(),
           "shift_gradient"_a.none(),
           "frozen"_a)
      .def("set_parameters",
           [](Network &n, std::vector<Floats> values, std::vector<Floats> gradients,
              std::vector<std::optional<Floats>> moment1, std::vector<std::optional<Floats>> moment2,
              std::vector<std::optional<Indices>> subsets, std::vector<bool> frozen) {
             n.parameters.clear();
             for (size_t i = 0; i < values.size(); i++)
               n.parameters.push_back({values[i].data(), gradients[i].data(), data(moment1[i]), data(moment2[i]),
                                       (int64_t)values[i].size(), subsets[i] ? subsets[i]->data() : nullptr,
                                       subsets[i] ? (int64_t)subsets[i]->size() : 0, frozen[i]});
           })
      .def("set_tensors",
           [](Network &n, std::vector<Floats> values, std::vector<std::optional<Floats>> gradients, std::vector<bool> frozen) {
             n.tensors.clear();
             for (size_t i = 0; i < values.size(); i++)
               n.tensors.push_back({values[i].data(), data(gradients.at(i)), (int64_t)values[i].size(), frozen.at(i)});
           }, "values"_a, "gradients"_a, "frozen"_a, "Parameters and constants that tensor operations read.")
      .def("set_optimizer",
           [](Network &n, bool adam, float momentum, float weight_decay, double beta1, double beta2, double epsilon) {
             n.optimizer = {adam, momentum, weight_decay, beta1, beta2, epsilon};
           })
      .def("step", &Network::step, nb::call_guard<nb::gil_scoped_release>(), "lr"_a, "adam_counts"_a)
      .def("refresh", &Network::refresh, nb::call_guard<nb::gil_scoped_release>(),
           "Values of the lists again from the bound arrays.")
      .def("begin_norms", [](Network &n) {
        for (auto &p : n.norms) p->begin();
      }, "Working statistics again from the bound arrays: uncommitted ones are dropped.")
      .def("rebind_weight",
           [](Network &n, int id, Floats values, std::optional<Floats> gradients, std::optional<Floats> bias,
              std::optional<Indices> pattern) {
             Weight &w = *n.weights.at(id);
             w.values = values.data();
             w.gradients = data(gradients);
             w.bias = data(bias);
             w.living.pattern = pattern ? pattern->data() : nullptr;
           },
           "id"_a, "values"_a, "gradients"_a.none(), "bias"_a.none(), "pattern"_a.none());

  nb::class_<Feed>(m, "Feed")
      .def("__init__", [](Feed *f, int map, std::vector<float> mean, std::vector<float> scale, int pad) {
        new (f) Feed{map, pad, std::move(mean), std::move(scale)};
      }, "map"_a, "mean"_a, "scale"_a, "pad"_a);

  nb::class_<Session>(m, "Session")
      .def("__init__",
           [](Session *s, Network &n, int blocks, int64_t arena, std::vector<std::vector<int64_t>> maps,
              std::vector<std::pair<int, std::vector<int>>> forward, std::vector<std::pair<int, std::vector<int>>> backward,
              int own_threads) {
             auto convert = [](std::vector<std::pair<int, std::vector<int>>> &v) {
               std::vector<Operation> ops;
               for (auto &p : v) ops.push_back({(Code)p.first, std::move(p.second)});
               return ops;
             };
             new (s) Session(n, blocks, arena, maps, convert(forward), convert(backward), own_threads);
           },
           nb::keep_alive<1, 2>(), "network"_a, "blocks"_a, "arena_bytes"_a, "maps"_a, "forward"_a, "backward"_a,
           "own_threads"_a)
      .def("forward",
           [](Session &s, const Feed &f, nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> x, bool training) {
             const Input in(x);
             nb::gil_scoped_release release;
             feed(s, f, in);
             s.run_forward(training);
           })
      .def("predict",
           [](Session &s, Network &n, const Feed &f, nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> x, int map, int width) {
             const Input in(x);
             Result out = make_result({(size_t)in.samples, (size_t)width});
             float *p = out.data();
             nb::gil_scoped_release release;
             std::shared_lock<std::shared_mutex> lock(n.mutex);
             const Over over(s, n);
             feed(s, f, in);
             s.run_forward(false);
             s.unpack(map, p);
             return out;
           })
      .def("evaluate",
           [](Session &s, Network &n, const Feed &f, nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> x) {
             const Input in(x);
             nb::gil_scoped_release release;
             std::shared_lock<std::shared_mutex> lock(n.mutex);
             const Over over(s, n);
             feed(s, f, in);
             s.run_forward(false);
           }, "An evaluation forward; excludes step and changes of patterns.")
      .def("begin", &Session::begin)
      .def("load", [](Session &s, int map, ConstFloats x) {
        nb::gil_scoped_release release;
        s.pack(map, x.data(), nullptr, nullptr, nullptr, 0);
      }, "Packs [B, ...] float32 into a map.")
      .def("fetch", [](Session &s, int map, std::vector<size_t> shape) {
        Result out = make_result(shape);
        s.unpack(map, out.data());
        return out;
      })
      .def("backward", [](Session &s, int first, int last) {
        nb::gil_scoped_release release;
        s.run_backward(first, last);
      })
      .def("dense_gradient", [](Session &s, int index, int row0, int row1, size_t per_row) {
        Result out = make_result({(size_t)(row1 - row0), per_row});
        float *p = out.data();
        nb::gil_scoped_release release;
        s.dense_gradient(index, row0, row1, p);
        return out;
      })
      .def("poison", &Session::poison, "Fills the arena with NaN.")
      .def("seconds", &Session::seconds, "backward"_a, "Seconds spent in each operation so far.")
      .def_prop_ro("scratch_bytes", [](Session &s) { return s.scratch().size() * sizeof(float); })
      .def_prop_ro("arena_bytes", &Session::arena_bytes);

  m.def("reference_conv_forward",
        [](std::vector<int> g, ConstFloats x, ConstFloats w) {
          const Geometry q = geometry(g);
          const int n = (int)x.shape(0), h = (int)x.shape(2), wd = (int)x.shape(3);
          Result y = make_result({(size_t)n, (size_t)q.out, (size_t)((h + 2 * q.pad_h - q.kernel_h) / q.stride_h + 1),
                                  (size_t)((wd + 2 * q.pad_w - q.kernel_w) / q.stride_w + 1)});
          reference_conv_forward(q, n, h, wd, x.data(), w.data(), y.data());
          return y;
        });
  m.def("reference_conv_backward",
        [](std::vector<int> g, ConstFloats x, ConstFloats w, ConstFloats dy) {
          const Geometry q = geometry(g);
          const int n = (int)x.shape(0), h = (int)x.shape(2), wd = (int)x.shape(3);
          Result dx = make_result({(size_t)n, (size_t)q.in, (size_t)h, (size_t)wd});
          Result dw = make_result({(size_t)q.out, (size_t)q.group_in(), (size_t)q.kernel_h, (size_t)q.kernel_w});
          reference_conv_backward(q, n, h, wd, x.data(), w.data(), dy.data(), dx.data(), dw.data());
          return std::make_pair(dx, dw);
        });
}
