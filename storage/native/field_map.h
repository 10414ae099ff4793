// Where the newest value of a field stands, per id: 4-byte addresses in units of 8 bytes, in pages of 1,024 ids. A page
// whose values stand close together (written in the order of the ids) keeps 2-byte distances instead.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace edgecl {

class FieldMap {
  public:
    static constexpr uint32_t kNone = 0xffffffff;
    uint32_t get(int64_t id) const; // kNone where absent
    void set(int64_t id, uint32_t unit);
    void clear() { pages_.clear(); }
    void drop(uint64_t from, uint64_t to); // forgets addresses in [from, to)
    size_t bytes() const;

  private:
    static constexpr size_t kPage = 1024;
    struct Page {
        std::unique_ptr<uint16_t[]> narrow; // address - base + 1; 0: absent
        std::unique_ptr<uint32_t[]> wide;   // address + 1; 0: absent
        uint32_t base = 0;
        uint32_t get(size_t i) const;
        void set(size_t i, uint32_t unit);
    };
    std::unordered_map<uint32_t, Page> pages_;
};

} // namespace edgecl
