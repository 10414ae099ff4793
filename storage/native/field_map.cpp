#include "field_map.h"
#include <vector>

namespace edgecl {

uint32_t FieldMap::Page::get(size_t i) const {
    if (narrow) return narrow[i] ? base + narrow[i] - 1 : kNone;
    return wide && wide[i] ? wide[i] - 1 : kNone;
}

void FieldMap::Page::set(size_t i, uint32_t unit) {
    if (!narrow && !wide) narrow.reset(new uint16_t[kPage]()), base = unit;
    if (narrow && unit >= base && unit - base < 0xffff) {
        narrow[i] = static_cast<uint16_t>(unit - base + 1);
        return;
    }
    if (narrow) {
        std::unique_ptr<uint32_t[]> more(new uint32_t[kPage]());
        for (size_t k = 0; k < kPage; ++k)
            if (narrow[k]) more[k] = base + narrow[k];
        wide = std::move(more);
        narrow.reset();
    }
    wide[i] = unit + 1;
}

uint32_t FieldMap::get(int64_t id) const {
    if (id < 0) return kNone;
    auto at = pages_.find(static_cast<uint32_t>(static_cast<uint64_t>(id) / kPage));
    return at == pages_.end() ? kNone : at->second.get(static_cast<uint64_t>(id) % kPage);
}

void FieldMap::set(int64_t id, uint32_t unit) {
    if (id < 0) return;
    pages_[static_cast<uint32_t>(static_cast<uint64_t>(id) / kPage)].set(static_cast<uint64_t>(id) % kPage, unit);
}

void FieldMap::drop(uint64_t from, uint64_t to) {
    std::vector<uint32_t> empty;
    for (auto &[key, page] : pages_) {
        bool any = false;
        for (size_t i = 0; i < kPage; ++i) {
            uint32_t unit = page.get(i);
            if (unit == kNone) continue;
            if (unit < from || unit >= to) any = true;
            else if (page.narrow) page.narrow[i] = 0;
            else page.wide[i] = 0;
        }
        if (!any) empty.push_back(key);
    }
    for (uint32_t key : empty) pages_.erase(key);
}

size_t FieldMap::bytes() const {
    size_t n = 0;
    for (auto &[key, page] : pages_) n += sizeof page + 48 + (page.narrow ? 2 * kPage : 0) + (page.wide ? 4 * kPage : 0);
    return n;
}

} // namespace edgecl
