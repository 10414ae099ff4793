#include "threads.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <thread>
#include <vector>

namespace edgecl {
namespace {

constexpr int SPINS = 4000; // about 20-50 us before sleeping

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("yield");
#endif
}

void futex_wait(std::atomic<uint32_t> *word, uint32_t value) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t> *word) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

} // namespace

struct Threads::Shared {
  // A range of consecutive items a worker, so that one thread works on the same part of the maps from operation to
  // operation and finds it in its own cache; who is through with its range helps with the others.
  // ticket = generation << 32 | next item of the range. A worker takes an item by compare-exchange, which also proves
  // that the task it read belongs to this generation: a task is replaced only when no item of the old one is left.
  struct alignas(64) Ticket {
    std::atomic<uint64_t> next{0};
    std::atomic<int> core{-1}; // where the range's worker was when it began its last task
  };
  std::vector<Ticket> tickets;
  std::atomic<int> items{0};
  std::atomic<Task> task{nullptr};
  std::atomic<void *> context{nullptr};
  std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> completed{0};
  std::atomic<int> sleeping{0};
  std::atomic<int> caller_sleeps{0};
  std::atomic<bool> quit{false};
  std::vector<std::thread> workers;

  explicit Shared(int count) : tickets(count) {}

  // Spinning for a worker on one's own core only keeps it from running.
  int spins(int worker) const {
    const int core = sched_getcpu();
    for (int i = 0; i < (int)tickets.size(); i++)
      if (i != worker && tickets[i].core.load(std::memory_order_relaxed) == core) return 0;
    return SPINS;
  }

  void work(int worker) {
    const int count = (int)tickets.size();
    tickets[worker].core.store(sched_getcpu(), std::memory_order_relaxed);
    for (int i = 0; i < count; i++) work_range((worker + i) % count, worker);
  }

  void work_range(int range, int worker) {
    std::atomic<uint64_t> &ticket = tickets[range].next;
    const int count = (int)tickets.size();
    for (;;) {
      uint64_t t = ticket.load(std::memory_order_acquire);
      const int next = (int)(t & 0xffffffffu), n = items.load(std::memory_order_acquire);
      const int first = (int)((int64_t)n * range / count), last = (int)((int64_t)n * (range + 1) / count);
      if (next >= last - first) return;
      Task f = task.load(std::memory_order_acquire);
      void *c = context.load(std::memory_order_acquire);
      if (!ticket.compare_exchange_weak(t, t + 1, std::memory_order_acq_rel)) continue;
      f(c, first + next, worker);
      if ((int)completed.fetch_add(1, std::memory_order_acq_rel) + 1 == n && caller_sleeps.load()) futex_wake(&completed);
    }
  }

  void loop(int worker) {
    uint32_t seen = 0;
    for (;;) {
      uint32_t g = generation.load(std::memory_order_acquire);
      for (int i = g == seen ? spins(worker) : 0; g == seen && i > 0; i--) {
        relax();
        g = generation.load(std::memory_order_acquire);
      }
      while (g == seen) {
        sleeping.fetch_add(1);
        futex_wait(&generation, seen);
        sleeping.fetch_sub(1);
        g = generation.load(std::memory_order_acquire);
      }
      if (quit.load()) return;
      seen = g;
      work(worker);
    }
  }
};

Threads::Threads(int count) : count_(count < 1 ? 1 : count) {}

void Threads::start() {
  owner_ = getpid();
  shared_ = new Shared(count_);
  for (int i = 1; i < count_; i++) shared_->workers.emplace_back([s = shared_, i] { s->loop(i); });
}

void Threads::stop() {
  if (!shared_) return;
  if (owner_ != getpid()) { // after fork the workers do not exist; their memory is left alone
    shared_ = nullptr;
    return;
  }
  shared_->quit.store(true);
  shared_->generation.fetch_add(1);
  futex_wake(&shared_->generation);
  for (std::thread &t : shared_->workers) t.join();
  delete shared_;
  shared_ = nullptr;
}

Threads::~Threads() { stop(); }

void Threads::run_erased(int items, Task task, void *context) {
  if (items <= 0) return;
  if (count_ == 1 || items == 1) {
    for (int i = 0; i < items; i++) task(context, i, 0);
    return;
  }
  if (owner_ != getpid()) {
    stop();
    start();
  }
  Shared &s = *shared_;
  // The old tickets are exhausted, so nobody takes an item while the fields change. They are closed first, and the
  // fields released after that: who reads a new field can no longer exchange an old ticket.
  const uint32_t g = s.generation.load() + 1;
  for (Shared::Ticket &t : s.tickets) t.next.store((uint64_t)g << 32 | 0x7fffffffu, std::memory_order_release);
  s.completed.store(0, std::memory_order_relaxed);
  s.task.store(task, std::memory_order_release);
  s.context.store(context, std::memory_order_release);
  s.items.store(items, std::memory_order_release);
  for (Shared::Ticket &t : s.tickets) t.next.store((uint64_t)g << 32, std::memory_order_release);
  s.generation.store(g);
  if (s.sleeping.load()) futex_wake(&s.generation);
  s.work(0);
  uint32_t done = s.completed.load(std::memory_order_acquire);
  for (int i = (int)done < items ? s.spins(0) : 0; (int)done < items && i > 0; i--) {
    relax();
    done = s.completed.load(std::memory_order_acquire);
  }
  while ((int)done < items) {
    s.caller_sleeps.store(1);
    done = s.completed.load();
    if ((int)done < items) futex_wait(&s.completed, done);
    done = s.completed.load(std::memory_order_acquire);
    s.caller_sleeps.store(0);
  }
}

} // namespace edgecl
