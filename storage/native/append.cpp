#include "append.h"
#include <cerrno>
#include <cstring>
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

Appended append_records(int fd, uint64_t at, const NewRecords &r, uint32_t seed) {
    Appended out{at, 0, {}};
    PieceWriter writer(fd, at);
    const uint8_t *from = r.data;
    for (size_t i = 0; i < r.n && !writer.error; ++i) {
        size_t len = r.lengths ? r.lengths[i] : r.length;
        if (r.lengths) out.offset.push_back(static_cast<uint32_t>(writer.end()));
        uint8_t *to = writer.room(r.lengths ? variable_stride(len) : sizeof(RecordHead) + len);
        RecordHead h;
        h.len_flags = static_cast<uint32_t>(len) | static_cast<uint32_t>(r.codecs ? r.codecs[i] : r.codec) << 24;
        h.rel = r.rel[i];
        h.cls = r.classes[i] < 0 ? 0xffff : static_cast<uint16_t>(r.classes[i]);
        h.time_lo = static_cast<uint16_t>(r.times[i]);
        h.time_hi = static_cast<uint32_t>(r.times[i] >> 16);
        h.subject = r.subjects[i];
        h.crc = record_crc(h, from, seed);
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
