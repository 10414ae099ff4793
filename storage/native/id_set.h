// Ids that must not be drawn, each with the number of its holders (a sample may sit in two slots).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecl {

// Open addressing with linear probing; removal closes the gap, so probes stay short for ever.
class IdSet {
  public:
    explicit IdSet(size_t expected = 0) { clear(expected); }
    void clear(size_t expected = 0);
    bool add(int64_t id);  // held once from now on; false when it was held already (its holders stay as many)
    void hold(int64_t id); // one more holder
    void drop(int64_t id); // one holder less
    bool has(int64_t id) const { return table_[slot(id)] == id; }
    size_t size() const { return size_; }

  private:
    size_t home(int64_t id) const { return static_cast<uint64_t>(id) * 0x9e3779b97f4a7c15ull >> 20 & mask_; }
    size_t slot(int64_t id) const {
        size_t i = home(id);
        while (table_[i] != -1 && table_[i] != id) i = (i + 1) & mask_;
        return i;
    }
    void insert(size_t at, int64_t id, uint32_t holders);
    std::vector<int64_t> table_;
    std::vector<uint32_t> holders_;
    size_t mask_ = 0, size_ = 0;
};

} // namespace edgecl
