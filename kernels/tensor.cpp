// Tensor operations of a session: what a program says of their views, made into strides, dealt to the threads.
#include "tensor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "program.h"
#include "scratch.h"

namespace edgecl {
namespace {

// Reads the plain numbers of an operation one after another.
struct Reader {
  const std::vector<int> &args;
  size_t at;
  int next() { return args.at(at++); }
  const int *take(size_t n) {
    if (at + n > args.size()) throw std::invalid_argument("an operation of the plan has too few arguments");
    const int *p = args.data() + at;
    at += n;
    return p;
  }
};

float as_float(int bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

enum Kind { MAP = 0, VALUES = 1, GRADIENTS = 2 };
enum Begin { NOTHING = 0, CLEAR_HALO = 1, FILL = 2, FILL_ALPHA = 3 };

struct Operand {
  View view;
  ptrdiff_t block = 0;      // floats between blocks
  bool alone[MAX_AXES] = {}; // axes that move along an axis of the tensor which no other one moves along
};

// [kind, index, rank, shape.., axis of each iteration axis or -1, its step.., offset along each axis of the tensor..]
Operand read_operand(Reader &r, int axes, const Map *map, const Network &net) {
  Operand o;
  const int kind = r.next(), index = r.next(), rank = r.next();
  if (rank < 0 || rank > MAX_AXES) throw std::invalid_argument("a tensor of the plan has too many axes");
  const int *shape = r.take(rank), *axis = r.take(axes), *step = r.take(axes), *offset = r.take(rank);
  ptrdiff_t stride[MAX_AXES];
  if (kind == MAP) {
    if (!map || !map->data) throw std::invalid_argument("an operation of the plan lacks a map");
    const int lanes = map->lanes;
    ptrdiff_t between = map->columns; // of axes inside a plane's rows
    for (int a = rank - 2; a > 0; a--) {
      stride[a] = between * lanes;
      between *= shape[a];
    }
    if (rank > 1) stride[rank - 1] = lanes;
    if (rank > 0) stride[0] = (ptrdiff_t)map->plane() * lanes;
    o.view.base = map->at(0, 0);
    o.block = (ptrdiff_t)map->block() * lanes;
  } else {
    ptrdiff_t between = 1;
    for (int a = rank - 1; a >= 0; a--) {
      stride[a] = between;
      between *= shape[a];
    }
    const Tensor &t = net.tensors.at(index);
    if (between != t.count) throw std::invalid_argument("a parameter of the plan has another size");
    o.view.base = kind == VALUES ? (float *)t.values : t.gradients;
    o.view.parameter = true;
  }
  int movers[MAX_AXES] = {};
  for (int a = 0; a < rank; a++) o.view.base += offset[a] * stride[a];
  for (int i = 0; i < axes; i++) {
    if (axis[i] >= rank) throw std::invalid_argument("an axis of the plan lies outside its tensor");
    o.view.stride[i] = axis[i] < 0 ? 0 : step[i] * stride[axis[i]];
    if (axis[i] >= 0) movers[axis[i]]++;
  }
  for (int i = 0; i < axes; i++) o.alone[i] = axis[i] >= 0 && movers[axis[i]] == 1 && step[i] != 0;
  return o;
}

struct Parsed {
  TensorOp op;
  Operand out, in[MAX_INPUTS];
};

// [axes, sizes.., inputs, operand of the output and of each input]
Parsed read_spec(Reader &r, const std::vector<const Map *> &maps, const Network &net) {
  Parsed p;
  p.op.axes = r.next();
  if (p.op.axes < 1 || p.op.axes > MAX_AXES) throw std::invalid_argument("an operation of the plan has too many axes");
  const int *size = r.take(p.op.axes);
  std::copy(size, size + p.op.axes, p.op.size);
  p.op.inputs = r.next();
  if (p.op.inputs < 0 || p.op.inputs > MAX_INPUTS) throw std::invalid_argument("an operation has too many inputs");
  p.out = read_operand(r, p.op.axes, maps[0], net);
  for (int i = 0; i < p.op.inputs; i++) p.in[i] = read_operand(r, p.op.axes, maps[i + 1], net);
  p.op.out = p.out.view;
  for (int i = 0; i < p.op.inputs; i++) p.op.in[i] = p.in[i].view;
  p.op.lanes = net.lanes;
  return p;
}

// Joins adjacent axes from `first` to `last` (excluded) that every view passes through as through one.
void collapse(TensorOp &o, int first, int last) {
  for (int a = last - 1; a > first; a--) {
    auto joined = [&](const View &v) { return v.stride[a - 1] == v.stride[a] * o.size[a]; };
    bool all = joined(o.out) || o.size[a - 1] == 1;
    for (int i = 0; i < o.inputs; i++) all = all && (joined(o.in[i]) || o.size[a - 1] == 1);
    if (!all) continue;
    o.size[a - 1] *= o.size[a];
    auto drop = [&](View &v) {
      v.stride[a - 1] = v.stride[a];
      for (int j = a; j + 1 < o.axes; j++) v.stride[j] = v.stride[j + 1];
    };
    drop(o.out);
    for (int i = 0; i < o.inputs; i++) drop(o.in[i]);
    for (int j = a; j + 1 < o.axes; j++) o.size[j] = o.size[j + 1];
    o.axes--;
  }
}

void move_to_front(TensorOp &o, int axis) {
  auto rotate = [axis](auto *v) { std::rotate(v, v + axis, v + axis + 1); };
  rotate(o.size);
  rotate(o.out.stride);
  for (int i = 0; i < o.inputs; i++) rotate(o.in[i].stride);
}

// Runs `work(op, worker)` for every block and, where blocks alone keep too few threads busy or the output is the gradient
// of a parameter, for pieces of `axis` (-1: none). Nothing depends on how many pieces there are.
template <class F>
void deal(Threads &threads, const Samples &s, const Parsed &p, int axis, int grain, const F &work) {
  const bool gradient = p.out.view.parameter;
  const int length = axis < 0 ? 1 : (p.op.size[axis] + grain - 1) / grain;
  int pieces = 1;
  if (threads.count() > 1 && (gradient || s.blocks < threads.count())) pieces = std::min(length, 4 * threads.count());
  const int blocks = gradient ? 1 : s.blocks;
  threads.run(blocks * pieces, [&](int item, int worker) {
    const int piece = item % pieces;
    for (int b = item / pieces; b < (gradient ? s.blocks : item / pieces + 1); b++) {
      TensorOp o = p.op;
      o.real = s.in_block(b);
      if (!gradient) o.out.base += b * p.out.block;
      for (int i = 0; i < o.inputs; i++) o.in[i].base += b * p.in[i].block;
      if (pieces > 1) {
        const int first = (int)((long)length * piece / pieces) * grain;
        const int last = std::min(p.op.size[axis], (int)((long)length * (piece + 1) / pieces) * grain);
        o.size[axis] = last - first;
        o.out.base += first * o.out.stride[axis];
        for (int i = 0; i < o.inputs; i++) o.in[i].base += first * o.in[i].stride[axis];
      }
      work(o, worker);
    }
  });
}

// The first axis before `last` that pieces may be cut along: no two of them write to the same place.
int parallel_axis(const Parsed &p, int last) {
  for (int a = 0; a < last; a++)
    if (p.op.size[a] > 1 && p.out.alone[a]) return a;
  return -1;
}

// Lanes without a sample become zero.
void fill_map(const Map &m, int block, int channel, float value, int real) {
  for (int y = 0; y < m.height; y++) {
    float *row = m.at(block, channel, y);
    const int n = m.width * m.lanes;
    if (value == 0 || real == m.lanes)
      std::fill(row, row + n, value);
    else
      for (int i = 0; i < n; i++) row[i] = i % m.lanes < real ? value : 0.f;
  }
}

// Copies between maps whose planes differ, element by element in the order of both.
void copy_block(const Map &to, const Map &from, int block, bool accumulate) {
  const int lanes = to.lanes;
  const long total = (long)from.channels * from.height * from.width;
  auto place = [&](const Map &m, long e, int &left) {
    const int x = (int)(e % m.width), y = (int)(e / m.width % m.height), c = (int)(e / m.width / m.height);
    left = m.width - x;
    return m.at(block, c, y, x);
  };
  for (long e = 0; e < total;) {
    int a, b;
    float *d = place(to, e, a);
    const float *s = place(from, e, b);
    const int n = std::min(a, b);
    if (accumulate)
      for (int i = 0; i < n * lanes; i++) d[i] += s[i];
    else
      std::memcpy(d, s, (size_t)n * lanes * 4);
    e += n;
  }
}

} // namespace

void Session::begin_output(int index, int how, float value) {
  if (how == NOTHING || index < 0) return;
  const Map &m = maps_[index];
  const Kernels &k = net_->kernels;
  const int blocks = samples_.blocks;
  if (how == CLEAR_HALO && !m.halo()) return;
  pool().run(blocks, [&](int b, int) {
    for (int c = 0; c < m.channels; c++) {
      k.halo(m, b, c);
      if (how >= FILL) fill_map(m, b, c, how == FILL ? 0.f : value, samples_.in_block(b));
    }
  });
}

void Session::run_tensor(const Operation &op, bool training) {
  const std::vector<int> &a = op.args;
  const TensorKernels &k = tensor_kernels();
  std::vector<float> &scratch = this->scratch();
  auto map = [&](int i) -> const Map * { return i < 0 ? nullptr : &maps_.at(i); };
  auto frozen = [&](const Parsed &p, Reader r) {
    // The output's kind and index follow the axes and the number of inputs.
    r.at += 1 + p.op.axes + 1;
    const int kind = r.next(), index = r.next();
    return kind == GRADIENTS && net_->tensors.at(index).frozen;
  };

  switch (op.code) {
  case Code::EACH: {
    using A = args::EACH;
    Reader r{a, A::spec};
    Parsed p = read_spec(r, {map(a[A::out]), map(a[A::a]), map(a[A::b]), map(a[A::c]), map(a[A::d])}, *net_);
    if (frozen(p, {a, A::spec})) break;
    p.op.function = (Function)a[A::function];
    p.op.combine = (Combine)a[A::combine];
    p.op.alpha = as_float(a[A::alpha]);
    p.op.beta = as_float(a[A::beta]);
    begin_output(a[A::out], a[A::begin], p.op.alpha);
    int axis = parallel_axis(p, p.op.axes - 1);
    if (axis > 0) move_to_front(p.op, axis);
    if (axis >= 0) axis = 0;
    collapse(p.op, axis + 1, p.op.axes);
    deal(pool(), samples_, p, axis, 1, [&](const TensorOp &o, int) { k.each(o); });
    break;
  }
  case Code::LINES: {
    using A = args::LINES;
    Reader r{a, A::spec};
    Parsed p = read_spec(r, {map(a[A::out]), map(a[A::a]), map(a[A::b]), map(a[A::c]), map(a[A::d])}, *net_);
    if (frozen(p, {a, A::spec})) break;
    p.op.function = (Function)a[A::function];
    p.op.combine = (Combine)a[A::combine];
    p.op.alpha = as_float(a[A::alpha]);
    p.op.line = a[A::line];
    const int outer = p.op.axes - p.op.line;
    if (p.op.line < 1 || outer < 0) throw std::invalid_argument("a line of the plan has no axis");
    begin_output(a[A::out], a[A::begin], p.op.alpha);
    size_t n = 1;
    for (int i = outer; i < p.op.axes; i++) n *= p.op.size[i];
    const Scratch rows(scratch, pool().count(), {(p.op.inputs + 1) * n * net_->lanes});
    const int before = p.op.axes;
    collapse(p.op, outer, p.op.axes);
    p.op.line -= before - p.op.axes;
    deal(pool(), samples_, p, parallel_axis(p, outer), 1,
         [&](const TensorOp &o, int worker) { k.lines(o, rows(worker, 0)); });
    break;
  }
  case Code::PRODUCT: {
    using A = args::PRODUCT;
    Reader r{a, A::spec};
    Parsed p = read_spec(r, {map(a[A::out]), map(a[A::a]), map(a[A::b])}, *net_);
    if (p.op.axes < 3 || p.op.inputs != 2) throw std::invalid_argument("a product of the plan lacks axes");
    p.op.combine = (Combine)a[A::combine];
    p.op.alpha = as_float(a[A::alpha]);
    begin_output(a[A::out], a[A::begin], 0);
    const Scratch rows(scratch, pool().count(), {net_->lanes < 4 ? (size_t)p.op.size[p.op.axes - 1] * 64 : 0});
    int axis = p.op.axes - 3, grain = 4;
    if (p.op.size[axis] < 16 && parallel_axis(p, axis) >= 0) {
      axis = parallel_axis(p, axis);
      grain = 1;
    }
    deal(pool(), samples_, p, axis, grain,
         [&](const TensorOp &o, int worker) { k.product(o, rows(worker, 0)); });
    break;
  }
  case Code::RESAMPLE: {
    using A = args::RESAMPLE;
    Reader r{a, A::spec};
    Parsed p = read_spec(r, {map(a[A::out]), map(a[A::x])}, *net_);
    p.op.combine = (Combine)a[A::combine];
    const int rows = p.op.line = p.op.size[p.op.axes - 1];
    SparseRows s;
    s.pointers = r.take(rows + 1);
    const int entries = s.pointers[rows];
    s.columns = r.take(entries);
    s.weights = r.take(entries);
    const int last = --p.op.axes;
    s.out_stride = p.op.out.stride[last];
    s.in_stride = p.op.in[0].stride[last];
    if (!last) { // a vector: one row of one position
      p.op.axes = 1;
      p.op.size[0] = 1;
      p.op.out.stride[0] = p.op.in[0].stride[0] = 0;
    }
    begin_output(a[A::out], a[A::begin], 0);
    deal(pool(), samples_, p, last ? parallel_axis(p, p.op.axes - 1) : -1, 1,
         [&](const TensorOp &o, int) { k.resample(o, s); });
    break;
  }
  case Code::RESHAPE: {
    using A = args::RESHAPE;
    const Map &to = *map(a[A::out]), &from = *map(a[A::x]);
    if ((long)to.channels * to.height * to.width != (long)from.channels * from.height * from.width)
      throw std::invalid_argument("a reshape of the plan changes the size");
    if (!a[A::accumulate]) begin_output(a[A::out], CLEAR_HALO, 0);
    pool().run(samples_.blocks, [&](int b, int) { copy_block(to, from, b, a[A::accumulate] != 0); });
    break;
  }
  case Code::RECUR:
  case Code::RECUR_BACK: run_recurrent(op, training); break;
  default: throw std::invalid_argument("the plan has an operation that these kernels do not know");
  }
}

void Session::run_recurrent(const Operation &op, bool) {
  using A = args::RECUR_BACK; // the first arguments are RECUR's
  const std::vector<int> &a = op.args;
  const TensorKernels &k = tensor_kernels();
  std::vector<float> &scratch = this->scratch();
  const bool back = op.code == Code::RECUR_BACK;
  const Map &x = maps_.at(a[A::x]), &y = maps_.at(a[A::y]), &kept = maps_.at(a[A::kept]);
  const Weight &w = *net_->weights.at(a[A::weight]);
  const int lanes = net_->lanes, hidden = w.geometry.in, gates = a[A::gates], rows = gates * hidden;
  if (w.geometry.out != rows || x.channels != rows || y.channels != hidden || x.height != 1)
    throw std::invalid_argument("a recurrent layer of the plan has other sizes");
  // The living weights by row; the pattern is sorted.
  std::vector<int> starts(rows + 1), columns(w.living.count);
  for (int64_t i = 0; i < w.living.count; i++) {
    const int64_t flat = w.living.at(i);
    starts[flat / hidden + 1]++;
    columns[i] = (int)(flat % hidden);
  }
  for (int i = 0; i < rows; i++) starts[i + 1] += starts[i];
  const Scratch state(scratch, pool().count(), {(size_t)(gates + 3) * hidden * lanes});
  auto plane = [&](const Map &m) { return (ptrdiff_t)m.plane() * lanes; };
  const Tensor *bias = a[A::bias] < 0 ? nullptr : &net_->tensors.at(a[A::bias]);
  const Map *cell = a[A::cell] < 0 ? nullptr : &maps_.at(a[A::cell]);
  const Map *dx = back ? &maps_.at(a[A::dx]) : nullptr, *dp = back ? &maps_.at(a[A::dproduct]) : nullptr;
  const Map *dy = back ? &maps_.at(a[A::dy]) : nullptr;
  for (const Map *m : {dx, dp}) // their halos are read by nobody as anything but zero
    if (m) begin_output((int)(m - maps_.data()), CLEAR_HALO, 0);
  if (!back) begin_output(a[A::y], CLEAR_HALO, 0);
  pool().run(samples_.blocks, [&](int b, int worker) {
    Recurrence r{};
    r.hidden = hidden;
    r.steps = x.width;
    r.lanes = lanes;
    r.reverse = a[A::reverse] != 0;
    r.gates = gates;
    r.reset_after = a[A::reset_after] != 0;
    r.input = x.at(b, 0);
    r.state = y.at(b, 0);
    r.kept = kept.at(b, 0);
    r.cell = cell ? cell->at(b, 0) : nullptr;
    r.input_plane = plane(x);
    r.state_plane = plane(y);
    r.kept_plane = plane(kept);
    r.cell_plane = cell ? plane(*cell) : 0;
    r.weights = w.values;
    r.rows = starts.data();
    r.columns = columns.data();
    r.bias = bias ? bias->values : nullptr;
    r.scratch = state(worker, 0);
    if (!back) {
      k.recur(r);
      const int real = samples_.in_block(b);
      for (int c = 0; c < hidden && real < lanes; c++)
        for (int t = 0; t < x.width; t++) std::fill(y.at(b, c, 0, t) + real, y.at(b, c, 0, t) + lanes, 0.f);
      return;
    }
    r.dstate = dy->at(b, 0);
    r.dinput = dx->at(b, 0);
    r.dproduct = dp->at(b, 0);
    r.dstate_plane = plane(*dy);
    r.dinput_plane = plane(*dx);
    r.dproduct_plane = plane(*dp);
    k.recur_back(r);
  });
  if (back) recurrent_gradients(op, starts, columns);
}

// Of the recurrent weights: products of the gates' gradients with the states of the step before.
void Session::recurrent_gradients(const Operation &op, const std::vector<int> &starts, const std::vector<int> &columns) {
  using A = args::RECUR_BACK;
  const std::vector<int> &a = op.args;
  const TensorKernels &k = tensor_kernels();
  const Map &y = maps_.at(a[A::y]), &kept = maps_.at(a[A::kept]), &dp = maps_.at(a[A::dproduct]);
  const Weight &w = *net_->weights.at(a[A::weight]);
  const int lanes = net_->lanes, hidden = w.geometry.in, gates = a[A::gates], steps = y.width;
  const bool reverse = a[A::reverse] != 0, resets = gates == 3 && !a[A::reset_after];
  const int n = (steps - 1) * lanes, later = reverse ? 0 : 1, earlier = reverse ? 1 : 0;
  std::vector<float> product; // the reset states, where those are what n's weights multiply
  auto states = [&](int b, int column, bool reset) -> const float * {
    const float *h = y.at(b, column, 0, earlier);
    if (!reset) return h;
    const float *r = kept.at(b, column, 0, later);
    for (int i = 0; i < n; i++) product[(size_t)column * n + i] = h[i] * r[i];
    return &product[(size_t)column * n];
  };
  if (!w.frozen && n > 0) {
    if (resets) product.resize((size_t)hidden * n);
    for (int b = 0; b < samples_.blocks; b++) {
      if (resets)
        for (int c = 0; c < hidden; c++) states(b, c, true);
      auto one = [&](int64_t i, int row) {
        const float *h = resets && row >= 2 * hidden ? &product[(size_t)columns[i] * n] : states(b, columns[i], false);
        w.gradients[i] += k.dot(dp.at(b, row, 0, later), h, n);
      };
      pool().run(gates, [&](int gate, int) {
        const int first = gate * hidden, last = first + hidden;
        if (!w.subset) {
          for (int row = first; row < last; row++)
            for (int i = starts[row]; i < starts[row + 1]; i++) one(i, row);
          return;
        }
        const int32_t *from = std::lower_bound(w.subset, w.subset + w.subset_count, starts[first]);
        const int32_t *to = std::lower_bound(from, w.subset + w.subset_count, starts[last]);
        int row = first;
        for (; from < to; from++) {
          while (*from >= starts[row + 1]) row++;
          one(*from, row);
        }
      });
    }
  }
  if (a[A::bias] < 0) return;
  const Tensor &bias = net_->tensors.at(a[A::bias]);
  if (bias.frozen || !bias.gradients) return;
  for (int row = 0; row < gates * hidden; row++) {
    float total = 0;
    for (int b = 0; b < samples_.blocks; b++)
      for (int i = 0; i < steps * lanes; i++) total += dp.at(b, row)[i];
    bias.gradients[row] += total;
  }
}

} // namespace edgecl
