// Writing records: packed into a small buffer that stays in the cache, and written piece by piece.
#pragma once
#include "pack.h"

namespace edgecl {

struct NewRecords {
    size_t n;
    const uint8_t *data;      // encoded samples, one behind the other
    const uint32_t *lengths;  // of each; null: all `length`
    const uint8_t *codecs;    // of each; null: all `codec`
    size_t length;
    uint8_t codec;
    const uint32_t *rel;
    const int32_t *classes, *subjects;
    const int64_t *times;
};

struct Appended {
    uint64_t end;                 // behind the last record; unchanged where a write failed
    int error = 0;                // errno
    std::vector<uint32_t> offset; // of each record, where lengths vary
};

Appended append_records(int fd, uint64_t at, const NewRecords &r, uint32_t seed);

// Collects bytes and writes them in pieces.
class PieceWriter {
  public:
    PieceWriter(int fd, uint64_t at) : fd_(fd), at_(at) { buffer_.reserve(kPiece + (64 << 10)); }
    uint8_t *room(size_t n); // n bytes to fill, zeroed
    bool flush();
    uint64_t end() const { return at_ + buffer_.size(); }
    int error = 0;

  private:
    static constexpr size_t kPiece = 128 << 10;
    int fd_;
    uint64_t at_;
    std::vector<uint8_t> buffer_;
};

} // namespace edgecl
