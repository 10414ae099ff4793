// Python bindings of the index: arrays in, arrays out, the GIL released around everything that reads or checks.
#include "bindings.h"
#include "index.h"
#include <fcntl.h>

using namespace edgecl;
using Bytes = nb::ndarray<const uint8_t, nb::c_contig, nb::device::cpu>;

static nb::tuple appended(Appended &&a) { return nb::make_tuple(a.end, a.error, array(std::move(a.offset))); }

// A mover thread or the caller's own waits for the GIL here; nobody who holds it waits for them meanwhile.
// payload: bytes of the result; 0: as many as came in, less `seal`.
static Index::Decoder decoder_of(nb::callable f, size_t payload, size_t seal) {
    struct Holder { // the last reference must go with the GIL held
        nb::callable f;
        ~Holder() {
            nb::gil_scoped_acquire lock;
            f.reset();
        }
    };
    auto held = std::make_shared<Holder>(Holder{std::move(f)});
    return [held, payload, seal](uint8_t codec, const uint8_t *from, size_t n, uint8_t *to) {
        if (!nb::is_alive()) return false;
        nb::gil_scoped_acquire lock;
        try {
            nb::object in = nb::steal(PyMemoryView_FromMemory(
                const_cast<char *>(reinterpret_cast<const char *>(from)), static_cast<Py_ssize_t>(n), PyBUF_READ));
            nb::object out = nb::steal(PyMemoryView_FromMemory(reinterpret_cast<char *>(to),
                                                               static_cast<Py_ssize_t>(payload ? payload : n - seal), PyBUF_WRITE));
            return nb::cast<bool>(held->f(codec, in, out));
        } catch (const std::exception &) { // the decoder answers False for bad bytes: this is a bug or a shutdown
            return false;
        }
    };
}

void bind_index(nb::module_ &m) {
    m.attr("RECORD_HEAD") = sizeof(RecordHead);
    m.attr("FIELD_HEAD") = sizeof(FieldHead);
    m.attr("THRESHOLD") = kThreshold;
    m.def("field_stride", [](size_t n) { return field_stride(n); });
    // Reserves space behind the end of a file without changing its size; false where the file system cannot.
    m.def("reserve", [](int fd, uint64_t bytes) {
        gil_scoped_release unlock;
        return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0;
    });
    m.def("append_fixed", [](int fd, uint64_t at, In2<uint8_t> rows, uint8_t codec, In<uint32_t> rel, In<int32_t> cls,
                             In<int32_t> subject, In<int64_t> time, uint32_t seed) {
        size_t n = rows.shape(0);
        same(rel.shape(0), n), same(cls.shape(0), n), same(subject.shape(0), n), same(time.shape(0), n);
        Appended a;
        {
            gil_scoped_release unlock;
            a = append_records(fd, at, {n, rows.data(), nullptr, nullptr, rows.shape(1), codec, rel.data(), cls.data(),
                                        subject.data(), time.data()}, seed);
        }
        return appended(std::move(a));
    });
    m.def("append_variable", [](int fd, uint64_t at, nb::bytes data, In<uint32_t> lengths, In<uint8_t> codecs,
                                In<uint32_t> rel, In<int32_t> cls, In<int32_t> subject, In<int64_t> time, uint32_t seed) {
        size_t n = lengths.shape(0), total = 0;
        same(codecs.shape(0), n), same(rel.shape(0), n), same(cls.shape(0), n);
        same(subject.shape(0), n), same(time.shape(0), n);
        for (size_t i = 0; i < n; ++i) total += lengths.data()[i];
        same(total, data.size());
        Appended a;
        const auto *from = static_cast<const uint8_t *>(data.data());
        {
            gil_scoped_release unlock;
            a = append_records(fd, at, {n, from, lengths.data(), codecs.data(), 0, 0, rel.data(), cls.data(),
                                        subject.data(), time.data()}, seed);
        }
        return appended(std::move(a));
    });
    m.def("pack_fields", [](Out<uint8_t> out, In2<uint8_t> values, uint8_t field, uint8_t version, In<int64_t> ids,
                            uint32_t seed) {
        size_t n = values.shape(0), len = values.shape(1);
        same(ids.shape(0), n), same(out.shape(0), n * field_stride(len));
        gil_scoped_release unlock;
        pack_fields(out.data(), values.data(), n, len, field, version, ids.data(), seed);
    });
    m.def("scan_samples", [](int fd, uint64_t offset, uint64_t end, size_t payload, bool variable, uint32_t seed) {
        SampleScan s;
        {
            gil_scoped_release unlock;
            s = (variable ? scan_variable : scan_samples)(fd, offset, end, payload, seed);
        }
        return nb::make_tuple(array(std::move(s.ok)), array(std::move(s.rel)), array(std::move(s.cls)),
                              array(std::move(s.subject)), array(std::move(s.offset)), s.end, s.unread);
    });
    m.def("scan_fields", [](int fd, uint64_t offset, uint64_t end, uint32_t seed) {
        FieldScan s;
        {
            gil_scoped_release unlock;
            s = scan_fields(fd, offset, end, seed);
        }
        return nb::make_tuple(array(std::move(s.offset)), array(std::move(s.field)), array(std::move(s.len)),
                              array(std::move(s.id)), s.sound_end, s.damaged_bytes, s.unread);
    });

    nb::class_<Index>(m, "Index")
        .def("__init__",
             [](Index *at, std::string dir, size_t payload, size_t stored, uint8_t codec, size_t scales, size_t n_fields,
                uint64_t field_file_bytes, int64_t capacity, int policy, uint64_t seed, size_t seal) {
                 new (at) Index(std::move(dir), {payload, stored, codec, scales, seal}, n_fields, field_file_bytes, capacity,
                                static_cast<Eviction>(policy), seed);
             },
             nb::arg("dir"), nb::arg("payload"), nb::arg("stored"), nb::arg("codec"), nb::arg("scales"),
             nb::arg("n_fields"), nb::arg("field_file_bytes"), nb::arg("capacity"), nb::arg("policy"), nb::arg("seed"),
             nb::arg("seal") = 0)
        .def("set_decoder", [](Index &x, nb::callable f) { x.decoder = decoder_of(std::move(f), x.payload(), 0); })
        .def("set_field_decoder", [](Index &x, nb::callable f) { x.field_decoder = decoder_of(std::move(f), 0, x.seal()); })
        .def("retained", [](Index &x, int64_t id) { return x.with_catalog([id](Catalog &c) { return c.retained(id); }); })
        .def("forget", [](Index &x, int32_t s, int64_t below) { return array(x.forget(s, below)); })
        .def("add_segment",
             [](Index &x, uint32_t no, uint64_t first, uint32_t seed, In<uint32_t> rel, bool sparse,
                const std::vector<uint32_t> &replaces) {
                 Segment s;
                 s.no = no, s.first_id = first, s.seed = seed, s.sparse = sparse;
                 for (size_t i = 0; i < rel.shape(0); ++i) s.rel.push_back(rel.data()[i]);
                 x.add_segment(std::move(s), replaces);
             })
        .def("add_records",
             [](Index &x, uint32_t no, In<uint8_t> ok, In<uint32_t> rel, In<int32_t> cls, In<int32_t> subject,
                In<uint32_t> offset) {
                 size_t n = ok.shape(0), m = offset.shape(0);
                 same(rel.shape(0), n), same(cls.shape(0), n), same(subject.shape(0), n);
                 if (m) same(m, n);
                 gil_scoped_release unlock;
                 x.add_records(no, n, ok.data(), rel.data(), cls.data(), subject.data(), m ? offset.data() : nullptr);
             })
        .def("seal_segment", &Index::seal_segment)
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
                 auto [no, offset] = x.where(id);
                 return nb::make_tuple(no, offset);
             })
        .def("advance",
             [](Index &x, In<int32_t> cls) {
                 gil_scoped_release unlock;
                 x.advance(cls.data(), cls.shape(0));
             })
        .def("advance_at",
             [](Index &x, In<int64_t> ids, In<int32_t> cls) {
                 same(ids.shape(0), cls.shape(0));
                 x.with_catalog([&](Catalog &c) { c.advance_at(ids.data(), cls.data(), cls.shape(0)); });
             })
        .def("skip_to", [](Index &x, int64_t id) { x.with_catalog([id](Catalog &c) { c.skip_to(id); }); })
        .def("set_view",
             [](Index &x, int64_t next_id, In<int32_t> cls, In<int64_t> first) {
                 same(cls.shape(0), first.shape(0));
                 x.with_catalog([&](Catalog &c) { c.set_view(next_id, cls.data(), first.data(), cls.shape(0)); });
             })
        .def("get_view",
             [](Index &x) {
                 std::vector<int32_t> cls;
                 std::vector<int64_t> first;
                 x.with_catalog([&](Catalog &c) { c.get_view(cls, first); });
                 return nb::make_tuple(array(std::move(cls)), array(std::move(first)));
             })
        .def("release",
             [](Index &x, In<int32_t> cls, In<int64_t> before) {
                 same(cls.shape(0), before.shape(0));
                 x.with_catalog([&](Catalog &c) { c.release(cls.data(), before.data(), cls.shape(0)); });
             })
        .def("release_all", [](Index &x) { x.with_catalog([](Catalog &c) { c.release_all(); }); })
        .def("remove_id", &Index::remove_id, nb::arg("id"), nb::arg("cls") = -2, nb::arg("unread") = false)
        .def("remove_ids",
             [](Index &x, In<int64_t> ids) {
                 for (size_t i = 0; i < ids.shape(0); ++i) x.remove_id(ids.data()[i], -2, false);
             })
        .def("relabel",
             [](Index &x, In<int64_t> ids, In<int32_t> cls) {
                 same(ids.shape(0), cls.shape(0));
                 return array(x.relabel(ids.data(), cls.data(), ids.shape(0)));
             })
        .def("mark_relabelled",
             [](Index &x, In<int64_t> ids, In<int32_t> cls) {
                 same(ids.shape(0), cls.shape(0));
                 x.mark_relabelled(ids.data(), cls.data(), ids.shape(0));
             })
        .def("evicted_by_key", [](Index &x, int64_t id, uint64_t threshold) {
            return x.with_catalog([=](Catalog &c) { return c.evicted_by_key(id, threshold); });
        })
        .def("live", &Index::live)
        .def("are_live", [](Index &x, In<int64_t> ids) { return array(x.are_live(ids.data(), ids.shape(0))); })
        .def_prop_ro("physical_next", &Index::physical_next)
        .def_prop_ro("next_id", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.next_id; }); })
        .def_prop_ro("count", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.count; }); })
        .def_prop_ro("evicted", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.evicted; }); })
        .def_prop_rw("pinned", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.pinned; }); },
                     [](Index &x, bool v) { x.with_catalog([v](Catalog &c) { c.pinned = v; }); })
        .def("set_capacity", [](Index &x, int64_t n) { x.with_catalog([n](Catalog &c) { c.set_capacity(n); }); })
        .def("classes", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.classes(); }); })
        .def("count_of", [](Index &x, int32_t k) { return x.with_catalog([k](Catalog &c) { return c.count_of(k); }); })
        .def("kth", [](Index &x, int32_t k, int64_t i) { return x.with_catalog([=](Catalog &c) { return c.kth(k, i); }); })
        .def("kth_of_all", [](Index &x, int64_t i) { return x.with_catalog([i](Catalog &c) { return c.kth_of_all(i); }); })
        .def("rank", [](Index &x, int64_t id) { return x.with_catalog([id](Catalog &c) { return c.rank(id); }); })
        .def("ids_of_class",
             [](Index &x, int32_t k) { return array(x.with_catalog([k](Catalog &c) { return c.ids_of_class(k); })); })
        .def("subjects", [](Index &x) { return x.with_catalog([](Catalog &c) { return c.subjects(); }); })
        .def("ids_of_subject",
             [](Index &x, int32_t s) { return array(x.with_catalog([s](Catalog &c) { return c.ids_of_subject(s); })); })
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
        .def("copy_records",
             [](Index &x, In<int64_t> ids, int fd, uint64_t at, uint64_t first, uint32_t seed) {
                 Index::Copied c;
                 {
                     gil_scoped_release unlock;
                     c = x.copy_records(ids.data(), ids.shape(0), fd, at, first, seed);
                 }
                 return nb::make_tuple(array(std::move(c.status)), array(std::move(c.cls)), array(std::move(c.subject)),
                                       appended(std::move(c.written)));
             })
        .def("close_files", &Index::close_files)
        .def_prop_ro("bytes", &Index::bytes)
        .def_prop_ro("bytes_read", [](Index &x) { return x.bytes_read.load(); })
        .def_prop_ro("damaged_fields", [](Index &x) { return x.damaged_fields.load(); });
}
