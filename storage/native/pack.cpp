#include "pack.h"
#include "crc32c.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace edgecl {

uint32_t record_crc(const RecordHead &h, const void *payload, uint32_t seed) {
    uint32_t c = crc32c(reinterpret_cast<const char *>(&h) + 4, sizeof h - 4, seed);
    return crc32c(payload, length_of(h), c);
}

uint32_t field_crc(const FieldHead &h, const void *payload, uint32_t seed) {
    uint32_t c = crc32c(reinterpret_cast<const char *>(&h) + 4, sizeof h - 4, seed);
    return crc32c(payload, h.len, c);
}

void pack_fields(uint8_t *out, const uint8_t *values, size_t n, size_t len, uint8_t field, uint8_t version,
                 const int64_t *ids, uint32_t seed) {
    size_t stride = field_stride(len);
    for (size_t i = 0; i < n; ++i, out += stride, values += len) {
        FieldHead h{0, static_cast<uint16_t>(len), field, version, static_cast<uint64_t>(ids[i])};
        h.crc = field_crc(h, values, seed);
        std::memset(out, 0, stride);
        std::memcpy(out, &h, sizeof h);
        std::memcpy(out + sizeof h, values, len);
    }
}

bool read_all(int fd, void *to, size_t n, uint64_t offset) {
    char *p = static_cast<char *>(to);
    while (n) {
        ssize_t got = pread(fd, p, n, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return false;
        p += got, n -= static_cast<size_t>(got), offset += static_cast<uint64_t>(got);
    }
    return true;
}

SampleScan scan_samples(int fd, uint64_t offset, uint64_t end, size_t payload, uint32_t seed) {
    size_t stride = sizeof(RecordHead) + payload;
    size_t n = end > offset ? (end - offset) / stride : 0;
    SampleScan s;
    s.ok.assign(n, 0), s.rel.assign(n, 0), s.cls.assign(n, -1), s.subject.assign(n, -1);
    size_t per = std::min(n, std::max<size_t>(1, (256 << 10) / stride)); // no more than is there, whatever a header says
    std::vector<uint8_t> buffer(per * stride);
    for (size_t i = 0; i < n; i += per) {
        size_t k = std::min(per, n - i);
        if (!read_all(fd, buffer.data(), k * stride, offset + i * stride)) {
            // A bad block somewhere in the chunk: find the records that can still be read one by one.
            for (size_t j = 0; j < k; ++j)
                if (!read_all(fd, &buffer[j * stride], stride, offset + (i + j) * stride)) {
                    s.unread += errno ? stride : 0;
                    std::memset(&buffer[j * stride], 0xff, stride);
                }
        }
        for (size_t j = 0; j < k; ++j) {
            RecordHead h;
            std::memcpy(&h, &buffer[j * stride], sizeof h);
            s.rel[i + j] = h.rel, s.cls[i + j] = class_of(h), s.subject[i + j] = h.subject;
            s.ok[i + j] =
                length_of(h) == payload && h.crc == record_crc(h, &buffer[j * stride + sizeof h], seed);
        }
    }
    return s;
}

SampleScan scan_variable(int fd, uint64_t offset, uint64_t end, size_t payload, uint32_t seed) {
    SampleScan s;
    s.end = offset;
    const size_t most = variable_stride(payload), chunk = std::max<size_t>(256 << 10, 2 * most);
    std::vector<uint8_t> buffer;
    uint64_t base = offset;
    auto fill = [&](uint64_t from) {
        base = from;
        buffer.resize(std::min<uint64_t>(chunk, end - from));
        if (!read_all(fd, buffer.data(), buffer.size(), base))
            for (size_t i = 0; i < buffer.size(); i += 512)
                if (size_t n = std::min<size_t>(512, buffer.size() - i); !read_all(fd, &buffer[i], n, base + i)) {
                    s.unread += errno ? n : 0;
                    std::memset(&buffer[i], 0xff, n);
                }
    };
    int64_t last = -1;
    for (uint64_t at = offset; at + sizeof(RecordHead) <= end;) {
        if (buffer.empty() || (at + most > base + buffer.size() && base + buffer.size() < end)) fill(at);
        RecordHead h;
        std::memcpy(&h, &buffer[at - base], sizeof h);
        uint32_t len = length_of(h);
        // The id must go on from the last one: that is cheap to see, and it keeps the search behind damage short.
        if (len <= payload && h.rel > last && at + sizeof h + len <= end &&
            h.crc == record_crc(h, &buffer[at - base + sizeof h], seed)) {
            s.ok.push_back(1), s.rel.push_back(h.rel), s.cls.push_back(class_of(h)), s.subject.push_back(h.subject);
            s.offset.push_back(static_cast<uint32_t>(at));
            last = h.rel;
            at += variable_stride(len);
            s.end = at;
        } else {
            at += 8;
        }
    }
    return s;
}

FieldScan scan_fields(int fd, uint64_t offset, uint64_t end, uint32_t seed) {
    FieldScan s;
    s.sound_end = offset;
    std::vector<uint8_t> buffer;
    constexpr size_t kChunk = 256 << 10, kMax = sizeof(FieldHead) + 0x10000;
    uint64_t base = offset, at = offset, skipped = 0;
    auto fill = [&](uint64_t from) {
        base = from;
        buffer.resize(std::min<uint64_t>(kChunk, end - from));
        if (!read_all(fd, buffer.data(), buffer.size(), base))
            for (size_t i = 0; i < buffer.size(); i += 512)
                if (size_t n = std::min<size_t>(512, buffer.size() - i); !read_all(fd, &buffer[i], n, base + i)) {
                    s.unread += errno ? n : 0;
                    std::memset(&buffer[i], 0, n);
                }
    };
    while (at + sizeof(FieldHead) <= end) {
        if (at < base || at + kMax > base + buffer.size()) {
            if (buffer.empty() || (base + buffer.size() < end)) fill(at);
        }
        FieldHead h;
        std::memcpy(&h, &buffer[at - base], sizeof h);
        size_t stride = field_stride(h.len);
        if (h.len && at + stride <= end && h.crc == field_crc(h, &buffer[at - base + sizeof h], seed)) {
            s.damaged_bytes += skipped, skipped = 0;
            s.offset.push_back(static_cast<uint32_t>(at));
            s.field.push_back(h.field), s.len.push_back(h.len);
            s.id.push_back(static_cast<int64_t>(h.id));
            at += stride;
            s.sound_end = at;
        } else {
            at += 8, skipped += 8; // records start at multiples of 8: look for the next sound one
        }
    }
    return s;
}

} // namespace edgecl
