#include "mover.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace edgecl {

Mover::Mover(Index *index, std::vector<size_t> field_bytes, size_t queue, int threads, int nice)
    : index_(index), field_bytes_(std::move(field_bytes)), queue_(queue), nice_(nice), owner_(getpid()) {
    stage_bytes_ = (index_->payload() + 7) / 8 * 8;
    for (size_t b : field_bytes_) {
        field_at_.push_back(stage_bytes_);
        stage_bytes_ += (b + 7) / 8 * 8;
    }
    staging_.reset(new uint8_t[queue_ * stage_bytes_]);
    for (size_t i = queue_; i-- > 0;) free_.push_back(i); // the lowest stage is used first
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Mover::~Mover() {
    stop();
    if (getpid() == owner_) delete signals_;
}

void Mover::stop() {
    if (getpid() != owner_) { // a forked child: the threads are not here, and joining them would hang
        static auto &leaked = *new std::vector<std::vector<std::thread>>;
        leaked.push_back(std::move(threads_));
        threads_.clear();
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    signals_->work.notify_all();
    for (auto &t : threads_) t.join();
    threads_.clear();
    pending_.clear();
    todo_.clear();
}

void Mover::run() {
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice_); // Linux: per thread
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        signals_->work.wait(lock, [this] { return stopping_ || !todo_.empty(); });
        if (stopping_) return;
        JobRef j = todo_.front();
        todo_.pop_front();
        j->state = kReading;
        lock.unlock();
        fetch(*j);
        lock.lock();
        if (j->abandoned) free_.push_back(j->stage);
        signals_->done.notify_all();
    }
}

void Mover::fetch(Job &j) {
    uint8_t *to = stage(j.stage);
    Record r = index_->read(j.sample, to);
    bool ok = r.status == kOk && r.cls == j.cls;
    j.subject = r.subject, j.time = r.time;
    for (size_t f = 0; ok && f < field_bytes_.size(); ++f)
        j.got[f] = j.fields[f].file
                       ? static_cast<uint32_t>(
                             index_->read_field(j.fields[f], f, j.id, to + field_at_[f], field_bytes_[f]))
                       : 0;
    j.sample.file.reset();
    j.fields.clear();
    std::lock_guard<std::mutex> lock(mutex_);
    j.state = ok ? kReady : kFailed;
}

Mover::Asked Mover::request(int64_t due, const int64_t *slots, size_t n, const uint64_t *candidates, size_t tries,
                            const Slots &m) {
    Asked asked;
    IdSet taken(m.n + pending_.size() + n), busy(pending_.size() + n);
    for (size_t s = 0; s < m.n; ++s)
        if (m.ids[s] >= 0) taken.add(m.ids[s]);
    for (auto &j : pending_) taken.add(j->id), busy.add(j->slot);
    std::vector<int32_t> cls(n, -2); // -2: no such class, nothing is drawn
    for (size_t i = 0; i < n; ++i)
        if (slots[i] >= 0 && slots[i] < static_cast<int64_t>(m.n) && m.classes[slots[i]] >= 0 && busy.add(slots[i]))
            cls[i] = m.classes[slots[i]];
    std::vector<int64_t> ids(n);
    index_->draw(cls.data(), n, candidates, tries, taken, ids.data());
    std::vector<JobRef> jobs;
    for (size_t i = 0; i < n; ++i) {
        if (ids[i] < 0) {
            ++asked.skipped;
            continue;
        }
        if (pending_.size() >= queue_) { // depends on requests and steps only, so it is the same in every run
            ++asked.full;
            continue;
        }
        auto j = std::make_shared<Job>();
        j->due = due, j->slot = slots[i], j->id = ids[i], j->cls = cls[i], j->version = m.versions[slots[i]];
        index_->place(j->id, j->sample);
        j->fields.resize(field_bytes_.size());
        j->got.assign(field_bytes_.size(), 0);
        for (size_t f = 0; f < field_bytes_.size(); ++f) index_->place_field(f, j->id, j->fields[f]);
        pending_.push_back(j);
        jobs.push_back(std::move(j));
        ++asked.accepted;
    }
    enqueue(jobs);
    return asked;
}

std::vector<uint8_t> Mover::request_ids(int64_t due, const int64_t *ids, const int32_t *cls, size_t n) {
    std::vector<uint8_t> accepted(n, 0);
    std::vector<JobRef> jobs;
    for (size_t i = 0; i < n; ++i) {
        auto j = std::make_shared<Job>();
        if (pending_.size() >= queue_ || !index_->live(ids[i], cls[i]) || !index_->place(ids[i], j->sample)) continue;
        j->due = due, j->slot = static_cast<int64_t>(i), j->id = ids[i], j->cls = cls[i], j->version = 0;
        j->fields.resize(field_bytes_.size()); // no place: the sample alone is read
        j->got.assign(field_bytes_.size(), 0);
        pending_.push_back(j);
        jobs.push_back(std::move(j));
        accepted[i] = 1;
    }
    enqueue(jobs);
    return accepted;
}

void Mover::enqueue(const std::vector<JobRef> &jobs) {
    {
        std::unique_lock<std::mutex> lock(mutex_);
        for (auto &j : jobs) {
            // An abandoned read may still hold a stage (live mode); it ends soon.
            signals_->done.wait(lock, [this] { return !free_.empty(); });
            j->stage = free_.back();
            free_.pop_back();
            todo_.push_back(j);
        }
    }
    if (jobs.size() == 1) signals_->work.notify_one();
    else if (!jobs.empty()) signals_->work.notify_all();
}

void Mover::apply(const Job &j, const Slots &m) {
    auto s = static_cast<size_t>(j.slot);
    const uint8_t *from = staging_.get() + j.stage * stage_bytes_;
    std::memcpy(m.samples + s * index_->payload(), from, index_->payload());
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

std::vector<Mover::Result> Mover::begin(int64_t step, bool exact, const Slots &m, double &stall) {
    std::vector<Result> out;
    while (!pending_.empty() && pending_.front()->due <= step) {
        JobRef j = pending_.front();
        pending_.pop_front();
        std::unique_lock<std::mutex> lock(mutex_);
        if (exact && j->state < kReady) {
            auto t0 = std::chrono::steady_clock::now();
            if (j->state == kQueued) { // no mover got to it: reading it here is sooner than waiting for one
                todo_.erase(std::find(todo_.begin(), todo_.end(), j));
                j->state = kReading;
                lock.unlock();
                fetch(*j);
                lock.lock();
            }
            signals_->done.wait(lock, [&] { return j->state >= kReady; });
            stall += std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
        }
        Result r{j->due, j->slot, j->id, 0, Outcome::kDone};
        if (j->state < kReady) {
            r.outcome = Outcome::kLate;
            if (j->state == kQueued) {
                todo_.erase(std::find(todo_.begin(), todo_.end(), j));
                free_.push_back(j->stage);
            } else {
                j->abandoned = true;
            }
            out.push_back(r);
            continue;
        }
        bool failed = j->state == kFailed;
        r.bytes = sizeof(RecordHead) + index_->payload();
        for (uint32_t got : j->got) r.bytes += got ? sizeof(FieldHead) + got : 0;
        lock.unlock();
        if (m.versions[j->slot] != j->version || m.classes[j->slot] != j->cls) r.outcome = Outcome::kStale;
        else if (failed) r.outcome = Outcome::kDamaged, index_->remove_id(j->id, j->cls);
        else if (!index_->live(j->id, j->cls)) r.outcome = Outcome::kEvicted;
        else apply(*j, m);
        lock.lock();
        free_.push_back(j->stage);
        out.push_back(r);
    }
    return out;
}

int64_t Mover::drop_pending() {
    std::lock_guard<std::mutex> lock(mutex_);
    auto n = static_cast<int64_t>(pending_.size());
    for (auto &j : pending_)
        if (j->state == kReading) j->abandoned = true;
        else free_.push_back(j->stage);
    pending_.clear();
    todo_.clear();
    return n;
}

size_t Mover::trim() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<size_t> stages(free_);
    std::sort(stages.begin(), stages.end());
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    size_t freed = 0;
    for (size_t i = 0, k; i < stages.size(); i = k) { // one call per run of neighbours
        for (k = i + 1; k < stages.size() && stages[k] == stages[k - 1] + 1;) ++k;
        auto from = (reinterpret_cast<uintptr_t>(stage(stages[i])) + page - 1) / page * page;
        auto to = reinterpret_cast<uintptr_t>(stage(stages[k - 1]) + stage_bytes_) / page * page;
        if (from < to && madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED) == 0) freed += to - from;
    }
    return freed;
}

Mover::Saved Mover::save() {
    Saved s;
    std::unique_lock<std::mutex> lock(mutex_);
    for (auto &j : pending_) {
        signals_->done.wait(lock, [&] { return j->state >= kReady; });
        s.due.push_back(j->due), s.slot.push_back(j->slot), s.id.push_back(j->id);
        s.version.push_back(j->version), s.time.push_back(j->time);
        s.cls.push_back(j->cls), s.subject.push_back(j->subject);
        s.ready.push_back(j->state == kReady);
        size_t at = s.bytes.size();
        s.bytes.resize(at + stage_bytes_, 0);
        if (j->state == kReady) { // only what was written: the rest of a stage is whatever was there before
            const uint8_t *from = stage(j->stage);
            std::memcpy(&s.bytes[at], from, index_->payload());
            for (size_t f = 0; f < field_bytes_.size(); ++f)
                std::memcpy(&s.bytes[at + field_at_[f]], from + field_at_[f], j->got[f]);
        }
        s.field_bytes.insert(s.field_bytes.end(), j->got.begin(), j->got.end());
    }
    return s;
}

void Mover::load(const Saved &s) {
    drop_pending();
    std::unique_lock<std::mutex> lock(mutex_);
    size_t nf = field_bytes_.size();
    for (size_t i = 0; i < s.due.size() && i < queue_; ++i) {
        auto j = std::make_shared<Job>();
        j->due = s.due[i], j->slot = s.slot[i], j->id = s.id[i], j->version = s.version[i], j->time = s.time[i];
        j->cls = s.cls[i], j->subject = s.subject[i];
        j->state = s.ready[i] ? kReady : kFailed;
        j->got.assign(s.field_bytes.begin() + static_cast<long>(i * nf),
                      s.field_bytes.begin() + static_cast<long>((i + 1) * nf));
        signals_->done.wait(lock, [this] { return !free_.empty(); });
        j->stage = free_.back();
        free_.pop_back();
        std::memcpy(stage(j->stage), &s.bytes[i * stage_bytes_], stage_bytes_);
        pending_.push_back(std::move(j));
    }
}

} // namespace edgecl
