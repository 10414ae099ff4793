// Layout of records on flash (little-endian), packing and scanning.
//
//   sample record  RecordHead, then the encoded sample. With a codec of fixed length (raw, int8) all records of a segment
//                  have one length; with the others each begins at a multiple of 8, and the footer lists where
//   field record   FieldHead, then `len` bytes, zero-padded to a multiple of 8
// The checksum covers everything behind it and starts from the segment's seed (the checksum of its header, which
// holds the store's id and the segment's number), so bytes left over from another segment never pass.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecl {

struct RecordHead {
    uint32_t crc;
    uint32_t len_flags; // payload bytes in the low 24 bits, codec in the high 8 (0 = raw)
    uint32_t rel;       // id minus the segment's first id
    uint16_t cls;       // 0xffff = none
    uint16_t time_lo;   // milliseconds since the epoch, 48 bits signed
    uint32_t time_hi;
    int32_t subject;    // -1 = none
};
static_assert(sizeof(RecordHead) == 24, "the record header is part of the file format");

struct FieldHead {
    uint32_t crc;
    uint16_t len;
    uint8_t field, version;
    uint64_t id;
};
static_assert(sizeof(FieldHead) == 16, "the field header is part of the file format");

inline int32_t class_of(const RecordHead &h) { return h.cls == 0xffff ? -1 : h.cls; }
inline uint16_t class_field(int32_t cls) { return cls < 0 ? 0xffff : static_cast<uint16_t>(cls); }
inline int64_t time_of(const RecordHead &h) {
    return static_cast<int64_t>(static_cast<int32_t>(h.time_hi)) * 65536 + h.time_lo;
}
uint32_t record_crc(const RecordHead &h, const void *payload, uint32_t seed);
uint32_t field_crc(const FieldHead &h, const void *payload, uint32_t seed);

enum Codec : uint8_t { kRaw = 0, kZstd = 1, kPng = 2, kJpeg = 3, kInt8 = 4 };
inline uint32_t length_of(const RecordHead &h) { return h.len_flags & 0xffffff; }
inline uint8_t codec_of(const RecordHead &h) { return static_cast<uint8_t>(h.len_flags >> 24); }
inline size_t variable_stride(size_t len) { return (sizeof(RecordHead) + len + 7) / 8 * 8; }

void pack_fields(uint8_t *out, const uint8_t *values, size_t n, size_t len, uint8_t field, uint8_t version,
                 const int64_t *ids, uint32_t seed);
inline size_t field_stride(size_t len) { return (sizeof(FieldHead) + len + 7) / 8 * 8; }

struct SampleScan {
    std::vector<uint8_t> ok;
    std::vector<uint32_t> rel, offset; // offset: variable records only
    std::vector<int32_t> cls, subject;
    uint64_t end = 0;    // behind the last sound record
    uint64_t unread = 0; // bytes the device did not give: what stands there is unknown, not damaged
};
// Reads records from `offset` to `end`; what cannot be read counts as not sound.
SampleScan scan_samples(int fd, uint64_t offset, uint64_t end, size_t payload, uint32_t seed);
// The same for records of variable length: only sound ones are listed, in order; what lies between is skipped.
SampleScan scan_variable(int fd, uint64_t offset, uint64_t end, size_t payload, uint32_t seed);

struct FieldScan {
    std::vector<uint32_t> offset;
    std::vector<uint8_t> field;
    std::vector<uint16_t> len;
    std::vector<int64_t> id;
    uint64_t sound_end = 0, damaged_bytes = 0; // end of the last sound record; bytes skipped before it
    uint64_t unread = 0;                       // bytes the device did not give
};
FieldScan scan_fields(int fd, uint64_t offset, uint64_t end, uint32_t seed);

// pread until `n` bytes came; false on an error (errno says which) or the end of the file (errno is 0).
bool read_all(int fd, void *to, size_t n, uint64_t offset);

} // namespace edgecl
