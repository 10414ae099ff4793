#include "segments.h"
#include <algorithm>

namespace edgecl {

void Segments::add(Segment s) {
    if (all_.size() == all_.capacity()) all_.reserve(all_.size() + all_.size() / 4 + 8);
    auto at = std::upper_bound(all_.begin(), all_.end(), s.first_id,
                               [](uint64_t id, const Segment &x) { return id < x.first_id; });
    all_.insert(at, std::move(s));
}

void Segments::remove(const std::vector<uint32_t> &nos) {
    auto gone = [&](const Segment &s) { return std::find(nos.begin(), nos.end(), s.no) != nos.end(); };
    all_.erase(std::remove_if(all_.begin(), all_.end(), gone), all_.end());
}

Segment *Segments::by_number(uint32_t no) {
    if (last_ < all_.size() && all_[last_].no == no) return &all_[last_];
    for (last_ = 0; last_ < all_.size(); ++last_)
        if (all_[last_].no == no) return &all_[last_];
    return nullptr;
}

Segment *Segments::find(int64_t id, uint32_t &position) {
    auto at = std::upper_bound(all_.begin(), all_.end(), static_cast<uint64_t>(id),
                               [](uint64_t x, const Segment &s) { return x < s.first_id; });
    if (id < 0 || at == all_.begin()) return nullptr;
    Segment &s = *(at - 1);
    uint64_t rel = static_cast<uint64_t>(id) - s.first_id;
    if (!s.sparse) {
        position = static_cast<uint32_t>(rel);
        return rel < s.count ? &s : nullptr;
    }
    size_t k = s.rel.lower_bound(rel);
    position = static_cast<uint32_t>(k);
    return k < s.rel.size() && s.rel[k] == rel ? &s : nullptr;
}

void Segments::released(int64_t id) {
    uint32_t position;
    Segment *s = find(id, position);
    if (s && s->retained) --s->retained;
}

size_t Segments::bytes() const {
    size_t n = all_.capacity() * sizeof(Segment);
    for (const Segment &s : all_) n += s.rel.bytes() + s.offsets.capacity() * 4;
    return n;
}

} // namespace edgecl
