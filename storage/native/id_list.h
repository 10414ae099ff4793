// Ascending 4-byte ids in chunks of up to 256, kept as 2-byte distances from the chunk's first id where they fit (which is
// wherever fewer than 256 ids lie between neighbours on average). No slack beyond the last chunk, so a million ids take
// 2 to 4 MB; the k-th is found by arithmetic while chunks are full and by one binary search once some are not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace edgecl {

class IdList {
  public:
    size_t size() const { return starts_.empty() ? 0 : starts_.back() + chunks_.back().n; }
    uint32_t operator[](size_t k) const;
    void push_back(uint32_t id);           // quick where it is larger than every id that was ever in it
    void insert(uint32_t id);              // anywhere; nothing when it is there
    size_t lower_bound(uint64_t id) const; // how many are smaller
    bool has(uint64_t id) const;
    void erase(size_t k);
    size_t drop_front(size_t n); // removes whole chunks among the first n; how many ids that were
    size_t bytes() const;
    template <class F> void each(size_t from, size_t to, F f) const { // f(id) for positions [from, to)
        if (from >= to) return;
        size_t c = chunk_of(from);
        for (size_t k = from; k < to; ++c) {
            const Chunk &x = chunks_[c];
            for (size_t i = k - starts_[c]; i < x.n && k < to; ++i, ++k) f(x.at(i));
        }
    }

  private:
    static constexpr size_t kChunk = 256;
    struct Chunk {
        std::unique_ptr<uint8_t[]> data;
        uint32_t first;
        uint16_t n, room; // room: ids the allocation holds
        bool narrow;
        uint32_t at(size_t i) const {
            return narrow ? first + reinterpret_cast<const uint16_t *>(data.get())[i]
                          : reinterpret_cast<const uint32_t *>(data.get())[i];
        }
    };
    static Chunk make(const uint32_t *ids, size_t n, bool open);
    void append(uint32_t id); // larger than every id in it
    static void unpack(const Chunk &c, uint32_t *to);
    size_t chunk_of(size_t k) const;
    void shift(size_t from, int by);
    void replace(size_t c, const uint32_t *ids, size_t n); // chunk c holds these now; may split or vanish

    uint32_t last_ = 0; // the largest id that was ever in it
    std::vector<Chunk> chunks_;
    std::vector<uint32_t> starts_; // position of each chunk's first id
};

} // namespace edgecl
