#include "mover.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace edgecl {
namespace {
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
constexpr auto kBrisk = microseconds(20000); // work at shorter intervals is looked for, not waited for
constexpr auto kShortestNap = microseconds(40);
constexpr int kEmptyNaps = 6; // in a row; then the mover sleeps until it is woken
constexpr int kPauses = 4;
} // namespace

// How often work came of late. Waking a thread costs the one that wakes it more than ten swaps; a training step of a
// few hundred microseconds must not pay that. A pause, as for an evaluation, is no change of pace until it repeats.
struct Mover::Pace {
    Clock::time_point last = Clock::now();
    Clock::duration interval = 2 * kBrisk;
    int empty = 0, pauses = 0;

    void worked() {
        auto now = Clock::now();
        auto gap = std::min<Clock::duration>(now - last, 2 * kBrisk);
        last = now, empty = 0;
        if (gap > 4 * interval && ++pauses < kPauses) return;
        interval = gap > 4 * interval ? gap : (interval + gap) / 2;
        pauses = 0;
    }
    bool brisk() const { return interval < kBrisk && empty < kEmptyNaps; }
    Clock::duration nap() const { return std::max<Clock::duration>(interval * 2 / 5, kShortestNap); }
};

Mover::Mover(Index *index, std::vector<size_t> field_bytes, size_t queue, int threads, int nice, bool spare)
    : index_(index), field_bytes_(std::move(field_bytes)), queue_(queue), nice_(nice), spare_(spare),
      ring_(queue + static_cast<size_t>(threads)), owner_(getpid()) {
    stage_bytes_ = (index_->payload() + 7) / 8 * 8;
    for (size_t b : field_bytes_) {
        field_at_.push_back(stage_bytes_);
        stage_bytes_ += (b + 7) / 8 * 8;
    }
    // A thread reads at most one abandoned job, so with these there is always a free one below the queue's limit.
    size_t n = ring_.size();
    staging_.reset(new uint8_t[n * stage_bytes_]);
    for (size_t i = 0; i < n; ++i) {
        jobs_.push_back(std::make_unique<Job>());
        jobs_[i]->stage = i;
        jobs_[i]->fields.resize(field_bytes_.size());
        jobs_[i]->got.resize(field_bytes_.size());
    }
    for (size_t i = n; i-- > 0;) free_.push_back(jobs_[i].get()); // the lowest stage is used first
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
    signals_->nap.notify_all();
    for (auto &t : threads_) t.join();
    threads_.clear();
    pending_.clear();
    head_ = tail_.load();
}

void Mover::run() {
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice_); // Linux: per thread
    prctl(PR_SET_TIMERSLACK, 10000UL, 0UL, 0UL, 0UL);                         // naps end when they should
    Pace pace;
    do {
        Job *j = claim();
        if (j) pace.worked();
        for (; j; j = claim()) fetch(*j);
    } while (rest(pace));
}

bool Mover::rest(Pace &pace) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!stopping_ && spare_ && pace.brisk()) {
        ++pace.empty;
        signals_->nap.wait_for(lock, pace.nap(), [this] { return stopping_; });
    } else {
        ++sleeping_; // before looking at the ring: publish() stores the ring first and looks at this then
        signals_->work.wait(lock, [this] { return stopping_ || head_ != tail_; });
        --sleeping_;
    }
    return !stopping_;
}

Mover::Job *Mover::claim() {
    size_t h = head_.load();
    while (h < tail_.load()) {
        // The ring is as long as there are jobs, so this cell is not written again before head_ has passed it.
        Job *j = ring_[h % ring_.size()].load(std::memory_order_relaxed);
        if (head_.compare_exchange_weak(h, h + 1)) {
            j->state.store(kReading, std::memory_order_relaxed);
            return j;
        }
    }
    return nullptr;
}

bool Mover::withdraw(Job *j) {
    size_t h = head_.load();
    return h < tail_.load() && ring_[h % ring_.size()].load(std::memory_order_relaxed) == j &&
           head_.compare_exchange_strong(h, h + 1);
}

bool Mover::read(Job &j, bool cached_only) {
    uint8_t *to = stage(j.stage);
    Place place;
    Record r;
    if (index_->place(j.id, place)) r = index_->read(place, to, cached_only);
    if (r.status == kNotCached) return false;
    bool ok = r.status == kOk && index_->class_now(j.id, r.cls) == j.cls;
    j.status = r.status;
    for (size_t f = 0; f < field_bytes_.size(); ++f) {
        size_t got = 0;
        if (ok && j.fields[f].file)
            got = index_->read_field(j.fields[f], f, j.id, to + field_at_[f], field_bytes_[f], cached_only);
        if (got == Index::kUncached) return false;
        j.got[f] = static_cast<uint32_t>(got);
    }
    j.subject = r.subject, j.time = r.time;
    j.state.store(ok ? kReady : kFailed);
    return true;
}

void Mover::fetch(Job &j) {
    try {
        read(j, false);
    } catch (const std::bad_alloc &) { // on a thread of its own nobody would catch it: as if the device had not read
        j.status = kUnread;
        j.state.store(kFailed);
    }
    if (waiting_.load()) {
        { std::lock_guard<std::mutex> lock(mutex_); }
        signals_->done.notify_all();
    }
}

Mover::Job *Mover::take_free() {
    for (size_t i = 0; i < abandoned_.size();)
        if (abandoned_[i]->state.load() >= kReady) {
            free_.push_back(abandoned_[i]);
            abandoned_[i] = abandoned_.back();
            abandoned_.pop_back();
        } else {
            ++i;
        }
    Job *j = free_.back();
    free_.pop_back();
    return j;
}

void Mover::queue(Job *j) {
    pending_.push_back(j);
    if (!spare_ && read(*j, true)) return;
    j->state.store(kQueued, std::memory_order_relaxed);
    ring_[queued_++ % ring_.size()].store(j, std::memory_order_relaxed);
}

void Mover::publish() {
    if (tail_.load(std::memory_order_relaxed) == queued_) return;
    tail_.store(queued_);
    if (sleeping_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }
    signals_->work.notify_all();
}

void Mover::wait_for(Job &j) {
    if (j.state.load() >= kReady) return;
    auto began = Clock::now();
    // What no mover got to is read here, sooner than waiting for one; jobs before it in the ring are due as well.
    while (j.state.load() == kQueued) {
        Job *mine = claim();
        if (!mine) break;
        fetch(*mine);
    }
    if (j.state.load() < kReady) {
        std::unique_lock<std::mutex> lock(mutex_);
        waiting_ = true;
        signals_->done.wait(lock, [&] { return j.state.load() >= kReady; });
        waiting_ = false;
    }
    counters.stall_seconds += std::chrono::duration<double>(Clock::now() - began).count();
}

size_t Mover::trim() {
    std::vector<size_t> stages;
    for (Job *j : free_) stages.push_back(j->stage);
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

void Mover::wipe() {
    while (!abandoned_.empty()) {
        wait_for(*abandoned_.back());
        free_.push_back(abandoned_.back());
        abandoned_.pop_back();
    }
    for (Job *j : free_) std::memset(stage(j->stage), 0, stage_bytes_);
}

} // namespace edgecl
