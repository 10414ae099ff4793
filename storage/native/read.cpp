// Reading records: one system call each (two where the offset stands in a footer), checked, decoded.
#include "index.h"
#include <cerrno>
#include <cstring>
#include <sys/uio.h>

namespace edgecl {
namespace {
// cached_only: what the page cache holds, without waiting (RWF_NOWAIT, Linux 4.14; an error where a file system has none)
ssize_t read_parts(int fd, const iovec *parts, int n, uint64_t offset, bool cached_only) {
    ssize_t got;
    do got = preadv2(fd, parts, n, static_cast<off_t>(offset), cached_only ? RWF_NOWAIT : 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0) errno = 0; // so that who finds it too short can tell an end from an error
    return got;
}
} // namespace

bool Index::decode(const RecordHead &h, const uint8_t *from, uint8_t *to) const {
    size_t n = length_of(h);
    uint8_t codec = codec_of(h);
    if (codec == kRaw) {
        if (n != encoding_.payload) return false;
        std::memcpy(to, from, n);
        return true;
    }
    if (codec != kInt8) return decoder && decoder(codec, from, n, to);
    size_t values = encoding_.payload / 4, scales = encoding_.scales; // float32 scales, then one byte a value
    if (n != 4 * scales + values) return false;
    for (size_t c = 0, each = values / scales; c < scales; ++c) {
        float scale;
        std::memcpy(&scale, from + 4 * c, 4);
        const auto *q = reinterpret_cast<const int8_t *>(from + 4 * scales + c * each);
        for (size_t i = 0; i < each; ++i) {
            float v = scale * static_cast<float>(q[i]);
            std::memcpy(to + 4 * (c * each + i), &v, 4);
        }
    }
    return true;
}

// The head and the encoded sample, checked: kOk, kDamaged or kNotCached.
Status Index::read_encoded(const Place &p, RecordHead &h, std::vector<uint8_t> &payload, bool cached_only) const {
    if (!p.file) return kUnread;
    const auto failed = [&] { return cached_only ? kNotCached : errno ? kUnread : kDamaged; };
    uint64_t offset = p.offset, end = p.end;
    if (p.table_at) {
        uint32_t pair[2];
        const iovec part{pair, p.last ? 4u : 8u};
        if (read_parts(p.file->fd, &part, 1, p.table_at, cached_only) != static_cast<ssize_t>(part.iov_len)) return failed();
        offset = pair[0];
        if (!p.last) end = pair[1];
    }
    size_t most = encoding_.stored;
    if (!most) {
        if (!offset || end < offset + sizeof h || end - offset > variable_stride(encoding_.payload + encoding_.seal)) return kDamaged;
        most = end - offset - sizeof h;
    }
    payload.resize(most);
    iovec parts[2] = {{&h, sizeof h}, {payload.data(), most}};
    ssize_t got = read_parts(p.file->fd, parts, 2, offset, cached_only);
    if (got < static_cast<ssize_t>(sizeof h)) return failed();
    size_t len = length_of(h), have = static_cast<size_t>(got) - sizeof h;
    if (len > most || (encoding_.stored && len != most)) return kDamaged;
    if (have < len && cached_only) return kNotCached;
    bytes_read.fetch_add(static_cast<uint64_t>(got), std::memory_order_relaxed);
    if (have < len && !read_all(p.file->fd, payload.data() + have, len - have, offset + sizeof h + have)) return failed();
    return h.rel == p.rel && h.crc == record_crc(h, payload.data(), p.seed) ? kOk : kDamaged;
}

Record Index::read(const Place &p, uint8_t *to, bool cached_only) const {
    Record r;
    r.status = kDamaged;
    RecordHead h;
    if (encoding_.codec == kRaw) { // straight to where it is wanted
        if (!p.file) r.status = kUnread;
        if (!p.file) return r;
        const size_t n = encoding_.payload;
        iovec parts[2] = {{&h, sizeof h}, {to, n}};
        ssize_t got = read_parts(p.file->fd, parts, 2, p.offset, cached_only);
        if (cached_only && got < static_cast<ssize_t>(sizeof h + n)) {
            r.status = kNotCached;
            return r;
        }
        if (got < 0) r.status = kUnread;
        if (got < static_cast<ssize_t>(sizeof h)) return r;
        bytes_read.fetch_add(static_cast<uint64_t>(got), std::memory_order_relaxed);
        size_t have = static_cast<size_t>(got) - sizeof h;
        if (have < n && !read_all(p.file->fd, to + have, n - have, p.offset + sizeof h + have)) {
            if (errno) r.status = kUnread;
            return r;
        }
        if (h.len_flags != n || h.rel != p.rel || h.crc != record_crc(h, to, p.seed)) return r;
    } else {
        thread_local std::vector<uint8_t> encoded;
        Status s = read_encoded(p, h, encoded, cached_only);
        if (s == kOk && !decode(h, encoded.data(), to)) s = kDamaged;
        if (s != kOk) {
            r.status = s;
            return r;
        }
    }
    r.status = kOk, r.cls = class_of(h), r.subject = h.subject, r.time = time_of(h);
    return r;
}

size_t Index::read_field(const Place &p, size_t field, int64_t id, uint8_t *to, size_t max, bool cached_only) {
    FieldHead h;
    thread_local std::vector<uint8_t> sealed;
    uint8_t *value = to;
    const size_t seal = encoding_.seal;
    if (seal) sealed.resize(max + seal), value = sealed.data();
    iovec parts[2] = {{&h, sizeof h}, {value, max + seal}};
    ssize_t got = read_parts(p.file->fd, parts, 2, p.offset, cached_only);
    if (cached_only && (got < static_cast<ssize_t>(sizeof h) || static_cast<size_t>(got) < sizeof h + h.len))
        return kUncached;
    if (got >= static_cast<ssize_t>(sizeof h)) {
        bytes_read += static_cast<uint64_t>(got);
        if (h.len <= max + seal && static_cast<size_t>(got) >= sizeof h + h.len && h.field == field &&
            h.id == static_cast<uint64_t>(id) && h.crc == field_crc(h, value, p.seed)) {
            if (!seal) return h.len;
            if (h.len > seal && field_decoder && field_decoder(h.field, value, h.len, to)) return h.len - seal;
        }
    }
    ++damaged_fields;
    return 0;
}

void Index::read_many(const int64_t *ids, size_t n, bool hidden, uint8_t *to, int32_t *cls, int32_t *subject,
                      int64_t *time, uint8_t *status) {
    constexpr size_t kBlock = 64;
    Place places[kBlock];
    for (size_t at = 0; at < n; at += kBlock) {
        size_t k = std::min(kBlock, n - at);
        bool known[kBlock];
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (size_t i = 0; i < k; ++i) known[i] = place_locked(ids[at + i], places[i]);
        }
        for (size_t i = at; i < at + k; ++i) {
            Record r;
            if (known[i - at]) r = read(places[i - at], to + i * encoding_.payload);
            bool ok = r.status == kOk;
            cls[i] = ok ? r.cls : -1, subject[i] = ok ? r.subject : -1, time[i] = ok ? r.time : 0, status[i] = r.status;
        }
        std::lock_guard<std::mutex> lock(mutex_);
        for (size_t i = at; i < at + k; ++i) {
            if (status[i] == kOk) cls[i] = catalog_.class_now(ids[i], cls[i]);
            if (status[i] == kOk && !hidden && !catalog_.live(ids[i], cls[i]))
                status[i] = kNotLive, cls[i] = subject[i] = -1, time[i] = 0;
            if (status[i] != kOk) std::memset(to + i * encoding_.payload, 0, encoding_.payload);
        }
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

Index::Copied Index::copy_records(const int64_t *ids, size_t n, int fd, uint64_t at, uint64_t first, uint32_t seed) {
    Copied out;
    out.status.assign(n, kUnknown), out.cls.assign(n, -1), out.subject.assign(n, -1);
    PieceWriter writer(fd, at);
    std::vector<uint8_t> payload;
    for (size_t i = 0; i < n && !writer.error; ++i) {
        Place p;
        RecordHead h;
        if (!place(ids[i], p)) continue;
        out.status[i] = read_encoded(p, h, payload, false);
        if (out.status[i] != kOk) continue;
        h.cls = class_field(class_now(ids[i], class_of(h))); // what was relabelled is written with its class of now
        size_t len = length_of(h);
        if (!encoding_.stored) out.written.offset.push_back(static_cast<uint32_t>(writer.end()));
        uint8_t *to = writer.room(encoding_.stored ? sizeof h + len : variable_stride(len));
        h.rel = static_cast<uint32_t>(static_cast<uint64_t>(ids[i]) - first);
        h.crc = record_crc(h, payload.data(), seed);
        std::memcpy(to, &h, sizeof h);
        std::memcpy(to + sizeof h, payload.data(), len);
        out.status[i] = kOk, out.cls[i] = class_of(h), out.subject[i] = h.subject;
    }
    writer.flush();
    out.written.error = writer.error;
    out.written.end = writer.error ? at : writer.end();
    return out;
}

} // namespace edgecl
