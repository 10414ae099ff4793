// Which slots of a memory are occupied: the k-th of them is found without a look at each.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecl {

class SlotSet {
  public:
    explicit SlotSet(size_t n) : n_(n), bits_((n + 63) / 64, 0), counts_((n + kBlock - 1) / kBlock, 0) {}
    size_t size() const { return n_; }
    size_t count() const { return count_; }
    bool has(size_t s) const { return bits_[s / 64] >> (s % 64) & 1; }
    void set(size_t s, bool occupied) {
        if (has(s) == occupied) return;
        bits_[s / 64] ^= uint64_t{1} << (s % 64);
        counts_[s / kBlock] += occupied ? 1 : -1, count_ += occupied ? 1 : size_t(-1);
    }
    size_t kth(size_t k) const { return find(k, true); }      // of the occupied ones; k < count()
    size_t kth_free(size_t k) const { return find(k, false); } // k < size() - count()

  private:
    static constexpr size_t kBlock = 1024;
    size_t find(size_t k, bool occupied) const {
        size_t b = 0;
        for (;; ++b) {
            size_t in = std::min(kBlock, n_ - b * kBlock), here = static_cast<size_t>(counts_[b]);
            if (!occupied) here = in - here;
            if (k < here) break;
            k -= here;
        }
        for (size_t w = b * kBlock / 64;; ++w) {
            uint64_t word = occupied ? bits_[w] : ~bits_[w]; // slots behind the last are never reached: k is too small
            auto here = static_cast<size_t>(__builtin_popcountll(word));
            if (k >= here) {
                k -= here;
                continue;
            }
            while (k--) word &= word - 1;
            return w * 64 + static_cast<size_t>(__builtin_ctzll(word));
        }
    }
    size_t n_, count_ = 0;
    std::vector<uint64_t> bits_;
    std::vector<int32_t> counts_; // of each block
};

} // namespace edgecl
