// Cuts convolutions of predictions into items for the pool. Whoever runs an item and however outputs are dealt out,
// each sum runs over its inputs in the same order: no bit depends on threads.
#include "direct.h"

#include <cstring>

#include "scratch.h"

namespace edgecl {
namespace {

constexpr int DEPTH = 1024;            // input values that are gathered at once
constexpr int PANEL_FLOATS = 24 << 10; // of a panel: it stays in the second cache
constexpr int PANEL_PRODUCTS = 8;      // products side by side in a panel, at most: outputs are written in long stretches
constexpr int SPARSE_VECTORS = 8;      // of columns times living weights
constexpr int SPARSE_ROWS = 32;        // rows whose sums are finished at once
constexpr int CHUNK = 8;               // products one below the other, while a panel's part stays in the first cache

struct Finish {
  const float *bias;
  const Affine *after;
  Finish(const float *b, const Affine *a) : bias(b), after(a) {}
  FinishRow row(int channel) const {
    const float b = bias ? bias[channel] : 0.f;
    if (!after) return {1.f, b, 0.f, NONE};
    const float scale = after->scale1 ? after->scale1[channel] : 1.f;
    float shift = b * scale + (after->shift1 ? after->shift1[channel] : 0.f);
    if (after->b.data && after->shift2) shift += after->shift2[channel];
    return {scale, shift, after->scale2 ? after->scale2[channel] : 1.f, after->activation};
  }
  const float *add(int block, int channel) const {
    return after && after->b.data ? after->b.at(block, channel) : nullptr;
  }
};

// The pieces of a panel of columns [first, last), cut where a row of outputs or a product ends; the products' parts of the
// panel are `part` floats each.
void cut_pieces(int first, int last, int plane, int width, int product, size_t part, std::vector<GatherPiece> &pieces) {
  pieces.clear();
  for (int at = first; at < last;) {
    const int position = at % plane, x = position % width, column = at - first, j = column / product;
    const int count = std::min(std::min(width - x, last - at), (j + 1) * product - column);
    pieces.push_back({at / plane, position / width, x, count, (int)(j * part) + column % product});
    at += count;
  }
}

// Columns of a panel that are one sample's.
struct Stretch {
  int sample, position, count, column;
};

void cut_stretches(int first, int last, int plane, std::vector<Stretch> &stretches) {
  stretches.clear();
  for (int at = first; at < last; at += stretches.back().count) {
    const int position = at % plane;
    stretches.push_back({at / plane, position, std::min(plane - position, last - at), at - first});
  }
}

// A panel's scratch and cuts, of each worker.
struct Cuts {
  std::vector<GatherPiece> pieces;
  std::vector<Stretch> stretches;
};

bool is_point(const Geometry &g, const Map &x, const Map &y) {
  return g.kernel_h * g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && x.height == y.height && x.width == y.width;
}

// Vectors: one position a sample. Weights are read once, whatever they are multiplied with.
void vectors(Threads &threads, const Kernels &k, const Geometry &g, const float *weights, const Map &x, const Map &y,
             const Finish &finish, const Samples &s) {
  const int items = threads.count() == 1 ? 1 : std::min(g.out, 8 * threads.count());
  threads.run(items, [&](int item, int) {
    for (int r = (int)((long)g.out * item / items); r < (int)((long)g.out * (item + 1) / items); r++) {
      const FinishRow f = finish.row(r);
      for (int sample = 0; sample < s.blocks; sample++) {
        alignas(64) float sum[16] = {k.dot(weights + (size_t)r * g.in, x.at(sample, 0), g.in)};
        k.finish_row(f, sum, finish.add(sample, r), y.at(sample, r), 1);
      }
    }
  });
}

void products(Threads &threads, const Kernels &k, const Geometry &g, const float *weights, const Map &x, const Map &y,
              const Finish &finish, const Samples &s, std::vector<float> &scratch) {
  const int plane = y.height * y.width, columns = s.blocks * plane, product = k.panel_vectors * k.vector;
  const int depth = g.group_in() * g.taps_h() * g.taps_w(), pieces = (depth + DEPTH - 1) / DEPTH;
  // Columns of a panel: as many products as fit, the same number in each panel.
  const int fit = std::max(1, std::min(PANEL_PRODUCTS, PANEL_FLOATS / (std::min(depth, DEPTH) * product)));
  const int all = (columns + product - 1) / product, panels = (all + fit - 1) / fit;
  const int row = (all + panels - 1) / panels * product;
  const int few = std::min(k.panel_vectors, (columns + k.vector - 1) / k.vector), step = k.panel_rows[few - 1];
  const int rows = g.group_out(), blocks = (rows + step * CHUNK - 1) / (step * CHUNK);
  const int wanted = threads.count() == 1 ? 1 : (4 * threads.count() + panels - 1) / panels;
  const int cuts = std::min(wanted, blocks);
  // Sums of a chunk of rows are finished at once; of all rows where the inputs come in several pieces.
  const int kept = (pieces > 1 ? blocks : 1) * step * CHUNK;
  const Scratch room(scratch, threads.count(), {(size_t)std::min(depth, DEPTH) * row, (size_t)kept * row});
  const bool point = is_point(g, x, y); // a plane is one row
  std::vector<Cuts> cuts_of(threads.count());
  threads.run(g.groups * panels * cuts, [&](int item, int worker) {
    const int cut = item % cuts, group = item / cuts / panels, first = item / cuts % panels * row;
    const int last = std::min(columns, first + row);
    const int row0 = (int)((long)blocks * cut / cuts) * step * CHUNK;
    const int row1 = std::min(rows, (int)((long)blocks * (cut + 1) / cuts) * step * CHUNK);
    float *panel = room(worker, 0), *sums_of_all = room(worker, 1);
    std::vector<GatherPiece> &piece_list = cuts_of[worker].pieces;
    cut_stretches(first, last, plane, cuts_of[worker].stretches);
    for (int piece = 0; piece < pieces; piece++) {
      const int k0 = (int)((long)depth * piece / pieces), k1 = (int)((long)depth * (piece + 1) / pieces);
      const size_t part = (size_t)product * (k1 - k0);
      cut_pieces(first, last, plane, point ? plane : y.width, product, part, piece_list);
      if (const int rest = (last - first) % k.vector) // the last vector's other columns
        for (int i = 0; i < k1 - k0; i++)
          std::memset(panel + (last - first) / product * part + (size_t)i * product + (last - first) % product, 0,
                      (k.vector - rest) * sizeof(float));
      k.gather({&x, group * g.group_in(), point ? 1 : x.height, point ? plane : x.width, g.taps_h(), g.taps_w(),
                g.dilation_h, g.dilation_w, g.stride_h, g.stride_w, g.pad_h, g.pad_w, k0, k1, piece_list.data(),
                (int)piece_list.size(), panel, product});
      for (int chunk = row0; chunk < row1; chunk += step * CHUNK) {
        const int end = std::min(row1, chunk + step * CHUNK);
        float *sums = pieces > 1 ? sums_of_all + (size_t)chunk * row : sums_of_all;
        for (int c = first; c < last; c += product) { // a product's panel stays in the first cache
          const int vectors = std::min(k.panel_vectors, (last - c + k.vector - 1) / k.vector);
          for (int r = chunk; r < end; r += step)
            k.panel_product[std::min(step, end - r) - 1][vectors - 1](
                {weights + ((size_t)group * rows + r) * depth + k0, depth, k1 - k0, panel + (c - first) / product * part,
                 sums + (size_t)(r - chunk) * row + (c - first), row, piece > 0});
        }
        for (int r = chunk; r < end && piece + 1 == pieces; r++) {
          const int channel = group * rows + r;
          const FinishRow f = finish.row(channel);
          for (const Stretch &t : cuts_of[worker].stretches) {
            const float *add = finish.add(t.sample, channel);
            k.finish_row(f, sums + (size_t)(r - chunk) * row + t.column, add ? add + t.position : nullptr,
                         y.at(t.sample, channel) + t.position, t.count);
          }
        }
      }
    }
  });
}

// Living weights alone. A panel of a pointwise convolution that lies in one plane is read where it is.
void sparse_products(Threads &threads, const Kernels &k, const Weight &w, const Map &x, const Map &y, const Finish &finish,
                     const Samples &s, std::vector<float> &scratch) {
  const Geometry &g = w.geometry;
  const int plane = y.height * y.width, columns = s.blocks * plane, row = SPARSE_VECTORS * k.vector;
  const int depth = g.group_in() * g.taps_h() * g.taps_w(), rows = g.group_out(), panels = (columns + row - 1) / row;
  const int wanted = threads.count() == 1 ? 1 : (4 * threads.count() + panels - 1) / panels;
  const int cuts = std::min(wanted, (rows + SPARSE_ROWS - 1) / SPARSE_ROWS);
  const Scratch room(scratch, threads.count(), {(size_t)depth * row, (size_t)SPARSE_ROWS * row});
  const bool point = is_point(g, x, y);
  std::vector<Cuts> cuts_of(threads.count());
  threads.run(g.groups * panels * cuts, [&](int item, int worker) {
    const int cut = item % cuts, group = item / cuts / panels, first = item / cuts % panels * row;
    const int last = std::min(columns, first + row), vectors = (last - first + k.vector - 1) / k.vector;
    float *panel = room(worker, 0), *sums = room(worker, 1);
    Cuts &own = cuts_of[worker];
    cut_stretches(first, last, plane, own.stretches);
    const Stretch &only = own.stretches[0];
    const bool there = point && only.count == row;
    if (!there) {
      cut_pieces(first, last, plane, point ? plane : y.width, row, 0, own.pieces);
      const int rest = (last - first) % k.vector;
      for (int i = 0; rest && i < depth; i++)
        std::memset(panel + (size_t)i * row + (last - first), 0, (k.vector - rest) * sizeof(float));
      k.gather({&x, group * g.group_in(), point ? 1 : x.height, point ? plane : x.width, g.taps_h(), g.taps_w(),
                g.dilation_h, g.dilation_w, g.stride_h, g.stride_w, g.pad_h, g.pad_w, 0, depth, own.pieces.data(),
                (int)own.pieces.size(), panel, row});
    }
    const float *in = there ? x.at(only.sample, group * g.group_in()) + only.position : panel;
    const int row0 = group * rows + (int)((long)rows * cut / cuts), row1 = group * rows + (int)((long)rows * (cut + 1) / cuts);
    for (int r = row0; r < row1; r += SPARSE_ROWS) {
      const int end = std::min(row1, r + SPARSE_ROWS);
      k.sparse_product({in, there ? (ptrdiff_t)plane : row, w.living.pattern, w.values, w.starts.data(), depth, r, end, sums,
                        row}, vectors);
      for (int channel = r; channel < end; channel++) {
        const FinishRow f = finish.row(channel);
        for (const Stretch &t : own.stretches) {
          const float *add = finish.add(t.sample, channel);
          k.finish_row(f, sums + (size_t)(channel - r) * row + t.column, add ? add + t.position : nullptr,
                       y.at(t.sample, channel) + t.position, t.count);
        }
      }
    }
  });
}

// The plane with zeros around it, each row cut into its columns modulo the stride.
void depthwise(Threads &threads, const Kernels &k, const Geometry &g, const float *weights, const Map &x, const Map &y,
               const Finish &finish, const Samples &s, std::vector<float> &scratch) {
  const int sh = g.stride_h, sw = g.stride_w, taps_w = g.taps_w(), taps = g.taps_h() * taps_w;
  const int rows = (y.height - 1) * sh + g.kernel_h;
  // Columns of one phase: what two vectors of outputs at a time read.
  const int part = (y.width + 2 * k.vector - 1) / (2 * k.vector) * 2 * k.vector + (g.kernel_w - 1) / sw;
  const size_t row = (size_t)part * sw;
  const Scratch room(scratch, threads.count(), {row * rows});
  std::vector<ptrdiff_t> offsets(taps);
  for (int t = 0; t < taps; t++) {
    const int kx = t % taps_w * g.dilation_w;
    offsets[t] = (ptrdiff_t)(t / taps_w * g.dilation_h) * row + (ptrdiff_t)(kx % sw) * part + kx / sw;
  }
  for (int worker = 0; worker < threads.count(); worker++) // what is around the planes stays zero
    std::memset(room(worker, 0), 0, row * rows * sizeof(float));
  const int below = std::min(x.height, rows - g.pad_h), right = std::min(x.width, part * sw - g.pad_w);
  each_plane(threads, s.blocks, y.channels, [&](int sample, int channel, int worker) {
    float *padded = room(worker, 0);
    k.pad_plane({x.at(sample, channel), x.width, padded, (ptrdiff_t)row, part, sw, g.pad_h, g.pad_w, below, right});
    const DepthRows d{padded, (ptrdiff_t)(row * sh), offsets.data(), weights + (size_t)channel * taps, taps,
                      y.at(sample, channel), finish.add(sample, channel), y.height, y.width,
                      g.taps_h() == 3 && taps_w == 3};
    k.depth_rows(d, finish.row(channel));
  });
}

} // namespace

void Weight::build_direct() {
  const Geometry &g = geometry;
  forward = Lists();
  filled.assign(living.pattern && g.depthwise() ? g.size() : 0, 0.f);
  starts.clear();
  starts.reserve(living.pattern && !g.depthwise() ? g.out + 1 : 0);
  const int64_t depth = g.size() / g.out;
  for (int64_t i = 0, r = 0; living.pattern && !g.depthwise() && r <= g.out; r++) {
    while (i < living.count && living.pattern[i] < r * depth) i++;
    starts.push_back((int)i);
  }
  refresh();
}

void direct_forward(Threads &threads, const Weight &w, const Map &x, const Map &y, const Samples &s,
                    std::vector<float> &scratch, const Affine *finish) {
  const Kernels &k = widest_kernels();
  const Geometry &g = w.geometry;
  const Finish f(w.bias, finish);
  if (g.depthwise())
    depthwise(threads, k, g, w.dense(), x, y, f, s, scratch);
  else if (!w.starts.empty())
    sparse_products(threads, k, w, x, y, f, s, scratch);
  else if (x.height * x.width == 1 && y.height * y.width == 1 && g.groups == 1 && g.kernel_h * g.kernel_w == 1 &&
           s.blocks < k.vector)
    vectors(threads, k, g, w.values, x, y, f, s);
  else
    products(threads, k, g, w.values, x, y, f, s, scratch);
}

} // namespace edgecl
