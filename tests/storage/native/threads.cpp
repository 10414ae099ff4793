// Everything of the compiled parts that runs on several threads, without Python, for ThreadSanitizer (make tsan).
//
//   threads FOLDER SECONDS
//
// One store: a writer appends records and field values, seals, compacts, relabels and removes; readers read and ask; two
// training threads, each with a mover and a memory of its own, request exchanges and take them, save, load and drop
// them, and read ahead. Beside it pools of threads share work, several at once. Every byte that arrives is compared.
// Ends with 1 and a line where something is wrong.
#include "../../../kernels/threads.h"
#include "../../../storage/native/append.h"
#include "../../../storage/native/index.h"
#include "../../../storage/native/mover.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <string>
#include <unistd.h>

using namespace edgecl;

namespace {
constexpr size_t kPayload = 256, kFieldBytes = 32, kBatch = 16, kPerSegment = 256;
constexpr int kClasses = 8, kSubjects = 5;
constexpr uint32_t kSeed = 7;
constexpr int64_t kCapacity = 4000;
std::atomic<bool> done{false};
std::atomic<uint64_t> swaps{0}, reads{0}, appended{0}, tasks{0};

[[noreturn]] void wrong(const char *what, int64_t id) {
    std::fprintf(stderr, "wrong: %s, id %lld\n", what, static_cast<long long>(id));
    std::_Exit(1);
}
uint8_t byte_of(int64_t id, size_t i) { return static_cast<uint8_t>(static_cast<size_t>(id) * 31 + i * 7); }
void check(const uint8_t *x, size_t n, int64_t id, const char *what) {
    for (size_t i = 0; i < n; ++i)
        if (x[i] != byte_of(id, i)) wrong(what, id);
}

struct Store {
    std::string folder;
    Index index;
    uint32_t no = 0, fields_no = 0;
    int fd = -1, fields_fd = -1;
    uint64_t end = 0, fields_end = 0;
    int64_t next = 0;
    uint32_t in_segment = 0;
    std::mt19937_64 random{1};

    explicit Store(const std::string &at)
        : folder(at), index(at, {kPayload, kPayload, 0, 0}, 1, 1 << 20, kCapacity, Eviction::kBalanced, 3) {
        begin_segment();
        begin_fields();
    }
    ~Store() { close(fd), close(fields_fd); }
    int create(const char *suffix, uint32_t n) {
        char name[32];
        std::snprintf(name, sizeof name, "/%08x.%s", n, suffix);
        int f = open((folder + name).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (f < 0 || ftruncate(f, 64)) wrong("a file cannot be made", n);
        return f;
    }
    void begin_segment() {
        if (fd >= 0) index.seal_segment(no, end, 0), close(fd);
        fd = create("seg", ++no), end = 64, in_segment = 0;
        Segment s;
        s.no = no, s.first_id = static_cast<uint64_t>(next), s.seed = kSeed, s.sparse = false;
        index.add_segment(std::move(s), {});
    }
    void begin_fields() {
        if (fields_fd >= 0) close(fields_fd);
        fields_fd = create("fld", ++fields_no), fields_end = 64;
        index.add_field_file(fields_no, kSeed);
    }
    void append() {
        if (in_segment + kBatch > kPerSegment) begin_segment();
        std::vector<uint8_t> data(kBatch * kPayload), ok(kBatch, 1), field(kBatch, 0);
        std::vector<uint32_t> rel(kBatch);
        std::vector<int32_t> cls(kBatch), subject(kBatch);
        std::vector<int64_t> time(kBatch), ids(kBatch);
        for (size_t i = 0; i < kBatch; ++i) {
            ids[i] = next + static_cast<int64_t>(i), rel[i] = in_segment + static_cast<uint32_t>(i);
            cls[i] = static_cast<int32_t>(ids[i] % kClasses), subject[i] = static_cast<int32_t>(ids[i] % kSubjects);
            time[i] = ids[i];
            for (size_t k = 0; k < kPayload; ++k) data[i * kPayload + k] = byte_of(ids[i], k);
        }
        Appended a = append_records(fd, end, {kBatch, data.data(), nullptr, nullptr, kPayload, 0, rel.data(), cls.data(),
                                              subject.data(), time.data()}, kSeed);
        if (a.error) wrong("append", next);
        end = a.end;
        index.add_records(no, kBatch, ok.data(), rel.data(), cls.data(), subject.data(), nullptr);
        index.advance(cls.data(), kBatch);
        put_fields(ids, field);
        in_segment += kBatch, next += kBatch, appended += kBatch;
    }
    void put_fields(const std::vector<int64_t> &ids, const std::vector<uint8_t> &field) {
        size_t stride = field_stride(kFieldBytes);
        if (fields_end + ids.size() * stride > (1 << 20)) begin_fields();
        std::vector<uint8_t> values(ids.size() * kFieldBytes), out(ids.size() * stride);
        std::vector<uint32_t> nos(ids.size(), fields_no), offset(ids.size());
        for (size_t i = 0; i < ids.size(); ++i) {
            for (size_t k = 0; k < kFieldBytes; ++k) values[i * kFieldBytes + k] = byte_of(ids[i], k);
            offset[i] = static_cast<uint32_t>(fields_end + i * stride);
        }
        pack_fields(out.data(), values.data(), ids.size(), kFieldBytes, 0, 0, ids.data(), kSeed);
        if (pwrite(fields_fd, out.data(), out.size(), static_cast<off_t>(fields_end)) != static_cast<ssize_t>(out.size()))
            wrong("fields", ids[0]);
        fields_end += out.size();
        index.set_fields(field.data(), ids.data(), nos.data(), offset.data(), ids.size());
    }
    void compact() { // an old segment: what is retained of it goes into a new one
        auto all = index.segments();
        if (all.size() < 6) return;
        auto &old = all[random() % (all.size() - 2)];
        if (old.no == no) return;
        std::vector<int64_t> ids = index.retained_ids(old.no);
        if (ids.empty()) {
            index.remove_segments({old.no});
        } else {
            uint32_t to = ++no_of_compacted;
            int f = create("seg", to);
            auto c = index.copy_records(ids.data(), ids.size(), f, 64, static_cast<uint64_t>(ids[0]), kSeed);
            close(f);
            Segment s;
            s.no = to, s.first_id = static_cast<uint64_t>(ids[0]), s.seed = kSeed, s.sparse = true;
            for (size_t i = 0; i < ids.size(); ++i) {
                if (c.status[i] != kOk) wrong("copied", ids[i]);
                s.rel.push_back(static_cast<uint32_t>(ids[i] - ids[0]));
            }
            index.add_segment(std::move(s), {old.no});
            index.seal_segment(to, c.written.end, 0);
        }
        char name[32];
        std::snprintf(name, sizeof name, "/%08x.seg", old.no);
        unlink((folder + name).c_str());
    }
    uint32_t no_of_compacted = 1u << 24;
    void write() {
        while (!done) {
            append();
            switch (random() % 12) {
            case 0: compact(); break;
            case 1: {
                int64_t id = next - 1 - static_cast<int64_t>(random() % 2000);
                if (id >= 0) index.remove_id(id, -2, false);
                break;
            }
            case 2: { // and back, so that classes stay what byte and id say
                int64_t id = next - 1 - static_cast<int64_t>(random() % 500);
                int32_t other = static_cast<int32_t>((id + 1) % kClasses), own = static_cast<int32_t>(id % kClasses);
                if (id >= 0 && index.relabel(&id, &other, 1).empty()) index.relabel(&id, &own, 1);
                break;
            }
            case 3: index.close_files(); break;
            case 4: index.forget(static_cast<int32_t>(random() % kSubjects), next - 3000); break;
            default: break;
            }
            usleep(2000);
        }
    }
};

void read(Store &s, uint64_t seed) {
    std::mt19937_64 random(seed);
    constexpr size_t n = 40;
    std::vector<uint8_t> to(n * kPayload), status(n), values(n * kFieldBytes);
    std::vector<int32_t> cls(n), subject(n);
    std::vector<int64_t> ids(n), time(n);
    std::vector<uint32_t> bytes(n);
    while (!done) {
        int64_t next = s.index.with_catalog([](Catalog &c) { return c.next_id; });
        if (next < 1) continue;
        for (auto &id : ids) id = next - 1 - static_cast<int64_t>(random() % static_cast<uint64_t>(std::min<int64_t>(next, 5000)));
        s.index.read_many(ids.data(), n, false, to.data(), cls.data(), subject.data(), time.data(), status.data());
        s.index.read_fields(0, ids.data(), n, values.data(), kFieldBytes, bytes.data());
        for (size_t i = 0; i < n; ++i) {
            if (status[i] == kOk) check(&to[i * kPayload], kPayload, ids[i], "read"), ++reads;
            if (status[i] == kDamaged) wrong("damaged", ids[i]);
            if (bytes[i]) check(&values[i * kFieldBytes], bytes[i], ids[i], "field");
        }
        s.index.are_live(ids.data(), n);
        s.index.with_catalog([](Catalog &c) { return c.kth_of_all(0) + c.count_of(1); });
        s.index.bytes();
    }
}

struct Memory {
    static constexpr size_t n = 128;
    std::vector<uint8_t> samples = std::vector<uint8_t>(n * kPayload), values = std::vector<uint8_t>(n * kFieldBytes);
    std::vector<int32_t> classes = std::vector<int32_t>(n), subjects = std::vector<int32_t>(n), widths = std::vector<int32_t>(n);
    std::vector<int64_t> ids = std::vector<int64_t>(n, -1), versions = std::vector<int64_t>(n);
    int64_t edits = 1;
    Slots slots(uint64_t serial) {
        for (size_t i = 0; i < n; ++i) classes[i] = static_cast<int32_t>(i % kClasses);
        Slots s{n, samples.data(), classes.data(), subjects.data(), ids.data(), versions.data(), &edits, {}, serial};
        s.fields.push_back({values.data(), kFieldBytes, 1, widths.data()});
        return s;
    }
    void check_all() {
        for (size_t i = 0; i < n; ++i)
            if (ids[i] >= 0) {
                check(&samples[i * kPayload], kPayload, ids[i], "slot");
                check(&values[i * kFieldBytes], static_cast<size_t>(widths[i]), ids[i], "slot's field");
            }
    }
};

void train(Store &s, uint64_t seed) {
    std::mt19937_64 random(seed);
    Memory memory;
    Slots slots = memory.slots(seed);
    for (int life = 0; !done; ++life) {
        Mover mover(&s.index, {kFieldBytes}, 64, 1 + life % 3, 10, life % 2 == 0);
        for (int64_t step = 0; step < 400 && !done; ++step) {
            constexpr size_t n = 12, tries = 4;
            std::vector<int64_t> which(n);
            std::vector<uint64_t> candidates(n * tries);
            for (auto &w : which) w = static_cast<int64_t>(random() % Memory::n);
            for (auto &c : candidates) c = random();
            mover.request(step + 2, which.data(), n, candidates.data(), tries, slots);
            auto lost = mover.begin(step, step % 3 != 0, slots);
            swaps += n - std::min(n, lost.size());
            if (step % 20 == 0) memory.check_all();
            if (step % 50 == 17) mover.load(mover.save());
            if (step % 70 == 33) mover.drop_pending(), ++memory.edits, mover.wipe();
            if (step % 90 == 5) mover.trim();
            if (random() % 4 == 0) usleep(random() % 3000);
        }
        if (life % 2) mover.stop();
    }
}

void ahead(Store &s) { // reads by id, as training anew does
    while (!done) {
        Mover mover(&s.index, {}, 32, 2, 10, true);
        Memory memory;
        Slots slots = memory.slots(99);
        slots.fields.clear();
        for (int turn = 0; turn < 50 && !done; ++turn) {
            int64_t next = s.index.with_catalog([](Catalog &c) { return c.next_id; });
            std::vector<int64_t> ids;
            std::vector<int32_t> cls;
            for (int64_t id = std::max<int64_t>(0, next - 40); id < next - 8; ++id)
                ids.push_back(id), cls.push_back(static_cast<int32_t>(id % kClasses));
            for (size_t i = 0; i < ids.size(); ++i) memory.ids[i] = -1, memory.versions[i] = 0, memory.classes[i] = cls[i];
            ++memory.edits;
            mover.request_ids(turn, ids.data(), cls.data(), ids.size());
            mover.begin(turn, turn % 2 == 0, slots);
            for (size_t i = 0; i < Memory::n; ++i) memory.widths[i] = 0;
            memory.check_all();
            usleep(1000);
        }
    }
}

void share(int count) { // a pool
    for (int life = 0; !done; ++life) {
        Threads pool(1 + (life + count) % 4);
        std::vector<int64_t> out(512);
        for (int round = 0; round < 300 && !done; ++round) {
            int n = 1 + round * 37 % 512;
            pool.run(n, [&](int item, int) { out[static_cast<size_t>(item)] = int64_t{item} * round; });
            for (int i = 0; i < n; ++i)
                if (out[static_cast<size_t>(i)] != int64_t{i} * round) wrong("pool", i);
            tasks += static_cast<uint64_t>(n);
            if (round % 64 == 0) usleep(500); // the workers fall asleep
        }
    }
}
} // namespace

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    {
        Store store(argv[1]);
        for (int i = 0; i < 40; ++i) store.append();
        std::vector<std::thread> all;
        all.emplace_back([&] { store.write(); });
        all.emplace_back([&] { read(store, 11); });
        all.emplace_back([&] { read(store, 12); });
        all.emplace_back([&] { train(store, 21); });
        all.emplace_back([&] { train(store, 22); });
        all.emplace_back([&] { ahead(store); });
        all.emplace_back([] { share(2); });
        all.emplace_back([] { share(3); });
        std::this_thread::sleep_for(std::chrono::seconds(std::atoi(argv[2])));
        done = true;
        for (auto &t : all) t.join();
    }
    std::printf("{\"appended\": %llu, \"read\": %llu, \"swapped\": %llu, \"pool_items\": %llu}\n",
                static_cast<unsigned long long>(appended), static_cast<unsigned long long>(reads),
                static_cast<unsigned long long>(swaps), static_cast<unsigned long long>(tasks));
    return swaps && reads && appended && tasks ? 0 : 1;
}
