#include "index.h"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/uio.h>
#include <unistd.h>

namespace edgecl {
namespace {
constexpr size_t kOpenFiles = 96;      // descriptors kept open beside those that pending reads hold
constexpr size_t kFileHeader = 64;     // bytes before the first record
constexpr size_t kScanLimit = 1 << 14; // a class up to this size is searched for the last ids not taken
constexpr uint32_t kPage = 1024;

void grow(std::vector<uint32_t> &v, size_t more) {
    // Doubling would leave half of a large list unused; a quarter keeps appends amortised and the slack small.
    if (v.size() + more > v.capacity()) v.reserve(std::max(v.size() + more, v.capacity() + v.capacity() / 4 + 16));
}
} // namespace

File::~File() {
    if (fd >= 0) close(fd);
}

Index::Index(std::string dir, size_t payload, size_t n_fields, uint64_t field_file_bytes, int64_t capacity)
    : dir_(std::move(dir)), payload_(payload), field_units_(field_file_bytes / 8), capacity_(capacity),
      pages_(n_fields) {}
Index::~Index() = default;

// ---------------------------------------------------------------- segments
void Index::add_segment(uint32_t no, uint64_t first_id, uint32_t seed, std::vector<uint32_t> rel, bool sparse,
                        const std::vector<uint32_t> &replaces) {
    std::lock_guard<std::mutex> lock(mutex_);
    remove_locked(replaces);
    physical_next_ = std::max(physical_next_, static_cast<int64_t>(first_id));
    auto retained = static_cast<uint32_t>(replaces.empty() ? 0 : rel.size()); // else add_records counts them
    Segment s{no, seed, retained, first_id, sparse ? static_cast<uint32_t>(rel.size()) : 0u, std::move(rel), sparse};
    auto at = std::upper_bound(segments_.begin(), segments_.end(), first_id,
                               [](uint64_t id, const Segment &x) { return id < x.first_id; });
    segments_.insert(at, std::move(s));
}

void Index::add_records(uint32_t no, size_t n, const uint8_t *ok, const uint32_t *rel, const int32_t *cls,
                        const int32_t *subject) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Segment &s : segments_) {
        if (s.no != no) continue;
        for (size_t i = 0; i < n; ++i) {
            uint64_t id = s.first_id + rel[i];
            if (id >= 0xfffffff0ull) throw std::length_error("ids are exhausted");
            if (!s.sparse) s.count = std::max(s.count, rel[i] + 1);
            physical_next_ = std::max(physical_next_, static_cast<int64_t>(id) + 1);
            if (!ok[i]) continue;
            ++s.retained;
            auto &list = classes_[cls[i]].ids;
            grow(list, 1);
            list.push_back(static_cast<uint32_t>(id));
            if (subject[i] >= 0) {
                auto &of = subjects_[subject[i]];
                grow(of, 1);
                of.push_back(static_cast<uint32_t>(id));
            }
        }
        return;
    }
    throw std::out_of_range("no such segment");
}

void Index::remove_segments(const std::vector<uint32_t> &nos) {
    std::lock_guard<std::mutex> lock(mutex_);
    remove_locked(nos);
}

void Index::remove_locked(const std::vector<uint32_t> &nos) {
    auto gone = [&](uint32_t no) { return std::find(nos.begin(), nos.end(), no) != nos.end(); };
    segments_.erase(std::remove_if(segments_.begin(), segments_.end(), [&](const Segment &s) { return gone(s.no); }),
                    segments_.end());
    for (uint32_t no : nos) files_.erase(uint64_t('s') << 32 | no);
}

std::vector<Index::SegmentInfo> Index::segments() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<SegmentInfo> out;
    for (const Segment &s : segments_) out.push_back({s.no, s.first_id, s.count, s.retained});
    return out;
}

std::vector<int64_t> Index::retained_ids(uint32_t no) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int64_t> out;
    for (const Segment &s : segments_) {
        if (s.no != no) continue;
        uint64_t end = s.sparse ? (s.count ? s.first_id + s.rel.back() + 1 : s.first_id) : s.first_id + s.count;
        for (auto &[cls, c] : classes_) {
            auto from = c.ids.begin() + static_cast<long>(c.keep);
            auto a = std::lower_bound(from, c.ids.end(), s.first_id);
            auto b = std::lower_bound(a, c.ids.end(), end);
            out.insert(out.end(), a, b);
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<int64_t> Index::ids_of_segment(uint32_t no) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int64_t> out;
    for (const Segment &s : segments_)
        for (uint32_t i = 0; s.no == no && i < s.count; ++i)
            out.push_back(static_cast<int64_t>(s.first_id + (s.sparse ? s.rel[i] : i)));
    return out;
}

std::pair<uint32_t, uint32_t> Index::where(int64_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    Segment *s;
    uint32_t pos;
    if (!locate(id, s, pos)) return {0, 0};
    return {s->no, pos};
}

Index::Segment *Index::find(int64_t id) {
    auto at = std::upper_bound(segments_.begin(), segments_.end(), static_cast<uint64_t>(id),
                               [](uint64_t x, const Segment &s) { return x < s.first_id; });
    return id < 0 || at == segments_.begin() ? nullptr : &*(at - 1);
}

bool Index::locate(int64_t id, Segment *&seg, uint32_t &pos) {
    seg = find(id);
    if (!seg) return false;
    uint64_t rel = static_cast<uint64_t>(id) - seg->first_id;
    if (rel > 0xffffffffu) return false;
    if (!seg->sparse) {
        pos = static_cast<uint32_t>(rel);
        return pos < seg->count;
    }
    auto at = std::lower_bound(seg->rel.begin(), seg->rel.end(), static_cast<uint32_t>(rel));
    pos = static_cast<uint32_t>(at - seg->rel.begin());
    return at != seg->rel.end() && *at == rel;
}

// ---------------------------------------------------------------- the view
void Index::release_class(ClassList &c, size_t to) {
    Segment *s;
    uint32_t pos;
    for (; c.keep < to; ++c.keep)
        if (locate(c.ids[c.keep], s, pos) && s->retained) --s->retained;
    if (c.keep > 4096 && c.keep > c.ids.size() / 2) {
        c.ids.erase(c.ids.begin(), c.ids.begin() + static_cast<long>(c.keep));
        c.lo -= c.keep, c.hi -= c.keep, c.keep = 0;
    }
}

void Index::evict() {
    while (live_ > capacity_) {
        ClassList *most = nullptr;
        for (auto &[cls, c] : classes_)
            if (!most || c.live() > most->live()) most = &c;
        ++most->lo, --live_, ++evicted; // the oldest of the largest class
        if (!pinned) release_class(*most, most->lo);
    }
}

void Index::advance(const int32_t *cls, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        int64_t id = next_id_++;
        auto at = classes_.find(cls[i]);
        if (at == classes_.end()) continue;
        ClassList &c = at->second;
        if (c.hi < c.ids.size() && c.ids[c.hi] == id) ++c.hi, ++live_; // else: damaged, keeps its id but is not live
        evict();
    }
}

void Index::set_view(int64_t next_id, const int32_t *cls, const int64_t *first_live, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    next_id_ = next_id;
    live_ = 0;
    for (auto &[key, c] : classes_) {
        int64_t first = 0;
        for (size_t i = 0; i < n; ++i)
            if (cls[i] == key) first = first_live[i];
        c.lo = static_cast<size_t>(std::lower_bound(c.ids.begin(), c.ids.end(), first) - c.ids.begin());
        c.hi = static_cast<size_t>(std::lower_bound(c.ids.begin(), c.ids.end(), next_id) - c.ids.begin());
        c.lo = std::max(c.keep, std::min(c.lo, c.hi));
        c.hi = std::max(c.hi, c.lo);
        live_ += static_cast<int64_t>(c.live());
        if (!pinned) release_class(c, c.lo);
    }
}

void Index::get_view(std::vector<int32_t> &cls, std::vector<int64_t> &first_live) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto &[key, c] : classes_) {
        cls.push_back(key);
        first_live.push_back(c.lo < c.hi ? c.ids[c.lo] : next_id_);
    }
}

void Index::release(const int32_t *cls, const int64_t *before, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        auto at = classes_.find(cls[i]);
        if (at == classes_.end()) continue;
        ClassList &c = at->second;
        auto to = static_cast<size_t>(std::lower_bound(c.ids.begin(), c.ids.end(), before[i]) - c.ids.begin());
        release_class(c, std::min(to, c.lo));
    }
}

void Index::release_all() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto &[key, c] : classes_) release_class(c, c.lo);
}

void Index::remove_id(int64_t id, int32_t cls) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto &[key, c] : classes_) {
        if (cls != key && cls >= -1) continue; // cls < -1: unknown, look everywhere
        auto at = std::lower_bound(c.ids.begin(), c.ids.end(), static_cast<uint64_t>(id));
        if (at == c.ids.end() || *at != id) continue;
        auto pos = static_cast<size_t>(at - c.ids.begin());
        c.ids.erase(at);
        Segment *s;
        uint32_t in_segment;
        if (pos >= c.keep && locate(id, s, in_segment) && s->retained) --s->retained;
        if (pos >= c.lo && pos < c.hi) --live_;
        c.keep -= pos < c.keep, c.lo -= pos < c.lo, c.hi -= pos < c.hi;
        return;
    }
}

bool Index::live_locked(int64_t id, int32_t cls) {
    auto at = classes_.find(cls);
    if (at == classes_.end()) return false;
    const ClassList &c = at->second;
    return std::binary_search(c.ids.begin() + static_cast<long>(c.lo), c.ids.begin() + static_cast<long>(c.hi),
                              static_cast<uint64_t>(id));
}

bool Index::live(int64_t id, int32_t cls) {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_locked(id, cls);
}

int64_t Index::next_id() {
    std::lock_guard<std::mutex> lock(mutex_);
    return next_id_;
}
int64_t Index::physical_next() {
    std::lock_guard<std::mutex> lock(mutex_);
    return physical_next_;
}
int64_t Index::count() {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_;
}
// ---------------------------------------------------------------- classes, subjects
std::vector<int32_t> Index::classes() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int32_t> out;
    for (auto &[key, c] : classes_)
        if (c.live()) out.push_back(key);
    return out;
}

int64_t Index::count_of(int32_t cls) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = classes_.find(cls);
    return at == classes_.end() ? 0 : static_cast<int64_t>(at->second.live());
}

int64_t Index::kth(int32_t cls, int64_t k) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = classes_.find(cls);
    if (at == classes_.end() || k < 0 || k >= static_cast<int64_t>(at->second.live())) return -1;
    return at->second.ids[at->second.lo + static_cast<size_t>(k)];
}

std::vector<int64_t> Index::ids_of_class(int32_t cls) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = classes_.find(cls);
    if (at == classes_.end()) return {};
    const ClassList &c = at->second;
    return {c.ids.begin() + static_cast<long>(c.lo), c.ids.begin() + static_cast<long>(c.hi)};
}

std::vector<int32_t> Index::subjects() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int32_t> out;
    for (auto &[key, ids] : subjects_) out.push_back(key);
    return out;
}

std::vector<int64_t> Index::ids_of_subject(int32_t subject) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int64_t> out;
    auto at = subjects_.find(subject);
    if (at == subjects_.end()) return out;
    for (uint32_t id : at->second)
        for (auto &[key, c] : classes_)
            if (live_locked(id, key)) {
                out.push_back(id);
                break;
            }
    return out;
}

// ---------------------------------------------------------------- fields
void Index::add_field_file(uint32_t no, uint32_t seed) {
    std::lock_guard<std::mutex> lock(mutex_);
    field_seed_[no] = seed;
    if (!field_base_set_) field_base_ = no, field_base_set_ = true;
}

void Index::set_fields(const uint8_t *field, const int64_t *ids, const uint32_t *no, const uint32_t *offset, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        if (field[i] >= pages_.size() || ids[i] < 0) continue;
        uint64_t unit = static_cast<uint64_t>(no[i] - field_base_) * field_units_ + offset[i] / 8;
        if (unit >= 0xffffffffull) throw std::length_error("field addresses are exhausted");
        auto &page = pages_[field[i]][static_cast<uint32_t>(ids[i] / kPage)];
        if (!page) page = std::make_unique<Page>();
        page->at[ids[i] % kPage] = static_cast<uint32_t>(unit) + 1;
    }
}

void Index::clear_fields() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto &p : pages_) p.clear();
}

int64_t Index::field_place(size_t field, int64_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = pages_.at(field).find(static_cast<uint32_t>(id / kPage));
    if (id < 0 || at == pages_[field].end() || !at->second->at[id % kPage]) return -1;
    uint64_t unit = at->second->at[id % kPage] - 1ull;
    return static_cast<int64_t>((unit / field_units_ + field_base_) << 32 | unit % field_units_ * 8);
}

void Index::drop_field_file(uint32_t no) {
    std::lock_guard<std::mutex> lock(mutex_);
    uint64_t from = static_cast<uint64_t>(no - field_base_) * field_units_, to = from + field_units_;
    for (auto &pages : pages_)
        for (auto &[key, page] : pages)
            for (uint32_t &a : page->at)
                if (a && a - 1ull >= from && a - 1ull < to) a = 0;
    field_seed_.erase(no);
    files_.erase(uint64_t('f') << 32 | no);
}

std::vector<uint8_t> Index::current_fields(uint32_t no, const uint8_t *field, const int64_t *ids,
                                           const uint32_t *offset, size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<uint8_t> out(n, 0);
    for (size_t i = 0; i < n; ++i) {
        if (field[i] >= pages_.size() || ids[i] < 0) continue;
        auto at = pages_[field[i]].find(static_cast<uint32_t>(ids[i] / kPage));
        if (at == pages_[field[i]].end()) continue;
        uint64_t unit = static_cast<uint64_t>(no - field_base_) * field_units_ + offset[i] / 8 + 1;
        if (at->second->at[ids[i] % kPage] != unit) continue;
        for (auto &[key, c] : classes_)
            if (std::binary_search(c.ids.begin() + static_cast<long>(c.keep), c.ids.end(),
                                   static_cast<uint64_t>(ids[i]))) {
                out[i] = 1;
                break;
            }
    }
    return out;
}

// ---------------------------------------------------------------- reading
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
    std::lock_guard<std::mutex> lock(mutex_);
    files_.clear();
}

bool Index::place(int64_t id, Place &to) {
    std::lock_guard<std::mutex> lock(mutex_);
    Segment *s;
    uint32_t pos;
    if (!locate(id, s, pos)) return false;
    to.file = open_file('s', s->no);
    to.offset = kFileHeader + static_cast<uint64_t>(pos) * (sizeof(RecordHead) + payload_);
    to.seed = s->seed;
    to.rel = static_cast<uint32_t>(static_cast<uint64_t>(id) - s->first_id);
    return true;
}

bool Index::place_field(size_t field, int64_t id, Place &to) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = pages_[field].find(static_cast<uint32_t>(id / kPage));
    if (id < 0 || at == pages_[field].end() || !at->second->at[id % kPage]) return false;
    uint64_t unit = at->second->at[id % kPage] - 1ull;
    auto no = static_cast<uint32_t>(unit / field_units_) + field_base_;
    auto seed = field_seed_.find(no);
    if (seed == field_seed_.end()) return false;
    to.file = open_file('f', no);
    to.offset = unit % field_units_ * 8;
    to.seed = seed->second;
    return to.file != nullptr;
}

Record Index::read(const Place &p, uint8_t *to, bool cached_only) const {
    Record r;
    r.status = kDamaged;
    if (!p.file) return r;
    RecordHead h;
    iovec parts[2] = {{&h, sizeof h}, {to, payload_}};
    ssize_t got;
    do got = preadv2(p.file->fd, parts, 2, static_cast<off_t>(p.offset), cached_only ? RWF_NOWAIT : 0);
    while (got < 0 && errno == EINTR);
    size_t whole = sizeof h + payload_;
    if (cached_only && got < static_cast<ssize_t>(whole)) { // or the file system has no such reads
        r.status = kNotCached;
        return r;
    }
    if (got < static_cast<ssize_t>(sizeof h)) return r;
    bytes_read += static_cast<uint64_t>(got);
    size_t have = static_cast<size_t>(got);
    if (have < whole && !read_all(p.file->fd, to + (have - sizeof h), whole - have, p.offset + have)) return r;
    if (h.len_flags != payload_ || h.rel != p.rel || h.crc != record_crc(h, to, p.seed)) return r;
    r.status = kOk, r.cls = class_of(h), r.subject = h.subject, r.time = time_of(h);
    return r;
}

size_t Index::read_field(const Place &p, size_t field, int64_t id, uint8_t *to, size_t max, bool cached_only) {
    FieldHead h;
    iovec parts[2] = {{&h, sizeof h}, {to, max}};
    ssize_t got;
    do got = preadv2(p.file->fd, parts, 2, static_cast<off_t>(p.offset), cached_only ? RWF_NOWAIT : 0);
    while (got < 0 && errno == EINTR);
    if (cached_only && (got < static_cast<ssize_t>(sizeof h) || static_cast<size_t>(got) < sizeof h + h.len))
        return kUncached;
    if (got >= static_cast<ssize_t>(sizeof h)) {
        bytes_read += static_cast<uint64_t>(got);
        if (h.len <= max && static_cast<size_t>(got) >= sizeof h + h.len && h.field == field &&
            h.id == static_cast<uint64_t>(id) && h.crc == field_crc(h, to, p.seed))
            return h.len;
    }
    ++damaged_fields;
    return 0;
}

void Index::read_many(const int64_t *ids, size_t n, bool hidden, uint8_t *to, int32_t *cls, int32_t *subject,
                      int64_t *time, uint8_t *status) {
    for (size_t i = 0; i < n; ++i) {
        Place p;
        Record r;
        uint8_t *row = to + i * payload_;
        if (place(ids[i], p)) {
            r = read(p, row);
            if (r.status == kOk && !hidden && !live(ids[i], r.cls)) r.status = kNotLive;
        }
        if (r.status != kOk) std::memset(row, 0, payload_);
        bool ok = r.status == kOk;
        cls[i] = ok ? r.cls : -1, subject[i] = ok ? r.subject : -1, time[i] = ok ? r.time : 0, status[i] = r.status;
    }
}

void Index::read_fields(size_t field, const int64_t *ids, size_t n, uint8_t *to, size_t max, uint32_t *bytes) {
    for (size_t i = 0; i < n; ++i) {
        Place p;
        uint8_t *row = to + i * max;
        size_t got = place_field(field, ids[i], p) ? read_field(p, field, ids[i], row, max) : 0;
        std::memset(row + got, 0, max - got); // preadv may have brought bytes of the next record
        bytes[i] = static_cast<uint32_t>(got);
    }
}

void Index::draw(const int32_t *cls, size_t n, const uint64_t *candidates, size_t tries, IdSet &taken, int64_t *ids) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
        ids[i] = -1;
        auto at = classes_.find(cls[i]);
        if (at == classes_.end() || !at->second.live()) continue;
        const ClassList &c = at->second;
        uint64_t count = c.live(), last = 0;
        for (size_t t = 0; t < tries && ids[i] < 0; ++t) {
            last = static_cast<uint64_t>(static_cast<unsigned __int128>(candidates[t * n + i]) * count >> 64);
            int64_t id = c.ids[c.lo + last];
            if (taken.add(id)) ids[i] = id;
        }
        if (ids[i] >= 0 || count > kScanLimit) continue;
        // Most of the class is taken: choose among the rest, still uniformly, with the last number.
        size_t rest = 0;
        for (size_t k = c.lo; k < c.hi; ++k) rest += !taken.has(c.ids[k]);
        if (!rest) continue;
        uint64_t r = candidates[(tries - 1) * n + i];
        auto want = static_cast<size_t>(static_cast<unsigned __int128>(r * 0x9e3779b97f4a7c15ull) * rest >> 64);
        for (size_t k = c.lo; k < c.hi; ++k)
            if (!taken.has(c.ids[k]) && want-- == 0) {
                ids[i] = c.ids[k];
                taken.add(ids[i]);
                break;
            }
    }
}

size_t Index::bytes() {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t n = segments_.capacity() * sizeof(Segment);
    for (auto &s : segments_) n += s.rel.capacity() * 4;
    for (auto &[k, c] : classes_) n += c.ids.capacity() * 4 + sizeof c;
    for (auto &[k, s] : subjects_) n += s.capacity() * 4;
    for (auto &p : pages_) n += p.size() * sizeof(Page);
    return n;
}

} // namespace edgecl
