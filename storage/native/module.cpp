// Python bindings: arrays in, arrays out, the GIL released around everything that reads or checks.
#include "choose.h"
#include "crc32c.h"
#include "index.h"
#include "mover.h"
#include <cstring>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace edgecl;
using nb::gil_scoped_release;

template <class T> using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using In2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Out2 = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Array = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T> Array<T> array(std::vector<T> &&v) {
    auto *own = new std::vector<T>(std::move(v));
    nb::capsule keep(own, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return Array<T>(own->data(), {own->size()}, keep);
}

static void same(size_t a, size_t b) {
    if (a != b) throw nb::value_error("arrays differ in length");
}

static BitGenerator &generator(const nb::capsule &c) { // `bit_generator.capsule`
    auto *g = static_cast<BitGenerator *>(PyCapsule_GetPointer(c.ptr(), "BitGenerator"));
    if (!g) throw nb::python_error();
    return *g;
}

template <class T> static std::vector<T> copy(const In<T> &a) { return {a.data(), a.data() + a.shape(0)}; }

static Slots slots_of(const Out2<uint8_t> &samples, const Out<int32_t> &classes, const Out<int64_t> &ids,
                      const Out<int32_t> &subjects, const Out<int64_t> &versions,
                      const std::vector<std::tuple<Out2<uint8_t>, size_t, Out<int32_t>>> &fields, size_t payload) {
    size_t n = samples.shape(0);
    if (samples.shape(1) != payload) throw nb::value_error("slots hold samples of another size");
    for (size_t m : {classes.shape(0), ids.shape(0), subjects.shape(0), versions.shape(0)}) same(m, n);
    static uint64_t made = 0;
    Slots s{n, samples.data(), classes.data(), subjects.data(), ids.data(), versions.data(), {}, ++made};
    for (auto &[values, item, widths] : fields) {
        same(values.shape(0), n), same(widths.shape(0), n);
        s.fields.push_back({values.data(), values.shape(1), item, widths.data()});
    }
    return s;
}

NB_MODULE(_storage, m) {
    nb::set_leak_warnings(false); // a store left open when the interpreter ends is no leak of ours
    m.def("crc32c", [](nb::bytes b, uint32_t seed) { return crc32c(b.c_str(), b.size(), seed); }, nb::arg("data"),
          nb::arg("seed") = 0);
    m.def("crc32c_table", [](nb::bytes b, uint32_t seed) { return crc32c_table(b.c_str(), b.size(), seed); },
          nb::arg("data"), nb::arg("seed") = 0);
    m.def("crc32c_name", &crc32c_name);
    m.attr("RECORD_HEAD") = sizeof(RecordHead);
    m.attr("FIELD_HEAD") = sizeof(FieldHead);
    m.def("field_stride", [](size_t n) { return field_stride(n); });

    m.def("draw_occupied", [](In<int32_t> classes, size_t k, const nb::capsule &random) {
        return array(draw_occupied(classes.data(), classes.shape(0), k, generator(random)));
    });
    m.def("choose_balanced", [](In2<float> logits, In<int64_t> y, double ratio, const nb::capsule &random) {
        same(logits.shape(0), y.shape(0));
        return array(choose_balanced(logits.data(), y.data(), y.shape(0), logits.shape(1), ratio, generator(random)));
    });

    m.def("pack_samples", [](Out<uint8_t> out, In2<uint8_t> samples, In<uint32_t> rel, In<int32_t> cls,
                             In<int32_t> subject, In<int64_t> time, uint32_t seed) {
        size_t n = samples.shape(0), payload = samples.shape(1);
        same(rel.shape(0), n), same(cls.shape(0), n), same(subject.shape(0), n), same(time.shape(0), n);
        same(out.shape(0), n * (sizeof(RecordHead) + payload));
        gil_scoped_release unlock;
        pack_samples(out.data(), samples.data(), n, payload, rel.data(), cls.data(), subject.data(), time.data(), seed);
    });
    m.def("pack_fields", [](Out<uint8_t> out, In2<uint8_t> values, uint8_t field, uint8_t version, In<int64_t> ids,
                            uint32_t seed) {
        size_t n = values.shape(0), len = values.shape(1);
        same(ids.shape(0), n), same(out.shape(0), n * field_stride(len));
        gil_scoped_release unlock;
        pack_fields(out.data(), values.data(), n, len, field, version, ids.data(), seed);
    });
    m.def("scan_samples", [](int fd, uint64_t offset, uint64_t end, size_t payload, uint32_t seed) {
        SampleScan s;
        {
            gil_scoped_release unlock;
            s = scan_samples(fd, offset, end, payload, seed);
        }
        return nb::make_tuple(array(std::move(s.ok)), array(std::move(s.rel)), array(std::move(s.cls)),
                              array(std::move(s.subject)));
    });
    m.def("scan_fields", [](int fd, uint64_t offset, uint64_t end, uint32_t seed) {
        FieldScan s;
        {
            gil_scoped_release unlock;
            s = scan_fields(fd, offset, end, seed);
        }
        return nb::make_tuple(array(std::move(s.offset)), array(std::move(s.field)), array(std::move(s.len)),
                              array(std::move(s.id)), s.sound_end, s.damaged_bytes);
    });

    nb::class_<Index>(m, "Index")
        .def(nb::init<std::string, size_t, size_t, uint64_t, int64_t>(), nb::arg("dir"), nb::arg("payload"),
             nb::arg("n_fields"), nb::arg("field_file_bytes"), nb::arg("capacity"))
        .def("add_segment",
             [](Index &x, uint32_t no, uint64_t first, uint32_t seed, In<uint32_t> rel, bool sparse,
                const std::vector<uint32_t> &replaces) { x.add_segment(no, first, seed, copy(rel), sparse, replaces); })
        .def("add_records",
             [](Index &x, uint32_t no, In<uint8_t> ok, In<uint32_t> rel, In<int32_t> cls, In<int32_t> subject) {
                 size_t n = ok.shape(0);
                 same(rel.shape(0), n), same(cls.shape(0), n), same(subject.shape(0), n);
                 x.add_records(no, n, ok.data(), rel.data(), cls.data(), subject.data());
             })
        .def("remove_segments", &Index::remove_segments)
        .def("segments",
             [](Index &x) {
                 nb::list out;
                 for (auto &s : x.segments()) out.append(nb::make_tuple(s.no, s.first_id, s.count, s.retained));
                 return out;
             })
        .def("retained_ids", [](Index &x, uint32_t no) { return array(x.retained_ids(no)); })
        .def("ids_of_segment", [](Index &x, uint32_t no) { return array(x.ids_of_segment(no)); })
        .def("where",
             [](Index &x, int64_t id) {
                 auto [no, pos] = x.where(id);
                 return nb::make_tuple(no, pos);
             })
        .def("advance", [](Index &x, In<int32_t> cls) { x.advance(cls.data(), cls.shape(0)); })
        .def("set_view",
             [](Index &x, int64_t next_id, In<int32_t> cls, In<int64_t> first) {
                 same(cls.shape(0), first.shape(0));
                 x.set_view(next_id, cls.data(), first.data(), cls.shape(0));
             })
        .def("get_view",
             [](Index &x) {
                 std::vector<int32_t> c;
                 std::vector<int64_t> f;
                 x.get_view(c, f);
                 return nb::make_tuple(array(std::move(c)), array(std::move(f)));
             })
        .def("release",
             [](Index &x, In<int32_t> cls, In<int64_t> before) {
                 same(cls.shape(0), before.shape(0));
                 x.release(cls.data(), before.data(), cls.shape(0));
             })
        .def("release_all", &Index::release_all)
        .def("remove_id", &Index::remove_id, nb::arg("id"), nb::arg("cls") = -2)
        .def("live", &Index::live)
        .def_prop_ro("next_id", &Index::next_id)
        .def_prop_ro("physical_next", &Index::physical_next)
        .def_prop_ro("count", &Index::count)
        .def("classes", &Index::classes)
        .def("count_of", &Index::count_of)
        .def("kth", &Index::kth)
        .def("ids_of_class", [](Index &x, int32_t c) { return array(x.ids_of_class(c)); })
        .def("subjects", &Index::subjects)
        .def("ids_of_subject", [](Index &x, int32_t s) { return array(x.ids_of_subject(s)); })
        .def("add_field_file", &Index::add_field_file)
        .def("set_fields",
             [](Index &x, In<uint8_t> field, In<int64_t> ids, In<uint32_t> no, In<uint32_t> offset) {
                 size_t n = field.shape(0);
                 same(ids.shape(0), n), same(no.shape(0), n), same(offset.shape(0), n);
                 x.set_fields(field.data(), ids.data(), no.data(), offset.data(), n);
             })
        .def("clear_fields", &Index::clear_fields)
        .def("field_place", &Index::field_place)
        .def("drop_field_file", &Index::drop_field_file)
        .def("current_fields",
             [](Index &x, uint32_t no, In<uint8_t> field, In<int64_t> ids, In<uint32_t> offset) {
                 size_t n = field.shape(0);
                 same(ids.shape(0), n), same(offset.shape(0), n);
                 return array(x.current_fields(no, field.data(), ids.data(), offset.data(), n));
             })
        .def("read",
             [](Index &x, In<int64_t> ids, Out2<uint8_t> to, Out<int32_t> cls, Out<int32_t> subject, Out<int64_t> time,
                Out<uint8_t> status, bool hidden) {
                 size_t n = ids.shape(0);
                 same(to.shape(0), n), same(to.shape(1), x.payload()), same(cls.shape(0), n);
                 same(subject.shape(0), n), same(time.shape(0), n), same(status.shape(0), n);
                 gil_scoped_release unlock;
                 x.read_many(ids.data(), n, hidden, to.data(), cls.data(), subject.data(), time.data(), status.data());
             })
        .def("read_field",
             [](Index &x, size_t field, In<int64_t> ids, Out2<uint8_t> to, Out<uint32_t> bytes) {
                 same(to.shape(0), ids.shape(0)), same(bytes.shape(0), ids.shape(0));
                 if (field >= x.n_fields()) throw nb::index_error("no such field");
                 gil_scoped_release unlock;
                 x.read_fields(field, ids.data(), ids.shape(0), to.data(), to.shape(1), bytes.data());
             })
        .def("close_files", &Index::close_files)
        .def_prop_ro("bytes", &Index::bytes)
        .def_prop_ro("bytes_read", [](Index &x) { return x.bytes_read.load(); })
        .def_prop_ro("damaged_fields", [](Index &x) { return x.damaged_fields.load(); })
        .def_ro("evicted", &Index::evicted)
        .def_rw("pinned", &Index::pinned);

    using Fields = std::vector<std::tuple<Out2<uint8_t>, size_t, Out<int32_t>>>;
    nb::class_<Slots>(m, "Slots") // keeps raw pointers: whoever makes it keeps the arrays alive
        .def("__init__",
             [](Slots *at, Out2<uint8_t> samples, Out<int32_t> classes, Out<int64_t> ids, Out<int32_t> subjects,
                Out<int64_t> versions, const Fields &fields, size_t payload) {
                 new (at) Slots(slots_of(samples, classes, ids, subjects, versions, fields, payload));
             });

    nb::class_<Mover>(m, "Mover")
        .def(nb::init<Index *, std::vector<size_t>, size_t, int, int, bool>(), nb::arg("index"), nb::arg("field_bytes"),
             nb::arg("queue"), nb::arg("threads"), nb::arg("nice"), nb::arg("spare"), nb::keep_alive<1, 2>())
        .def("request", // (accepted, not accepted because the queue is full); draws tries x n numbers
             [](Mover &x, int64_t due, In<int64_t> slots, size_t tries, const nb::capsule &random,
                const Slots &memory) {
                 size_t n = slots.shape(0);
                 static std::vector<uint64_t> candidates; // guarded by the GIL
                 candidates.resize(tries * n);
                 BitGenerator &source = generator(random);
                 for (uint64_t &c : candidates) c = source.next();
                 Mover::Asked a = x.request(due, slots.data(), n, candidates.data(), tries, memory);
                 return nb::make_tuple(a.accepted, a.full);
             })
        .def("request_ids",
             [](Mover &x, int64_t due, In<int64_t> ids, In<int32_t> cls) {
                 same(ids.shape(0), cls.shape(0));
                 std::vector<uint8_t> accepted;
                 {
                     gil_scoped_release unlock;
                     accepted = x.request_ids(due, ids.data(), cls.data(), ids.shape(0));
                 }
                 return array(std::move(accepted));
             })
        .def("begin", // (done, None or what was dropped as (slot, id, reason))
             [](Mover &x, int64_t step, bool exact, const Slots &memory) {
                 std::vector<Mover::Lost> lost;
                 int64_t before = x.counters.done;
                 {
                     gil_scoped_release unlock;
                     lost = x.begin(step, exact, memory);
                 }
                 nb::object rest = nb::none();
                 if (!lost.empty()) {
                     nb::list out;
                     for (auto &l : lost) out.append(nb::make_tuple(l.slot, l.id, static_cast<int>(l.outcome)));
                     rest = out;
                 }
                 return nb::make_tuple(x.counters.done - before, rest);
             })
        .def("drop_pending", &Mover::drop_pending)
        .def("trim", &Mover::trim)
        .def("stop", &Mover::stop, nb::call_guard<gil_scoped_release>())
        .def("save",
             [](Mover &x) {
                 Mover::Saved s;
                 {
                     gil_scoped_release unlock;
                     s = x.save();
                 }
                 nb::dict d;
                 d["due"] = array(std::move(s.due)), d["slot"] = array(std::move(s.slot));
                 d["id"] = array(std::move(s.id)), d["version"] = array(std::move(s.version));
                 d["time"] = array(std::move(s.time)), d["cls"] = array(std::move(s.cls));
                 d["subject"] = array(std::move(s.subject)), d["ready"] = array(std::move(s.ready));
                 d["bytes"] = array(std::move(s.bytes)), d["field_bytes"] = array(std::move(s.field_bytes));
                 return d;
             })
        .def("load",
             [](Mover &x, In<int64_t> due, In<int64_t> slot, In<int64_t> id, In<int64_t> version, In<int64_t> time,
                In<int32_t> cls, In<int32_t> subject, In<uint8_t> ready, In<uint8_t> bytes, In<uint32_t> field_bytes,
                size_t n_fields) {
                 size_t n = due.shape(0);
                 for (size_t k : {slot.shape(0), id.shape(0), version.shape(0), time.shape(0), cls.shape(0),
                                  subject.shape(0), ready.shape(0)})
                     same(k, n);
                 same(bytes.shape(0), n * x.stage_bytes()), same(field_bytes.shape(0), n * n_fields);
                 x.load({copy(due), copy(slot), copy(id), copy(version), copy(time), copy(cls), copy(subject),
                         copy(ready), copy(bytes), copy(field_bytes)});
             })
        .def_prop_rw(
            "counters",
            [](Mover &x) {
                auto &c = x.counters;
                return nb::make_tuple(c.requested, c.done, c.dropped, c.skipped, c.stall_seconds, c.bytes_read);
            },
            [](Mover &x, std::tuple<int64_t, int64_t, int64_t, int64_t, double, int64_t> v) {
                auto &c = x.counters;
                std::tie(c.requested, c.done, c.dropped, c.skipped, c.stall_seconds, c.bytes_read) = v;
            })
        .def_prop_ro("stage_bytes", &Mover::stage_bytes)
        .def_prop_ro("staging_bytes", &Mover::staging_bytes)
        .def_prop_ro("pending", &Mover::pending);
}
