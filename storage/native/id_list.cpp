#include "id_list.h"
#include <algorithm>
#include <cstring>

namespace edgecl {

IdList::Chunk IdList::make(const uint32_t *ids, size_t n, bool open) {
    Chunk c;
    c.first = ids[0], c.n = static_cast<uint16_t>(n);
    c.narrow = !open && ids[n - 1] - ids[0] <= 0xffff;
    size_t room = n; // an open chunk grows by half, so that many short lists stay short
    if (open) room = std::min(kChunk, std::max<size_t>(8, n + n / 2));
    c.room = static_cast<uint16_t>(room);
    c.data.reset(new uint8_t[room * (c.narrow ? 2 : 4)]);
    if (c.narrow)
        for (size_t i = 0; i < n; ++i) reinterpret_cast<uint16_t *>(c.data.get())[i] = static_cast<uint16_t>(ids[i] - ids[0]);
    else
        std::memcpy(c.data.get(), ids, 4 * n);
    return c;
}

void IdList::unpack(const Chunk &c, uint32_t *to) {
    for (size_t i = 0; i < c.n; ++i) to[i] = c.at(i);
}

size_t IdList::chunk_of(size_t k) const {
    size_t c = std::min(k / kChunk, chunks_.size() - 1);
    if (starts_[c] <= k && k - starts_[c] < chunks_[c].n) return c;
    return static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), k) - starts_.begin()) - 1;
}

uint32_t IdList::operator[](size_t k) const {
    size_t c = chunk_of(k);
    return chunks_[c].at(k - starts_[c]);
}

void IdList::push_back(uint32_t id) {
    if (size() && id <= last_) return insert(id); // two files that say they hold the same ids: the order holds
    append(id);
}

void IdList::append(uint32_t id) {
    last_ = id;
    uint32_t ids[kChunk];
    if (chunks_.empty() || chunks_.back().n >= kChunk || (chunks_.back().narrow && id - chunks_.back().first > 0xffff)) {
        size_t at = size();
        if (chunks_.size() == chunks_.capacity()) { // doubling would leave half of a long list's table unused
            size_t room = chunks_.size() + chunks_.size() / 4 + 4;
            chunks_.reserve(room), starts_.reserve(room);
        }
        starts_.push_back(static_cast<uint32_t>(at));
        chunks_.push_back(make(&id, 1, true));
        return;
    }
    Chunk &c = chunks_.back();
    if (c.narrow || c.n == c.room) {
        unpack(c, ids);
        ids[c.n] = id;
        size_t n = c.n + 1u;
        chunks_.back() = make(ids, n, n < kChunk);
        return;
    }
    reinterpret_cast<uint32_t *>(c.data.get())[c.n++] = id;
    if (c.n == kChunk) {
        unpack(c, ids);
        chunks_.back() = make(ids, kChunk, false);
    }
}

size_t IdList::lower_bound(uint64_t id) const {
    auto at = std::lower_bound(chunks_.begin(), chunks_.end(), id, [](const Chunk &c, uint64_t x) { return c.first < x; });
    if (at == chunks_.begin()) return 0;
    auto c = static_cast<size_t>(at - chunks_.begin()) - 1; // the only chunk that may hold ids on both sides
    size_t low = 0, high = chunks_[c].n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (chunks_[c].at(mid) < id) low = mid + 1;
        else high = mid;
    }
    return starts_[c] + low;
}

bool IdList::has(uint64_t id) const {
    size_t k = lower_bound(id);
    return k < size() && (*this)[k] == id;
}

void IdList::shift(size_t from, int by) {
    for (size_t i = from; i < starts_.size(); ++i) starts_[i] = static_cast<uint32_t>(static_cast<int>(starts_[i]) + by);
}

void IdList::replace(size_t c, const uint32_t *ids, size_t n) {
    bool last = c + 1 == chunks_.size();
    int change = static_cast<int>(n) - chunks_[c].n;
    if (n == 0) {
        chunks_.erase(chunks_.begin() + static_cast<long>(c));
        starts_.erase(starts_.begin() + static_cast<long>(c));
        shift(c, change);
        return;
    }
    if (n > kChunk) {
        chunks_[c] = make(ids, n / 2, false);
        chunks_.insert(chunks_.begin() + static_cast<long>(c) + 1, make(ids + n / 2, n - n / 2, last));
        starts_.insert(starts_.begin() + static_cast<long>(c) + 1, starts_[c] + static_cast<uint32_t>(n / 2));
        shift(c + 2, change);
        return;
    }
    chunks_[c] = make(ids, n, last);
    shift(c + 1, change);
}

void IdList::erase(size_t k) {
    uint32_t ids[2 * kChunk];
    size_t c = chunk_of(k);
    unpack(chunks_[c], ids);
    size_t n = chunks_[c].n - 1u, i = k - starts_[c];
    std::memmove(ids + i, ids + i + 1, 4 * (n - i));
    if (c + 1 < chunks_.size() && n && n + chunks_[c + 1].n <= kChunk / 2) { // thinned out: join with the next
        unpack(chunks_[c + 1], ids + n);
        size_t joined = n + chunks_[c + 1].n;
        replace(c + 1, ids, 0);
        replace(c, ids, joined);
        return;
    }
    replace(c, ids, n);
}

void IdList::insert(uint32_t id) {
    size_t k = lower_bound(id);
    if (k == size()) return append(id);
    if ((*this)[k] == id) return;
    uint32_t ids[kChunk + 1];
    size_t c = chunk_of(k);
    unpack(chunks_[c], ids);
    size_t n = chunks_[c].n, i = k - starts_[c];
    std::memmove(ids + i + 1, ids + i, 4 * (n - i));
    ids[i] = id;
    replace(c, ids, n + 1);
}

size_t IdList::drop_front(size_t n) {
    size_t c = 0;
    while (c + 1 < chunks_.size() && starts_[c + 1] <= n) ++c;
    if (!c) return 0;
    size_t gone = starts_[c];
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<long>(c));
    starts_.erase(starts_.begin(), starts_.begin() + static_cast<long>(c));
    shift(0, -static_cast<int>(gone));
    return gone;
}

size_t IdList::bytes() const {
    size_t n = chunks_.capacity() * sizeof(Chunk) + starts_.capacity() * 4;
    for (const Chunk &c : chunks_) n += c.room * (c.narrow ? 2u : 4u) + 16;
    return n;
}

} // namespace edgecl
