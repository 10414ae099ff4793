// Brings records from flash into staging buffers on its own threads, without the GIL, and exchanges slots on request.
//
// request()  training thread: draws the incoming ids, resolves their places (opens the files), queues them; one call
//            and one wake-up per step
// threads    read, check, stage; they draw nothing and touch no slot
// begin()    training thread: at the step that is due, copies staged bytes into the slots in request order
// So what enters which slot at which step depends on the seeded draws alone; timing decides only how long begin()
// waits (exact) or which requests it drops (live).
#pragma once
#include "index.h"
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
    struct Field {
        uint8_t *values;
        size_t row_bytes, item_bytes;
        int32_t *widths;
    };
    std::vector<Field> fields;
};

enum class Outcome : uint8_t { kDone = 0, kLate, kDamaged, kStale, kEvicted };

class Mover {
  public:
    Mover(Index *index, std::vector<size_t> field_bytes, size_t queue, int threads, int nice);
    ~Mover();
    Mover(const Mover &) = delete;

    struct Asked {
        int64_t accepted = 0, skipped = 0, full = 0;
    };
    Asked request(int64_t due, const int64_t *slots, size_t n, const uint64_t *candidates, size_t tries,
                  const Slots &memory);
    // Asks for record ids[i], live and of class cls[i], into slot i, instead of drawing; slots must be at version 0 then.
    // 1 per accepted record; 0 when it is not live or the queue is full.
    std::vector<uint8_t> request_ids(int64_t due, const int64_t *ids, const int32_t *cls, size_t n);
    struct Result {
        int64_t step_due, slot, id;
        uint64_t bytes; // read for it; the same in every run, unlike the file cache's view
        Outcome outcome;
    };
    // Applies (or drops) everything due at `step` or before, in request order. Adds the seconds waited to `stall`.
    std::vector<Result> begin(int64_t step, bool exact, const Slots &memory, double &stall);
    int64_t drop_pending();
    void stop();
    size_t trim(); // gives the pages of free stages back to the system; how many bytes

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
    size_t pending() const { return pending_.size(); }

  private:
    enum State : int { kQueued, kReading, kReady, kFailed };
    struct Job {
        int64_t due, slot, id, version, time = 0;
        int32_t cls, subject = -1;
        size_t stage;
        int state = kQueued;    // guarded by mutex_
        bool abandoned = false; // guarded by mutex_: whoever reads it gives the stage back
        Place sample;
        std::vector<Place> fields;
        std::vector<uint32_t> got;
    };
    using JobRef = std::shared_ptr<Job>;
    void run();
    void enqueue(const std::vector<JobRef> &jobs);
    void fetch(Job &j);
    void apply(const Job &j, const Slots &memory);
    uint8_t *stage(size_t i) { return staging_.get() + i * stage_bytes_; }

    Index *index_;
    std::vector<size_t> field_bytes_, field_at_;
    size_t stage_bytes_, queue_;
    int nice_;
    std::unique_ptr<uint8_t[]> staging_; // never touched before use: pages appear as the queue needs them
    std::mutex mutex_;
    // On the heap: destroying a condition others wait on hangs, and in a forked child those others do not exist.
    struct Signals {
        std::condition_variable work, done;
    };
    Signals *signals_ = new Signals;
    std::vector<size_t> free_;
    std::deque<JobRef> todo_;    // guarded by mutex_
    std::deque<JobRef> pending_; // training thread only
    std::vector<std::thread> threads_;
    bool stopping_ = false;
    pid_t owner_;
};

} // namespace edgecl
