#include "catalog.h"
#include <algorithm>

namespace edgecl {
namespace {
constexpr size_t kCandidates = 4096; // largest keys looked for at a time
constexpr size_t kWindow = 1 << 20;  // ids looked at together when subjects are matched with classes

uint64_t mix(uint64_t z) { // splitmix64 (Steele et al. 2014): a bijection, so no two ids share a key
    z *= 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
} // namespace

Catalog::Catalog(Segments *segments, int64_t capacity, Eviction policy, uint64_t seed)
    : segments_(segments), capacity_(capacity), policy_(policy), seed_(mix(seed + 1)) {}

const Catalog::List *Catalog::find(int32_t cls) const {
    auto at = index_.find(cls);
    return at == index_.end() ? nullptr : &lists_[at->second];
}

Catalog::List &Catalog::list(int32_t cls) {
    auto [at, made] = index_.try_emplace(cls, lists_.size());
    if (made) lists_.emplace_back(), lists_.back().cls = cls;
    return lists_[at->second];
}

void Catalog::add(uint32_t id, int32_t cls, int32_t subject) {
    list(cls).ids.push_back(id);
    if (subject >= 0) subjects_[subject].push_back(id), ++subject_ids_;
}

// ---------------------------------------------------------------- eviction
uint64_t Catalog::key(uint32_t id) const { return mix(seed_ + id); }

void Catalog::release_list(List &c, size_t to) {
    c.ids.each(c.keep, to, [&](uint32_t id) { segments_->released(id); });
    c.keep = std::max(c.keep, to);
    if (size_t gone = c.ids.drop_front(c.keep)) c.keep -= gone, c.lo -= gone, c.hi -= gone;
}

void Catalog::evict_front(List &c) {
    --count, ++evicted;
    uint32_t id = c.oldest();
    outlive_unread(c, id);
    if (c.late.size()) {
        c.late.erase(0);
        c.late_floor = id + 1;
        if (pinned) kept_[id] = {key(id), id, c.cls};
        else segments_->released(id);
        return;
    }
    ++c.lo;
    c.floor = id + 1;
    if (!pinned) release_list(c, c.lo);
}

void Catalog::outlive_unread(const List &c, uint32_t id) {
    for (auto &[other, u] : unread_)
        if (u.cls == c.cls && other < id) u.live = false;
}

void Catalog::evict_at(List &c, size_t position) {
    uint32_t id = c.ids[position];
    c.ids.erase(position);
    --c.hi, --count, ++evicted;
    if (pinned) kept_[id] = {key(id), id, c.cls};
    else segments_->released(id);
}

// The live id with the largest key. The next few are remembered: finding them takes a look at every live id.
Catalog::List *Catalog::largest_key(size_t &position) {
    for (;;) {
        if (candidates_.empty()) {
            uint64_t least = 0;
            for (List &c : lists_)
                c.ids.each(c.lo, c.hi, [&](uint32_t id) {
                    uint64_t k = key(id);
                    if (k < least) return;
                    candidates_.push_back({k, id, c.cls});
                    if (candidates_.size() < 2 * kCandidates) return;
                    std::nth_element(candidates_.begin(), candidates_.begin() + kCandidates, candidates_.end());
                    candidates_.erase(candidates_.begin(), candidates_.begin() + kCandidates);
                    least = std::min_element(candidates_.begin(), candidates_.end())->key;
                });
            std::sort(candidates_.begin(), candidates_.end());
            if (candidates_.empty()) return nullptr;
        }
        Keyed top = candidates_.back();
        candidates_.pop_back();
        List *c = find(top.cls);
        if (!c) continue;
        position = c->ids.lower_bound(top.id);
        if (position >= c->lo && position < c->hi && c->ids[position] == top.id) return c; // else: removed meanwhile
    }
}

void Catalog::evict() {
    while (count > capacity_) {
        if (policy_ == Eviction::kReservoir) {
            size_t position;
            List *c = largest_key(position);
            if (!c) return;
            threshold_ = key(c->ids[position]) - 1;
            evict_at(*c, position);
            continue;
        }
        List *best = nullptr;
        for (List &c : lists_) {
            if (!c.live()) continue;
            bool better = !best;
            if (best && policy_ == Eviction::kOldest) better = c.oldest() < best->oldest();
            if (best && policy_ == Eviction::kBalanced)
                better = c.live() > best->live() || (c.live() == best->live() && c.cls < best->cls);
            if (better) best = &c;
        }
        if (!best) return;
        evict_front(*best);
    }
}

void Catalog::advance(const int32_t *cls, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        auto id = static_cast<uint32_t>(next_id++);
        List *c = find(cls[i]);
        if (!c || c->hi >= c->ids.size() || c->ids[c->hi] != id) continue; // damaged: keeps its id but is not live
        ++c->hi, ++count;
        if (policy_ == Eviction::kReservoir) {
            uint64_t k = key(id);
            if (k > threshold_) {
                evict_at(*c, c->hi - 1);
                continue;
            }
            if (!candidates_.empty() && k > candidates_.front().key) {
                Keyed e{k, id, cls[i]};
                candidates_.insert(std::upper_bound(candidates_.begin(), candidates_.end(), e), e);
            }
        }
        evict();
    }
}

void Catalog::advance_at(const int64_t *id, const int32_t *cls, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        if (id[i] < next_id) continue;
        next_id = id[i];
        advance(cls + i, 1);
    }
}

// ---------------------------------------------------------------- the view
void Catalog::set_view(int64_t to, const int32_t *cls, const int64_t *first_live, size_t n) {
    next_id = to;
    count = 0;
    candidates_.clear();
    threshold_ = ~uint64_t{0};
    std::unordered_map<int32_t, int64_t> first;
    for (size_t i = 0; i < n; ++i) first[cls[i]] = first_live[i];
    bool own = (policy_ == Eviction::kReservoir) == (first.count(kThreshold) != 0); // else: another policy made it
    if (own && policy_ == Eviction::kReservoir) threshold_ = static_cast<uint64_t>(first[kThreshold]);
    auto again = std::move(kept_);
    kept_.clear();
    for (const auto &[id, e] : again) list(e.cls).ids.insert(id);
    for (List &c : lists_) {
        auto at = first.find(c.cls), late = first.find(late_code(c.cls));
        // By its keys the reservoir knows what was evicted; an id that was relabelled since then may be before `first`.
        bool keys = own && policy_ == Eviction::kReservoir;
        view_list(c, at == first.end() || keys ? 0 : std::max<int64_t>(0, at->second), late == first.end() ? 0 : late->second);
        count += static_cast<int64_t>(c.live());
        if (!pinned) release_list(c, c.lo);
        while (policy_ == Eviction::kReservoir && c.lo > c.keep) ++count, evict_at(c, --c.lo), --evicted;
        for (size_t k = c.hi; policy_ == Eviction::kReservoir && k-- > c.lo;)
            if (key(c.ids[k]) > threshold_) evict_at(c, k), --evicted;
        if (policy_ == Eviction::kReservoir && c.floor) { // another policy made the view; keys know no late ones
            c.late.each(0, c.late.size(), [&](uint32_t id) { c.ids.insert(id), ++c.hi; });
            c.late = {}, c.floor = c.late_floor = 0;
        }
    }
    if (!own) evict();
}

// Which of a class are live when those before `first` were evicted: of the relabelled ones, those before `first_late`.
void Catalog::view_list(List &c, int64_t first, int64_t first_late) {
    c.floor = static_cast<uint64_t>(first), c.late_floor = static_cast<uint64_t>(std::max<int64_t>(0, first_late));
    IdList late, rest, before = std::move(c.late);
    c.late = {};
    size_t moved = 0, released = 0;
    auto is_late = [&](uint32_t id) { return id < c.floor && id >= c.late_floor && now_.get(id) != FieldMap::kNone; };
    c.ids.each(c.keep, c.ids.size(), [&](uint32_t id) { moved += is_late(id); });
    before.each(0, before.size(), [&](uint32_t id) { moved += is_late(id), released += !is_late(id); });
    if (moved || released) { // both lists anew, in order
        std::vector<uint32_t> all;
        c.ids.each(c.keep, c.ids.size(), [&](uint32_t id) { all.push_back(id); });
        before.each(0, before.size(), [&](uint32_t id) { all.push_back(id); });
        std::sort(all.begin(), all.end());
        for (uint32_t id : all) (is_late(id) ? late : rest).push_back(id);
        c.ids = std::move(rest), c.late = std::move(late), c.keep = 0;
    }
    c.hi = c.ids.lower_bound(static_cast<uint64_t>(next_id));
    c.lo = std::max(c.keep, std::min(c.ids.lower_bound(c.floor), c.hi));
    c.hi = std::max(c.hi, c.lo);
}

void Catalog::get_view(std::vector<int32_t> &cls, std::vector<int64_t> &first_live) const {
    for (const auto &[key, at] : std::map<int32_t, size_t>(index_.begin(), index_.end())) {
        const List &c = lists_[at];
        cls.push_back(key);
        int64_t first = c.lo < c.hi ? c.ids[c.lo] : next_id;
        int64_t late = c.late.size() ? c.late[0] : static_cast<int64_t>(c.late_floor);
        bool any_late = c.late.size() || c.late_floor;
        for (const auto &[id, u] : unread_) {
            if (u.cls != key || !u.live) continue;
            if (id >= c.floor) first = std::min<int64_t>(first, id);
            else late = any_late ? std::min<int64_t>(late, id) : id, any_late = true;
        }
        first_live.push_back(first);
        if (!any_late) continue;
        cls.push_back(late_code(key));
        first_live.push_back(late);
    }
    if (policy_ == Eviction::kReservoir) cls.push_back(kThreshold), first_live.push_back(static_cast<int64_t>(threshold_));
}

void Catalog::release(const int32_t *cls, const int64_t *before, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        if (cls[i] == kThreshold) {
            auto limit = static_cast<uint64_t>(before[i]);
            for (auto e = kept_.begin(); e != kept_.end();) {
                bool gone = e->second.key > limit;
                if (gone) segments_->released(e->first);
                e = gone ? kept_.erase(e) : std::next(e);
            }
        } else if (List *c = find(cls[i])) {
            release_list(*c, std::min(c->ids.lower_bound(static_cast<uint64_t>(before[i])), c->lo));
        }
    }
}

void Catalog::release_all() {
    for (List &c : lists_) release_list(c, c.lo);
    for (const auto &[id, e] : kept_) segments_->released(id);
    kept_.clear();
}

void Catalog::remove(int64_t id, int32_t cls, bool unread) {
    auto gone = [&](int32_t of, bool live) {
        if (unread) unread_[static_cast<uint32_t>(id)] = {of, live};
        else segments_->released(id);
    };
    if (auto at = kept_.find(static_cast<uint32_t>(id)); at != kept_.end()) {
        int32_t of = at->second.cls;
        kept_.erase(at);
        return gone(of, false);
    }
    if (!unread && unread_.erase(static_cast<uint32_t>(id))) return segments_->released(id);
    for (List &c : lists_) {
        if (cls >= -1 && cls != c.cls) continue;
        if (c.late.has(static_cast<uint64_t>(id))) {
            c.late.erase(c.late.lower_bound(static_cast<uint64_t>(id)));
            --count;
            return gone(c.cls, true);
        }
        size_t k = c.ids.lower_bound(static_cast<uint64_t>(id));
        if (k >= c.ids.size() || c.ids[k] != id) continue;
        c.ids.erase(k);
        if (k >= c.keep) gone(c.cls, k >= c.lo && k < c.hi);
        if (k >= c.lo && k < c.hi) --count;
        c.keep -= k < c.keep, c.lo -= k < c.lo, c.hi -= k < c.hi;
        return;
    }
}

// ---------------------------------------------------------------- other classes
size_t Catalog::place_of(int64_t id, size_t likely) const { // neighbours are often of one class
    if (id < 0 || id >= next_id) return lists_.size();
    if (likely < lists_.size() && lists_[likely].has_live(static_cast<uint64_t>(id))) return likely;
    size_t k = 0;
    while (k < lists_.size() && !lists_[k].has_live(static_cast<uint64_t>(id))) ++k;
    return k;
}

std::vector<uint8_t> Catalog::are_live(const int64_t *ids, size_t n) const {
    std::vector<uint8_t> out(n);
    size_t k = 0;
    for (size_t i = 0; i < n; ++i) out[i] = (k = place_of(ids[i], k)) < lists_.size();
    return out;
}

bool Catalog::take_live(List &c, uint32_t id) {
    if (c.late.has(id)) {
        c.late.erase(c.late.lower_bound(id));
        return true;
    }
    size_t k = c.ids.lower_bound(id);
    if (k < c.lo || k >= c.hi || c.ids[k] != id) return false;
    c.ids.erase(k);
    --c.hi;
    return true;
}

void Catalog::put_live(List &c, uint32_t id) {
    if (id < c.floor) {
        c.late.insert(id);
        c.late_floor = std::min<uint64_t>(c.late_floor, id);
        return;
    }
    c.ids.insert(id); // behind what was evicted, before what is hidden: among the live ones
    ++c.hi;
}

std::vector<int64_t> Catalog::relabel(const int64_t *ids, const int32_t *cls, size_t n) {
    std::vector<int64_t> unknown;
    size_t last = 0;
    candidates_.clear(); // they name classes
    for (size_t i = 0; i < n; ++i) {
        auto id = static_cast<uint32_t>(ids[i]);
        size_t k = place_of(ids[i], last);
        if (k == lists_.size()) {
            unknown.push_back(ids[i]);
            continue;
        }
        last = k;
        if (lists_[k].cls == cls[i]) continue;
        take_live(lists_[k], id);
        mark_relabelled(ids[i], cls[i]);
        put_live(list(cls[i]), id);
    }
    return unknown;
}

std::vector<int64_t> Catalog::forget(int32_t subject, int64_t below) {
    std::vector<int64_t> gone;
    auto at = subjects_.find(subject);
    if (at == subjects_.end()) return gone;
    IdList later;
    std::vector<uint32_t> ids;
    at->second.each(0, at->second.size(), [&](uint32_t id) {
        if (id < below) ids.push_back(id);
        else later.push_back(id);
    });
    subject_ids_ -= ids.size();
    if (later.size()) at->second = std::move(later);
    else subjects_.erase(at);
    std::vector<size_t> places;
    for (List &c : lists_) {
        places.clear();
        size_t k = c.keep;
        c.ids.each(c.keep, c.ids.size(), [&](uint32_t id) {
            if (std::binary_search(ids.begin(), ids.end(), id)) places.push_back(k);
            ++k;
        });
        for (size_t i = places.size(); i--;) { // from the back: the places before stay where they are
            size_t p = places[i];
            uint32_t id = c.ids[p];
            c.ids.erase(p);
            segments_->released(id);
            if (p >= c.lo && p < c.hi) --count;
            c.lo -= p < c.lo, c.hi -= p < c.hi;
            gone.push_back(id);
        }
    }
    for (uint32_t id : ids)
        if (kept_.erase(id) || unread_.erase(id)) segments_->released(id), gone.push_back(id);
    for (List &c : lists_)
        for (size_t k = c.late.size(); k--;)
            if (uint32_t id = c.late[k]; std::binary_search(ids.begin(), ids.end(), id))
                c.late.erase(k), --count, segments_->released(id), gone.push_back(id);
    std::sort(gone.begin(), gone.end());
    return gone;
}

// ---------------------------------------------------------------- questions
bool Catalog::live(int64_t id, int32_t cls) const {
    const List *c = find(cls);
    return c && id >= 0 && c->has_live(static_cast<uint64_t>(id));
}

bool Catalog::retained(int64_t id) const {
    for (const List &c : lists_) {
        size_t k = c.ids.lower_bound(static_cast<uint64_t>(id));
        if ((k >= c.keep && k < c.ids.size() && c.ids[k] == id) || c.late.has(static_cast<uint64_t>(id))) return true;
    }
    return kept_.count(static_cast<uint32_t>(id)) || unread_.count(static_cast<uint32_t>(id));
}

std::vector<int64_t> Catalog::retained_between(uint64_t from, uint64_t to) const {
    std::vector<int64_t> out;
    auto add = [&](uint32_t id) { out.push_back(id); };
    for (const List &c : lists_) {
        c.ids.each(std::max(c.keep, c.ids.lower_bound(from)), c.ids.lower_bound(to), add);
        c.late.each(c.late.lower_bound(from), c.late.lower_bound(to), add);
    }
    for (const auto &[id, e] : kept_)
        if (id >= from && id < to) out.push_back(id);
    for (const auto &[id, u] : unread_)
        if (id >= from && id < to) out.push_back(id);
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<int32_t> Catalog::classes() const {
    std::vector<int32_t> out;
    for (const List &c : lists_)
        if (c.live()) out.push_back(c.cls);
    std::sort(out.begin(), out.end());
    return out;
}

int64_t Catalog::count_of(int32_t cls) const {
    const List *c = find(cls);
    return c ? static_cast<int64_t>(c->live()) : 0;
}

int64_t Catalog::kth(int32_t cls, int64_t k) const {
    const List *c = find(cls);
    if (!c || k < 0 || k >= static_cast<int64_t>(c->live())) return -1;
    auto at = static_cast<size_t>(k);
    return at < c->late.size() ? c->late[at] : c->ids[c->lo + at - c->late.size()];
}

int64_t Catalog::rank(int64_t id) const {
    int64_t n = 0;
    for (const List &c : lists_) {
        size_t k = id < 0 ? 0 : c.ids.lower_bound(static_cast<uint64_t>(id));
        n += static_cast<int64_t>(std::min(std::max(k, c.lo), c.hi) - c.lo);
        n += id < 0 ? 0 : static_cast<int64_t>(c.late.lower_bound(static_cast<uint64_t>(id)));
    }
    return n;
}

int64_t Catalog::kth_of_all(int64_t k) const {
    if (k < 0 || k >= count) return -1;
    int64_t low = 0, high = next_id - 1; // the smallest id with more than k live ones up to it
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (rank(mid + 1) > k) high = mid;
        else low = mid + 1;
    }
    return low;
}

std::vector<int64_t> Catalog::ids_of_class(int32_t cls) const {
    std::vector<int64_t> out;
    if (const List *c = find(cls)) out.reserve(c->live());
    each_live(cls, [&](uint32_t id) { out.push_back(id); });
    return out;
}

std::vector<int32_t> Catalog::subjects() const {
    std::vector<int32_t> out;
    for (const auto &[subject, ids] : subjects_) out.push_back(subject);
    return out;
}

std::vector<bool> Catalog::live_window(uint64_t from, size_t n, bool retained) const {
    std::vector<bool> in(n);
    for (const List &c : lists_) {
        size_t low = retained ? c.keep : c.lo, high = retained ? c.ids.size() : c.hi;
        c.ids.each(std::max(low, c.ids.lower_bound(from)), std::min(high, c.ids.lower_bound(from + n)),
                   [&](uint32_t id) { in[id - from] = true; });
        c.late.each(c.late.lower_bound(from), c.late.lower_bound(from + n), [&](uint32_t id) { in[id - from] = true; });
    }
    for (const auto &[id, e] : kept_)
        if (retained && id >= from && id < from + n) in[id - from] = true;
    for (const auto &[id, u] : unread_)
        if (retained && id >= from && id < from + n) in[id - from] = true;
    return in;
}

std::vector<int64_t> Catalog::ids_of_subject(int32_t subject) const {
    std::vector<int64_t> out;
    auto at = subjects_.find(subject);
    if (at == subjects_.end()) return out;
    const IdList &ids = at->second;
    for (size_t k = 0; k < ids.size();) {
        uint64_t from = ids[k];
        size_t end = ids.lower_bound(from + kWindow);
        auto in = live_window(from, static_cast<size_t>(ids[end - 1] - from) + 1, false);
        ids.each(k, end, [&](uint32_t id) {
            if (in[id - from]) out.push_back(id);
        });
        k = end;
    }
    return out;
}

void Catalog::prune_subjects() {
    if (subject_ids_ < 2 * subject_kept_) return;
    std::map<int32_t, IdList> fresh;
    subject_ids_ = 0;
    for (uint64_t from = 0; from < static_cast<uint64_t>(next_id) + kWindow; from += kWindow) {
        std::vector<bool> in;
        for (auto &[subject, ids] : subjects_) {
            size_t a = ids.lower_bound(from), b = ids.lower_bound(from + kWindow);
            if (a == b) continue;
            if (in.empty()) in = live_window(from, kWindow, true);
            ids.each(a, b, [&](uint32_t id) {
                if (in[id - from]) fresh[subject].push_back(id), ++subject_ids_;
            });
        }
    }
    subjects_ = std::move(fresh);
    subject_kept_ = std::max<size_t>(4096, subject_ids_);
}

size_t Catalog::bytes() const {
    size_t n = lists_.capacity() * sizeof(List) + (candidates_.capacity() + kept_.size()) * sizeof(Keyed);
    for (const List &c : lists_) n += c.ids.bytes() + c.late.bytes();
    n += now_.bytes() + unread_.size() * 32;
    for (const auto &[k, s] : subjects_) n += s.bytes();
    return n;
}

} // namespace edgecl
