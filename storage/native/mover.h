// Brings records from flash into staging buffers on its own threads, without the GIL, and exchanges slots on request.
//
// request()  training thread: draws the incoming ids and queues them
// threads    find the record, read, check, stage; they draw nothing and touch no slot
// begin()    training thread: at the step that is due, copies staged bytes into the slots in request order
// So what enters which slot at which step depends on the seeded draws alone; timing decides only how long begin()
// waits (exact) or which requests it drops (live).
//
// Cost on the training thread, per swap: a draw, one store into a ring, later one copy. No lock is taken, nothing is
// allocated, and a mover that had work lately is not woken: it looks again by its own clock (`Pace`).
//
//   job     free -> queued -> reading -> ready | failed -> free
//   owner   trainer  ring     claimer    trainer           (whoever claims from the ring reads: a mover or begin())
#pragma once
#include "index.h"
#include <atomic>
#include <condition_variable>
#include <deque>
#include <sys/types.h>
#include <thread>

namespace edgecl {

// The arrays of the episodic memory; rows are slots.
struct Slots {
    size_t n;
    uint8_t *samples;
    int32_t *classes, *subjects;
    int64_t *ids, *versions;
    const int64_t *edits; // how often somebody else changed slots
    struct Field {
        uint8_t *values;
        size_t row_bytes, item_bytes;
        int32_t *widths;
    };
    std::vector<Field> fields;
    uint64_t serial; // tells these arrays from any others
};

enum class Outcome : uint8_t { kDone = 0, kLate, kDamaged, kStale, kEvicted };

class Mover {
  public:
    // spare: the movers have a core of their own. Otherwise each of their turns costs the training thread two changes of
    // context, more than reading from the file cache itself does: then request() does that, and leaves the rest to them.
    Mover(Index *index, std::vector<size_t> field_bytes, size_t queue, int threads, int nice, bool spare);
    ~Mover();
    Mover(const Mover &) = delete;

    struct Counters {
        int64_t requested = 0, done = 0, dropped = 0, skipped = 0, bytes_read = 0;
        double stall_seconds = 0;
    };
    struct Asked {
        int64_t accepted = 0, full = 0;
    };
    // Asks for an exchange of slots[i] with a record drawn by candidates[t * n + i], t < tries (see Index::draw).
    Asked request(int64_t due, const int64_t *slots, size_t n, const uint64_t *candidates, size_t tries,
                  const Slots &memory);
    // Asks for record ids[i], live and of class cls[i], into slot i, instead of drawing; slots must be at version 0
    // then. 1 per accepted record; 0 when it is not live or the queue is full.
    std::vector<uint8_t> request_ids(int64_t due, const int64_t *ids, const int32_t *cls, size_t n);
    struct Lost {
        int64_t slot, id;
        Outcome outcome;
    };
    // Applies (or drops) everything due at `step` or before, in request order; what was dropped.
    std::vector<Lost> begin(int64_t step, bool exact, const Slots &memory);
    int64_t drop_pending();
    void stop();
    size_t trim(); // gives the pages of free stages back to the system; how many bytes
    void wipe(); // overwrites idle stages with zeros, those still being read for nobody included

    // Pending requests as arrays, payloads included; waits until all are staged. Rows in request order.
    struct Saved {
        std::vector<int64_t> due, slot, id, version, time;
        std::vector<int32_t> cls, subject;
        std::vector<uint8_t> ready, bytes; // ready: 1 staged, 0 damaged; bytes: n x stage_bytes
        std::vector<uint32_t> field_bytes; // n x n_fields
    };
    Saved save();
    void load(const Saved &s);

    size_t stage_bytes() const { return stage_bytes_; }
    size_t staging_bytes() const { return stage_bytes_ * jobs_.size(); }
    size_t pending() const { return pending_.size(); }
    Counters counters; // training thread only

  private:
    enum State : int { kQueued, kReading, kReady, kFailed };
    struct Job {
        int64_t due, slot, id, version, time = 0;
        int32_t cls, subject = -1;
        size_t stage;
        bool drawn;
        Status status = kOk; // of the read that failed
        std::atomic<int> state{kReady};
        std::vector<Place> fields; // as they were at the request: a later value must not depend on timing
        std::vector<uint32_t> got;
    };
    struct Pace;

    // mover.cpp: threads and queue
    void run();
    bool rest(Pace &pace);
    Job *claim();
    bool withdraw(Job *j); // the oldest queued job; false when somebody has claimed it
    void fetch(Job &j);
    bool read(Job &j, bool cached_only); // false: not in the file cache, nothing is known
    Job *take_free();
    void queue(Job *j);
    void publish(); // movers may take what was queued
    void wait_for(Job &j);
    uint8_t *stage(size_t i) { return staging_.get() + i * stage_bytes_; }

    // exchange.cpp: draws, slots, saved state
    void know(const Slots &m);
    Outcome settle(Job &j, const Slots &m);
    void apply(const Job &j, const Slots &memory);
    void release(Job *j);
    void prefetch() const;

    Index *index_;
    std::vector<size_t> field_bytes_, field_at_;
    size_t stage_bytes_, queue_;
    int nice_;
    bool spare_;
    std::unique_ptr<uint8_t[]> staging_; // never touched before use: pages appear as the queue needs them

    std::vector<std::unique_ptr<Job>> jobs_;
    std::vector<Job *> free_;      // training thread only, as the next two
    std::vector<Job *> abandoned_; // being read while nobody wants them any more
    std::deque<Job *> pending_;    // in request order
    std::vector<std::atomic<Job *>> ring_; // queued jobs head_ .. tail_ - 1, in request order
    std::atomic<size_t> head_{0}, tail_{0};
    size_t queued_ = 0; // tail_ after the next publish()

    IdSet taken_;               // ids in memory or on their way, and
    std::vector<uint8_t> busy_; // slots that wait for a swap: true for these arrays after so many edits
    uint64_t known_ = 0;
    int64_t edits_ = 0;
    std::vector<int64_t> ids_; // scratch
    std::vector<int32_t> classes_;

    std::mutex mutex_;
    // On the heap: destroying a condition others wait on hangs, and in a forked child those others do not exist.
    struct Signals {
        std::condition_variable work, nap, done;
    };
    Signals *signals_ = new Signals;
    std::atomic<int> sleeping_{0}; // movers that have to be woken
    std::atomic<bool> waiting_{false};
    bool stopping_ = false; // guarded by mutex_
    std::vector<std::thread> threads_;
    pid_t owner_;
};

} // namespace edgecl
