// A small pool: each worker takes the items of its own range first, then those left of the others', so a descheduled
// worker delays only the item it holds.
// Workers spin briefly, then sleep on a futex; the caller works too. Results never depend on who ran an item.
#pragma once
#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

namespace edgecl {

class Threads {
public:
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

  int count() const { return count_; }

  // Calls fn(item, worker) for every item in [0, items); returns when all are done. Not reentrant.
  template <class F> void run(int items, const F &fn) {
    run_erased(
        items, [](void *context, int item, int worker) { (*(const F *)context)(item, worker); }, (void *)&fn);
  }

private:
  typedef void (*Task)(void *, int item, int worker);
  struct Shared;
  void run_erased(int items, Task task, void *context);
  void start();
  void stop();

  int count_;
  pid_t owner_ = 0;
  Shared *shared_ = nullptr;
};

// Planes are dealt in contiguous runs, a few per thread.
template <class F> void each_plane(Threads &threads, int blocks, int channels, const F &f) {
  const int planes = blocks * channels, items = std::min(planes, threads.count() == 1 ? 1 : 16);
  threads.run(items, [&](int item, int worker) {
    for (int p = (int)((long)planes * item / items); p < (int)((long)planes * (item + 1) / items); p++)
      f(p / channels, p % channels, worker);
  });
}

} // namespace edgecl
