#include "index.h"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <stdexcept>
#include <unistd.h>

namespace edgecl {
namespace {
constexpr size_t kOpenFiles = 96;      // descriptors kept open beside those that pending reads hold
constexpr size_t kFileHeader = 64;     // bytes before the first record
constexpr size_t kScanLimit = 1 << 14; // a class up to this size is searched for the last ids not taken
using Lock = std::lock_guard<std::mutex>;
} // namespace

File::~File() {
    if (fd >= 0) close(fd);
}

Index::Index(std::string dir, Encoding encoding, size_t n_fields, uint64_t field_file_bytes, int64_t capacity,
             Eviction policy, uint64_t seed)
    : dir_(std::move(dir)), encoding_(encoding), field_units_(field_file_bytes / 8),
      catalog_(&segments_, capacity, policy, seed), fields_(n_fields) {}
Index::~Index() = default;

// ---------------------------------------------------------------- segments
void Index::add_segment(Segment s, const std::vector<uint32_t> &replaces) {
    Lock lock(mutex_);
    segments_.remove(replaces);
    for (uint32_t no : replaces) files_.erase(uint64_t('s') << 32 | no);
    physical_next_ = std::max(physical_next_, static_cast<int64_t>(s.first_id));
    if (s.sparse) s.count = static_cast<uint32_t>(s.rel.size());
    s.retained = replaces.empty() ? 0 : s.count; // else add_records counts them
    segments_.add(std::move(s));
}

void Index::add_records(uint32_t no, size_t n, const uint8_t *ok, const uint32_t *rel, const int32_t *cls,
                        const int32_t *subject, const uint32_t *offset) {
    Lock lock(mutex_);
    Segment *s = segments_.by_number(no);
    if (!s) throw std::out_of_range("no such segment");
    for (size_t i = 0; i < n; ++i) {
        uint64_t id = s->first_id + rel[i];
        if (id >= 0xfffffff0ull) throw std::length_error("ids are exhausted");
        if (!s->sparse) s->count = std::max(s->count, rel[i] + 1);
        if (offset) s->offsets.resize(s->sparse ? s->offsets.size() + 1 : s->count), s->offsets.back() = offset[i];
        physical_next_ = std::max(physical_next_, static_cast<int64_t>(id) + 1);
        if (!ok[i]) continue;
        ++s->retained;
        catalog_.add(static_cast<uint32_t>(id), cls[i], subject[i]);
    }
}

void Index::seal_segment(uint32_t no, uint64_t end, uint64_t table_at) {
    Lock lock(mutex_);
    Segment *s = segments_.by_number(no);
    if (!s) throw std::out_of_range("no such segment");
    s->end = end, s->table_at = table_at;
    if (table_at) s->offsets = {};
}

void Index::remove_segments(const std::vector<uint32_t> &nos) {
    Lock lock(mutex_);
    segments_.remove(nos);
    for (uint32_t no : nos) files_.erase(uint64_t('s') << 32 | no);
    catalog_.prune_subjects();
}

std::vector<Index::SegmentInfo> Index::segments() {
    Lock lock(mutex_);
    std::vector<SegmentInfo> out;
    for (const Segment &s : segments_.all()) out.push_back({s.no, s.first_id, s.count, s.retained});
    return out;
}

std::vector<int64_t> Index::retained_ids(uint32_t no) {
    Lock lock(mutex_);
    Segment *s = segments_.by_number(no);
    return s ? catalog_.retained_between(s->first_id, s->end_id()) : std::vector<int64_t>{};
}

std::vector<int64_t> Index::ids_of_segment(uint32_t no) {
    Lock lock(mutex_);
    std::vector<int64_t> out;
    if (Segment *s = segments_.by_number(no))
        for (uint32_t i = 0; i < s->count; ++i) out.push_back(s->id_at(i));
    return out;
}

std::pair<uint32_t, uint64_t> Index::where(int64_t id) {
    Lock lock(mutex_);
    uint32_t pos;
    Segment *s = segments_.find(id, pos);
    if (!s) return {0, 0};
    if (encoding_.stored) return {s->no, kFileHeader + uint64_t{pos} * (sizeof(RecordHead) + encoding_.stored)};
    return {s->no, pos < s->offsets.size() ? s->offsets[pos] : 0};
}

// ---------------------------------------------------------------- the view
void Index::advance(const int32_t *cls, size_t n) {
    Lock lock(mutex_);
    catalog_.advance(cls, n);
}

void Index::remove_id(int64_t id, int32_t cls, bool unread) {
    Lock lock(mutex_);
    catalog_.remove(id, cls, unread);
}

std::vector<int64_t> Index::relabel(const int64_t *ids, const int32_t *cls, size_t n) {
    Lock lock(mutex_);
    relabelled_ = relabelled_ || n;
    return catalog_.relabel(ids, cls, n);
}

void Index::mark_relabelled(const int64_t *ids, const int32_t *cls, size_t n) {
    Lock lock(mutex_);
    relabelled_ = relabelled_ || n;
    for (size_t i = 0; i < n; ++i) catalog_.mark_relabelled(ids[i], cls[i]);
}

int32_t Index::class_now(int64_t id, int32_t recorded) {
    if (!relabelled_) return recorded;
    Lock lock(mutex_);
    return catalog_.class_now(id, recorded);
}

std::vector<int64_t> Index::forget(int32_t subject, int64_t below) {
    Lock lock(mutex_);
    return catalog_.forget(subject, below);
}

bool Index::live(int64_t id, int32_t cls) {
    Lock lock(mutex_);
    return catalog_.live(id, cls);
}

std::vector<uint8_t> Index::are_live(const int64_t *ids, size_t n) {
    Lock lock(mutex_);
    return catalog_.are_live(ids, n);
}

int64_t Index::physical_next() {
    Lock lock(mutex_);
    return physical_next_;
}

// ---------------------------------------------------------------- fields
void Index::add_field_file(uint32_t no, uint32_t seed) {
    Lock lock(mutex_);
    field_seed_[no] = seed;
    if (!field_base_set_) field_base_ = no, field_base_set_ = true;
}

void Index::set_fields(const uint8_t *field, const int64_t *ids, const uint32_t *no, const uint32_t *offset, size_t n) {
    Lock lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        if (field[i] >= fields_.size()) continue;
        uint64_t unit = static_cast<uint64_t>(no[i] - field_base_) * field_units_ + offset[i] / 8;
        if (unit >= FieldMap::kNone - 1) throw std::length_error("field addresses are exhausted");
        fields_[field[i]].set(ids[i], static_cast<uint32_t>(unit));
    }
}

void Index::clear_fields() {
    Lock lock(mutex_);
    for (auto &f : fields_) f.clear();
}

int64_t Index::field_place(size_t field, int64_t id) {
    Lock lock(mutex_);
    uint64_t unit = fields_.at(field).get(id);
    if (unit == FieldMap::kNone) return -1;
    return static_cast<int64_t>((unit / field_units_ + field_base_) << 32 | unit % field_units_ * 8);
}

void Index::drop_field_file(uint32_t no) {
    Lock lock(mutex_);
    uint64_t from = static_cast<uint64_t>(no - field_base_) * field_units_;
    for (auto &f : fields_) f.drop(from, from + field_units_);
    field_seed_.erase(no);
    files_.erase(uint64_t('f') << 32 | no);
}

std::vector<uint8_t> Index::current_fields(uint32_t no, const uint8_t *field, const int64_t *ids,
                                           const uint32_t *offset, size_t n) {
    Lock lock(mutex_);
    std::vector<uint8_t> out(n, 0);
    for (size_t i = 0; i < n; ++i) {
        if (field[i] >= fields_.size()) continue;
        uint64_t unit = static_cast<uint64_t>(no - field_base_) * field_units_ + offset[i] / 8;
        out[i] = fields_[field[i]].get(ids[i]) == unit && catalog_.retained(ids[i]);
    }
    return out;
}

// ---------------------------------------------------------------- places
FileRef Index::open_file(char kind, uint32_t no) {
    uint64_t key = static_cast<uint64_t>(kind) << 32 | no;
    auto at = files_.find(key);
    if (at != files_.end()) {
        at->second.used = ++tick_;
        return at->second.file;
    }
    char name[32];
    std::snprintf(name, sizeof name, "/%08x.%s", no, kind == 's' ? "seg" : "fld");
    int fd = open((dir_ + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return nullptr;
    if (files_.size() >= kOpenFiles) {
        auto oldest = files_.begin();
        for (auto i = files_.begin(); i != files_.end(); ++i)
            if (i->second.used < oldest->second.used) oldest = i;
        files_.erase(oldest);
    }
    auto file = std::make_shared<File>(fd);
    files_[key] = {file, ++tick_};
    return file;
}

void Index::close_files() {
    Lock lock(mutex_);
    files_.clear();
}

bool Index::place(int64_t id, Place &to) {
    Lock lock(mutex_);
    return place_locked(id, to);
}

bool Index::place_locked(int64_t id, Place &to) {
    uint32_t pos;
    Segment *s = segments_.find(id, pos);
    if (!s) return false;
    errno = 0;
    to.file = open_file('s', s->no);
    if (!to.file && errno == ENOENT) return false; // a reader beside the owner: it was cleaned away meanwhile
    to.seed = s->seed;
    to.rel = static_cast<uint32_t>(static_cast<uint64_t>(id) - s->first_id);
    to.table_at = 0;
    if (encoding_.stored) {
        to.offset = kFileHeader + static_cast<uint64_t>(pos) * (sizeof(RecordHead) + encoding_.stored);
    } else if (s->table_at) {
        to.table_at = s->table_at + 4ull * pos;
        to.last = pos + 1 == s->count;
        to.end = s->end;
    } else {
        to.offset = pos < s->offsets.size() ? s->offsets[pos] : 0; // 0: damaged, nobody knows where it was
        to.end = to.offset + variable_stride(encoding_.payload + encoding_.seal);
    }
    return true;
}

bool Index::place_field(size_t field, int64_t id, Place &to) {
    Lock lock(mutex_);
    uint64_t unit = fields_[field].get(id);
    if (unit == FieldMap::kNone) return false;
    auto no = static_cast<uint32_t>(unit / field_units_) + field_base_;
    auto seed = field_seed_.find(no);
    if (seed == field_seed_.end()) return false;
    to.file = open_file('f', no);
    to.offset = unit % field_units_ * 8;
    to.seed = seed->second;
    return to.file != nullptr;
}

void Index::draw(const int32_t *cls, size_t n, const uint64_t *candidates, size_t tries, IdSet &taken, int64_t *ids) {
    Lock lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        ids[i] = -1;
        auto count = static_cast<uint64_t>(catalog_.count_of(cls[i]));
        if (!count) continue;
        for (size_t t = 0; t < tries && ids[i] < 0; ++t) {
            auto k = static_cast<uint64_t>(static_cast<unsigned __int128>(candidates[t * n + i]) * count >> 64);
            int64_t id = catalog_.kth(cls[i], static_cast<int64_t>(k));
            if (taken.add(id)) ids[i] = id;
        }
        if (ids[i] >= 0 || count > kScanLimit) continue;
        // Most of the class is taken: choose among the rest, still uniformly, with the last number.
        size_t rest = 0;
        catalog_.each_live(cls[i], [&](uint32_t id) { rest += !taken.has(id); });
        if (!rest) continue;
        uint64_t r = candidates[(tries - 1) * n + i];
        auto want = static_cast<size_t>(static_cast<unsigned __int128>(r * 0x9e3779b97f4a7c15ull) * rest >> 64);
        int64_t found = -1;
        catalog_.each_live(cls[i], [&](uint32_t id) {
            if (found < 0 && !taken.has(id) && want-- == 0) found = id;
        });
        ids[i] = found;
        taken.add(found);
    }
}

size_t Index::bytes() {
    Lock lock(mutex_);
    size_t n = segments_.bytes() + catalog_.bytes();
    for (auto &f : fields_) n += f.bytes();
    return n;
}

} // namespace edgecl
