// The mover's side towards the training thread: draws, slots, saved state.
#include "mover.h"
#include <algorithm>
#include <cstring>

namespace edgecl {

// The set of ids that must not be drawn lives on from step to step; it is made anew when somebody else changed the
// memory, which counts its edits.
void Mover::know(const Slots &m) {
    if (known_ == m.serial && edits_ == *m.edits) return;
    known_ = m.serial, edits_ = *m.edits;
    taken_.clear(m.n + queue_);
    busy_.assign(m.n, 0);
    for (size_t s = 0; s < m.n; ++s)
        if (m.ids[s] >= 0) taken_.hold(m.ids[s]);
    for (Job *j : pending_) {
        taken_.hold(j->id);
        if (j->slot >= 0 && j->slot < static_cast<int64_t>(m.n)) busy_[static_cast<size_t>(j->slot)] = 1;
    }
}

Mover::Asked Mover::request(int64_t due, const int64_t *slots, size_t n, const uint64_t *candidates, size_t tries,
                            const Slots &m) {
    Asked asked;
    know(m);
    ids_.resize(n);
    classes_.assign(n, -2); // -2: no such class, nothing is drawn
    for (size_t i = 0; i < n; ++i) {
        if (slots[i] < 0 || slots[i] >= static_cast<int64_t>(m.n)) continue;
        auto s = static_cast<size_t>(slots[i]);
        if (m.classes[s] < 0 || busy_[s]) continue;
        busy_[s] = 1;
        classes_[i] = m.classes[s];
    }
    index_->draw(classes_.data(), n, candidates, tries, taken_, ids_.data());
    for (size_t i = 0; i < n; ++i) {
        auto s = static_cast<size_t>(slots[i]);
        if (ids_[i] < 0) {
            ++counters.skipped;
            if (classes_[i] >= 0) busy_[s] = 0;
            continue;
        }
        if (pending_.size() >= queue_) { // depends on requests and steps only, so it is the same in every run
            ++asked.full;
            taken_.drop(ids_[i]);
            busy_[s] = 0;
            continue;
        }
        Job *j = take_free();
        j->due = due, j->slot = slots[i], j->id = ids_[i], j->cls = m.classes[s], j->version = m.versions[s];
        j->drawn = true;
        for (size_t f = 0; f < field_bytes_.size(); ++f)
            if (!index_->place_field(f, j->id, j->fields[f])) j->fields[f].file.reset();
        queue(j);
        ++asked.accepted;
    }
    publish();
    prefetch();
    counters.requested += asked.accepted + asked.full;
    counters.dropped += asked.full;
    return asked;
}

// What a mover staged lies in the cache of its core: let the lines of the next step's swaps come over meanwhile.
void Mover::prefetch() const {
    constexpr size_t kBytes = 32 << 10, kLine = 64;
    size_t total = 0;
    for (const Job *j : pending_) {
        if (j->due != pending_.front()->due || (total += stage_bytes_) > kBytes) return;
        if (j->state.load() != kReady) continue;
        const uint8_t *from = staging_.get() + j->stage * stage_bytes_;
        for (size_t b = 0; b < stage_bytes_; b += kLine) __builtin_prefetch(from + b, 0, 2);
    }
}

std::vector<uint8_t> Mover::request_ids(int64_t due, const int64_t *ids, const int32_t *cls, size_t n) {
    std::vector<uint8_t> accepted(n, 0);
    for (size_t i = 0; i < n; ++i) {
        if (pending_.size() >= queue_ || !index_->live(ids[i], cls[i])) continue;
        Job *j = take_free();
        j->due = due, j->slot = static_cast<int64_t>(i), j->id = ids[i], j->cls = cls[i], j->version = 0;
        j->drawn = false;
        queue(j); // no places of fields: the sample alone is read
        accepted[i] = 1;
    }
    publish();
    return accepted;
}

void Mover::apply(const Job &j, const Slots &m) {
    auto s = static_cast<size_t>(j.slot);
    const uint8_t *from = staging_.get() + j.stage * stage_bytes_;
    std::memcpy(m.samples + s * index_->payload(), from, index_->payload());
    if (j.drawn && m.ids[s] >= 0) taken_.drop(m.ids[s]);
    m.ids[s] = j.id, m.subjects[s] = j.subject;
    ++m.versions[s];
    for (size_t f = 0; f < m.fields.size(); ++f) {
        const auto &to = m.fields[f];
        uint8_t *row = to.values + s * to.row_bytes;
        size_t n = std::min<size_t>(j.got[f], to.row_bytes);
        std::memcpy(row, from + field_at_[f], n);
        std::memset(row + n, 0, to.row_bytes - n);
        to.widths[s] = static_cast<int32_t>(n / to.item_bytes);
    }
}

void Mover::release(Job *j) {
    for (Place &p : j->fields) p.file.reset();
    free_.push_back(j);
}

Outcome Mover::settle(Job &j, const Slots &m) {
    auto s = static_cast<size_t>(j.slot);
    counters.bytes_read += static_cast<int64_t>(sizeof(RecordHead) + index_->payload()); // as in every run, unlike
    for (uint32_t got : j.got) counters.bytes_read += got ? sizeof(FieldHead) + got : 0; // the file cache's view
    if (s >= m.n || m.versions[s] != j.version || m.classes[s] != j.cls) return Outcome::kStale;
    if (!index_->live(j.id, j.cls)) return Outcome::kEvicted; // and then it may not have been found either
    if (j.state.load() == kFailed) {
        if (j.status == kOk) return Outcome::kEvicted; // it was of another class while it was read
        index_->remove_id(j.id, j.cls, j.status == kUnread);
        return Outcome::kDamaged;
    }
    apply(j, m);
    return Outcome::kDone;
}

std::vector<Mover::Lost> Mover::begin(int64_t step, bool exact, const Slots &m) {
    std::vector<Lost> lost;
    while (!pending_.empty() && pending_.front()->due <= step) {
        Job *j = pending_.front();
        if (exact) wait_for(*j);
        pending_.pop_front();
        bool ready = j->state.load() >= kReady, queued = !ready && withdraw(j);
        Outcome outcome = ready ? settle(*j, m) : Outcome::kLate;
        if (outcome == Outcome::kDone) ++counters.done;
        else lost.push_back({j->slot, j->id, outcome});
        if (j->drawn) {
            if (outcome != Outcome::kDone) taken_.drop(j->id);
            if (j->slot >= 0 && j->slot < static_cast<int64_t>(busy_.size())) busy_[static_cast<size_t>(j->slot)] = 0;
        }
        if (ready || queued) release(j);
        else abandoned_.push_back(j);
    }
    counters.dropped += static_cast<int64_t>(lost.size());
    return lost;
}

int64_t Mover::drop_pending() {
    auto n = static_cast<int64_t>(pending_.size());
    for (Job *j : pending_)
        if (withdraw(j) || j->state.load() >= kReady) release(j);
        else abandoned_.push_back(j);
    pending_.clear();
    counters.dropped += n;
    known_ = 0;
    return n;
}

Mover::Saved Mover::save() {
    Saved s;
    double stalled = counters.stall_seconds; // a checkpoint's waiting is no stall
    for (Job *j : pending_) {
        wait_for(*j);
        s.due.push_back(j->due), s.slot.push_back(j->slot), s.id.push_back(j->id);
        s.version.push_back(j->version), s.time.push_back(j->time);
        s.cls.push_back(j->cls), s.subject.push_back(j->subject);
        bool ready = j->state.load() == kReady;
        s.ready.push_back(ready);
        size_t at = s.bytes.size();
        s.bytes.resize(at + stage_bytes_, 0);
        if (ready) { // only what was written: the rest of a stage is whatever was there before
            const uint8_t *from = stage(j->stage);
            std::memcpy(&s.bytes[at], from, index_->payload());
            for (size_t f = 0; f < field_bytes_.size(); ++f)
                std::memcpy(&s.bytes[at + field_at_[f]], from + field_at_[f], j->got[f]);
        }
        s.field_bytes.insert(s.field_bytes.end(), j->got.begin(), j->got.end());
    }
    counters.stall_seconds = stalled;
    return s;
}

void Mover::load(const Saved &s) {
    int64_t dropped = counters.dropped;
    drop_pending();
    counters.dropped = dropped;
    size_t nf = field_bytes_.size();
    for (size_t i = 0; i < s.due.size() && i < queue_; ++i) {
        Job *j = take_free();
        j->due = s.due[i], j->slot = s.slot[i], j->id = s.id[i], j->version = s.version[i], j->time = s.time[i];
        j->cls = s.cls[i], j->subject = s.subject[i];
        j->drawn = true;
        j->got.assign(s.field_bytes.begin() + static_cast<long>(i * nf),
                      s.field_bytes.begin() + static_cast<long>((i + 1) * nf));
        std::memcpy(stage(j->stage), &s.bytes[i * stage_bytes_], stage_bytes_);
        j->status = s.ready[i] ? kOk : kUnread;
        j->state.store(s.ready[i] ? kReady : kFailed);
        pending_.push_back(j);
    }
}

} // namespace edgecl
