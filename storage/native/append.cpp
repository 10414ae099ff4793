#include "append.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/uio.h>
#include <unistd.h>

namespace edgecl {

uint8_t *PieceWriter::room(size_t n) {
    if (buffer_.size() + n > kPiece) flush();
    size_t at = buffer_.size();
    buffer_.resize(at + n);
    return buffer_.data() + at;
}

bool PieceWriter::flush() {
    const uint8_t *p = buffer_.data();
    for (size_t left = buffer_.size(); left && !error;) {
        ssize_t n = pwrite(fd_, p, left, static_cast<off_t>(at_));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            error = n < 0 ? errno : ENOSPC;
            break;
        }
        p += n, left -= static_cast<size_t>(n), at_ += static_cast<uint64_t>(n);
    }
    buffer_.clear();
    return !error;
}

namespace {
void fill_head(RecordHead &h, const NewRecords &r, size_t i, size_t len, const uint8_t *from, uint32_t seed) {
    h.len_flags = static_cast<uint32_t>(len) | static_cast<uint32_t>(r.codecs ? r.codecs[i] : r.codec) << 24;
    h.rel = r.rel[i];
    h.cls = class_field(r.classes[i]);
    h.time_lo = static_cast<uint16_t>(r.times[i]);
    h.time_hi = static_cast<uint32_t>(r.times[i] >> 16);
    h.subject = r.subjects[i];
    h.crc = record_crc(h, from, seed);
}

// Large records of one length go from where they are: a copy would cost more than the longer list of parts.
Appended append_in_place(int fd, uint64_t at, const NewRecords &r, uint32_t seed) {
    constexpr size_t kAtOnce = 256; // one call: the kernel takes a lock and a new page range with each
    RecordHead heads[kAtOnce];
    iovec parts[2 * kAtOnce];
    Appended out{at, 0, {}};
    uint64_t end = at;
    for (size_t i = 0; i < r.n; i += kAtOnce) {
        size_t k = std::min(kAtOnce, r.n - i);
        for (size_t j = 0; j < k; ++j) {
            const uint8_t *from = r.data + (i + j) * r.length;
            fill_head(heads[j], r, i + j, r.length, from, seed);
            parts[2 * j] = {&heads[j], sizeof(RecordHead)};
            parts[2 * j + 1] = {const_cast<uint8_t *>(from), r.length};
        }
        iovec *p = parts;
        for (size_t left = 2 * k; left;) {
            ssize_t n = pwritev(fd, p, static_cast<int>(left), static_cast<off_t>(end));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                out.error = n < 0 ? errno : ENOSPC;
                return out;
            }
            end += static_cast<uint64_t>(n);
            auto done = static_cast<size_t>(n);
            for (; left && done >= p->iov_len; --left, ++p) done -= p->iov_len;
            if (left) p->iov_base = static_cast<char *>(p->iov_base) + done, p->iov_len -= done;
        }
    }
    out.end = end;
    return out;
}
} // namespace

Appended append_records(int fd, uint64_t at, const NewRecords &r, uint32_t seed) {
    if (!r.lengths && r.length >= 1024) return append_in_place(fd, at, r, seed);
    Appended out{at, 0, {}};
    PieceWriter writer(fd, at);
    const uint8_t *from = r.data;
    for (size_t i = 0; i < r.n && !writer.error; ++i) {
        size_t len = r.lengths ? r.lengths[i] : r.length;
        if (r.lengths) out.offset.push_back(static_cast<uint32_t>(writer.end()));
        uint8_t *to = writer.room(r.lengths ? variable_stride(len) : sizeof(RecordHead) + len);
        RecordHead h;
        fill_head(h, r, i, len, from, seed);
        std::memcpy(to, &h, sizeof h);
        std::memcpy(to + sizeof h, from, len);
        from += len;
    }
    writer.flush();
    out.error = writer.error;
    if (!out.error) out.end = writer.end();
    return out;
}

} // namespace edgecl
