#include "id_set.h"

namespace edgecl {

void IdSet::clear(size_t expected) {
    size_t n = 64;
    while (n < 2 * expected) n *= 2;
    table_.assign(n, -1);
    holders_.assign(n, 0);
    mask_ = n - 1, size_ = 0;
}

void IdSet::insert(size_t at, int64_t id, uint32_t holders) {
    if (2 * (size_ + 1) > table_.size()) {
        IdSet larger(table_.size());
        for (size_t i = 0; i < table_.size(); ++i)
            if (table_[i] != -1) larger.insert(larger.slot(table_[i]), table_[i], holders_[i]);
        *this = std::move(larger);
        at = slot(id);
    }
    table_[at] = id, holders_[at] = holders, ++size_;
}

bool IdSet::add(int64_t id) {
    size_t i = slot(id);
    if (table_[i] == id) return false;
    insert(i, id, 1);
    return true;
}

void IdSet::hold(int64_t id) {
    size_t i = slot(id);
    if (table_[i] == id) ++holders_[i];
    else insert(i, id, 1);
}

void IdSet::drop(int64_t id) {
    size_t gap = slot(id);
    if (table_[gap] == -1 || --holders_[gap]) return;
    for (size_t i = (gap + 1) & mask_; table_[i] != -1; i = (i + 1) & mask_)
        if (((i - home(table_[i])) & mask_) >= ((i - gap) & mask_)) { // its probe passes the gap: it may move there
            table_[gap] = table_[i], holders_[gap] = holders_[i];
            gap = i;
        }
    table_[gap] = -1, --size_;
}

} // namespace edgecl
