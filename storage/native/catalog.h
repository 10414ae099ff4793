// Which samples are live: ids per class and subject, and the policy that chooses what goes above the capacity.
//
//   class lists   [lo, hi) is live, [keep, lo) is evicted but still on flash because a checkpoint may go back to it,
//                 [hi, end) is hidden (a resumed run has not come to it again yet)
//   late          ids that were given this class (`relabel`) when newer ones of it had been evicted: live, older than all
//                 others of the class, the first to go
//   balanced      the oldest of the largest class goes: the live part of a class is always its newest
//   oldest        the oldest of all goes: likewise
//   reservoir     every id has a pseudo-random key (a bijection of seed and id); those with the smallest keys stay, which
//                 is a uniform draw without replacement of all that were offered, and needs no state but the largest key
//                 that may stay. Evicted ids leave the list; while pinned they wait in `kept_`.
// What is evicted depends on the sequence of ids and classes alone.
#pragma once
#include "field_map.h"
#include "id_list.h"
#include "segments.h"
#include <algorithm>
#include <map>
#include <unordered_map>

namespace edgecl {

enum class Eviction : int { kBalanced = 0, kReservoir = 1, kOldest = 2 };
constexpr int32_t kThreshold = -2; // in a view: the "class" whose value is the reservoir's largest key
constexpr int32_t late_code(int32_t cls) { return -cls - 10; } // in a view: whose value is the first late id of cls

class Catalog {
  public:
    Catalog(Segments *segments, int64_t capacity, Eviction policy, uint64_t seed);

    void add(uint32_t id, int32_t cls, int32_t subject); // ascending within a class; behind the view until `advance`
    void advance(const int32_t *cls, size_t n);          // the next n ids come into view; evicts above the capacity
    void advance_at(const int64_t *id, const int32_t *cls, size_t n); // likewise, those between them not among them
    void skip_to(int64_t id) { next_id = std::max(next_id, id); }     // ids that no record has
    void set_view(int64_t next_id, const int32_t *cls, const int64_t *first_live, size_t n);
    void get_view(std::vector<int32_t> &cls, std::vector<int64_t> &first_live) const;
    void release(const int32_t *cls, const int64_t *before, size_t n); // lets go of evicted records below
    void release_all();
    void remove(int64_t id, int32_t cls, bool unread); // cls < -1: unknown; unread: it is kept on flash
    std::vector<int64_t> relabel(const int64_t *ids, const int32_t *cls, size_t n); // those that were not live
    void mark_relabelled(int64_t id, int32_t cls) { now_.set(id, static_cast<uint32_t>(cls + 1)); }
    int32_t class_now(int64_t id, int32_t recorded) const {
        uint32_t c = now_.get(id);
        return c == FieldMap::kNone ? recorded : static_cast<int32_t>(c) - 1;
    }
    bool evicted_by_key(int64_t id, uint64_t threshold) const { return key(static_cast<uint32_t>(id)) > threshold; }
    std::vector<int64_t> forget(int32_t subject, int64_t below); // as `remove`, for all its ids; those that were here
    void prune_subjects();                // forgets ids of subjects that are no longer on flash

    bool live(int64_t id, int32_t cls) const;
    std::vector<uint8_t> are_live(const int64_t *ids, size_t n) const;
    bool retained(int64_t id) const;
    std::vector<int64_t> retained_between(uint64_t from, uint64_t to) const; // ascending
    std::vector<int32_t> classes() const;
    int64_t count_of(int32_t cls) const;
    int64_t kth(int32_t cls, int64_t k) const;       // of the live ones of a class; -1 beyond
    int64_t kth_of_all(int64_t k) const;             // of all live ones, oldest first
    int64_t rank(int64_t id) const;                  // live ones older than id
    std::vector<int64_t> ids_of_class(int32_t cls) const;
    std::vector<int32_t> subjects() const;
    std::vector<int64_t> ids_of_subject(int32_t subject) const;
    template <class F> void each_live(int32_t cls, F f) const { // f(id), oldest first
        const List *c = find(cls);
        if (!c) return;
        c->late.each(0, c->late.size(), f);
        c->ids.each(c->lo, c->hi, f);
    }
    size_t bytes() const;

    void set_capacity(int64_t n) { capacity_ = n; } // takes effect at the next `advance`
    int64_t next_id = 0, count = 0, evicted = 0;
    bool pinned = false; // evicted records wait for release()

  private:
    struct List {
        int32_t cls;
        IdList ids;
        size_t keep = 0, lo = 0, hi = 0;
        IdList late;
        uint64_t floor = 0, late_floor = 0; // behind what was evicted of `ids`, of `late`
        size_t live() const { return late.size() + hi - lo; }
        uint32_t oldest() const { return late.size() ? late[0] : ids[lo]; }
        bool has_live(uint64_t id) const {
            if (late.has(id)) return true;
            size_t k = ids.lower_bound(id);
            return k >= lo && k < hi && ids[k] == id;
        }
    };
    const List *find(int32_t cls) const;
    size_t place_of(int64_t id, size_t likely) const; // of its list, where it is live; else their number
    List *find(int32_t cls) { return const_cast<List *>(static_cast<const Catalog *>(this)->find(cls)); }
    List &list(int32_t cls);
    uint64_t key(uint32_t id) const;
    void evict();
    void evict_front(List &c);
    void evict_at(List &c, size_t position); // reservoir
    List *largest_key(size_t &position);
    void release_list(List &c, size_t to);
    bool take_live(List &c, uint32_t id); // out of its class, still on flash
    void put_live(List &c, uint32_t id);
    void outlive_unread(const List &c, uint32_t id);
    void view_list(List &c, int64_t first, int64_t first_late);
    std::vector<bool> live_window(uint64_t from, size_t n, bool retained) const;

    Segments *segments_;
    int64_t capacity_;
    Eviction policy_;
    uint64_t seed_, threshold_ = ~uint64_t{0};
    std::vector<List> lists_; // in order of appearance
    std::unordered_map<int32_t, size_t> index_;
    std::map<int32_t, IdList> subjects_;
    size_t subject_ids_ = 0, subject_kept_ = 4096;
    struct Keyed {
        uint64_t key;
        uint32_t id;
        int32_t cls;
        bool operator<(const Keyed &o) const { return key < o.key; }
    };
    std::vector<Keyed> candidates_; // ascending: the live ids with the largest keys, as far as known
    std::unordered_map<uint32_t, Keyed> kept_; // evicted, waiting for release
    // What the device did not give, with its class: it may, another time. live: it was when it was taken out, and nothing
    // newer of its class has been evicted since.
    struct Unread {
        int32_t cls;
        bool live;
    };
    std::unordered_map<uint32_t, Unread> unread_;
    FieldMap now_;                                // classes of relabelled ids, + 1
};

} // namespace edgecl
