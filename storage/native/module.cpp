// Python bindings: arrays in, arrays out, the GIL released around everything that reads or checks.
#include "bindings.h"
#include "choose.h"
#include "crc32c.h"
#include "mover.h"
#include <cstring>

using namespace edgecl;
static BitGenerator &generator(const nb::capsule &c) { // `bit_generator.capsule`
    auto *g = static_cast<BitGenerator *>(PyCapsule_GetPointer(c.ptr(), "BitGenerator"));
    if (!g) throw nb::python_error();
    return *g;
}

static Slots slots_of(const Out2<uint8_t> &samples, const Out<int32_t> &classes, const Out<int64_t> &ids,
                      const Out<int32_t> &subjects, const Out<int64_t> &versions, const In<int64_t> &edits,
                      const std::vector<std::tuple<Out2<uint8_t>, size_t, Out<int32_t>>> &fields, size_t payload) {
    size_t n = samples.shape(0);
    if (samples.shape(1) != payload) throw nb::value_error("slots hold samples of another size");
    for (size_t m : {classes.shape(0), ids.shape(0), subjects.shape(0), versions.shape(0)}) same(m, n);
    static uint64_t made = 0;
    Slots s{n, samples.data(), classes.data(), subjects.data(), ids.data(), versions.data(), edits.data(), {}, ++made};
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
    bind_index(m);
    nb::class_<SlotSet>(m, "SlotSet")
        .def(nb::init<size_t>())
        .def("update", // the classes of slots as they are now; -1: empty
             [](SlotSet &x, In<int64_t> slots, In<int32_t> classes) {
                 same(slots.shape(0), classes.shape(0));
                 for (size_t i = 0; i < slots.shape(0); ++i) {
                     auto s = static_cast<size_t>(slots.data()[i]);
                     if (s >= x.size()) throw nb::index_error("no such slot");
                     x.set(s, classes.data()[i] >= 0);
                 }
             })
        .def_prop_ro("count", &SlotSet::count)
        .def("first_free", // -1 when every slot is occupied
             [](const SlotSet &x) { return x.count() < x.size() ? static_cast<int64_t>(x.kth_free(0)) : int64_t{-1}; })
        .def("draw", [](const SlotSet &x, size_t k, const nb::capsule &random) {
            return array(draw_occupied(x, k, generator(random)));
        });
    m.def("choose_balanced", [](In2<float> logits, In<int64_t> y, double ratio, const nb::capsule &random) {
        same(logits.shape(0), y.shape(0));
        return array(choose_balanced(logits.data(), y.data(), y.shape(0), logits.shape(1), ratio, generator(random)));
    });

    using Fields = std::vector<std::tuple<Out2<uint8_t>, size_t, Out<int32_t>>>;
    nb::class_<Slots>(m, "Slots") // keeps raw pointers: whoever makes it keeps the arrays alive
        .def("__init__",
             [](Slots *at, Out2<uint8_t> samples, Out<int32_t> classes, Out<int64_t> ids, Out<int32_t> subjects,
                Out<int64_t> versions, In<int64_t> edits, const Fields &fields, size_t payload) {
                 if (!edits.shape(0)) throw nb::value_error("no count of edits");
                 new (at) Slots(slots_of(samples, classes, ids, subjects, versions, edits, fields, payload));
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
        .def("wipe", &Mover::wipe, nb::call_guard<gil_scoped_release>())
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
