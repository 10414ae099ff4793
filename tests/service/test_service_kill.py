"""SIGKILL while requests are under way: what was acknowledged is there in the next life."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from daemons import SHAPE, Daemon

from edgecl.errors import EdgeclError

KINDS = ("one", "two", "three", "four")


class Traffic:
    """Clients that observe, label, learn, save and forget until the daemon is gone.

    acknowledged : id -> subject of samples that were on flash by the daemon's word; asked : subjects whose forgetting
    was asked for, forgotten: and was done by its word
    """

    def __init__(self, daemon: Daemon, seed: int, subject: int) -> None:
        self.daemon, self.seed, self.subject = daemon, seed, subject
        self.acknowledged: dict[int, int] = {}
        self.asked: set[int] = set()
        self.forgotten: set[int] = set()
        self.threads = [threading.Thread(target=self._until_gone, args=(w,)) for w in (self._observe, self._work)]

    def start(self) -> None:
        for t in self.threads:
            t.start()

    def join(self) -> None:
        for t in self.threads:
            t.join()

    def _until_gone(self, work) -> None:
        try:
            with self.daemon.client(timeout=30) as client:
                work(client, np.random.default_rng(self.seed))
        except (EdgeclError, OSError):
            pass

    def _observe(self, client, rng) -> None:
        subject = self.subject
        while True:
            x = rng.integers(0, 255, (int(rng.integers(1, 6)), *SHAPE)).astype(np.uint8)
            y = [KINDS[int(k)] for k in rng.integers(0, 4, len(x))]
            if rng.random() < 0.2 and client.counters["steps"]:
                kept = client.predict_kept(x)["ids"]
                rows = client.label([{"id": i, "label": k, "subject": subject} for i, k in zip(kept, y)])
                client.flush()
                ids = [row["sample"] for row in rows if row["status"] == 202]  # a forgetting empties the pool
            else:
                ticket = client.observe(x, y, subject=subject)
                ticket.wait()
                ids = ticket.ids.tolist()
            self.acknowledged.update(dict.fromkeys(ids, subject))

    def _work(self, client, rng) -> None:
        time.sleep(0.05)
        while True:
            what = int(rng.integers(4))
            if what == 0 and self.subject > 2:
                victim = int(rng.integers(1, self.subject - 1))
                self.asked.add(victim)
                client.forget(victim)
                self.forgotten.add(victim)
            elif what == 1:
                client.save()
            elif client.counters["buffered"]:
                client.learn(steps=int(rng.integers(1, 6)))


def stored(daemon: Daemon) -> dict[int, int]:
    """id -> subject of all samples, read from the files by a handle of our own; the daemon is dead."""
    from edgecl.storage import SampleStore
    from edgecl.storage.transfer import live_ids

    with SampleStore(daemon.folder / "state" / "store", read_only=True) as store:
        found = store.read(live_ids(store), ())
    assert found["ok"].all()
    return dict(zip(found["ids"].tolist(), found["subjects"].tolist()))


def imported() -> np.ndarray:
    """Seconds, of a clock and of the processor, in which this interpreter imports what a daemon holds."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", "import edgecl.learner"], check=True)
    took, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return np.array([took, used])


def killed(daemon: Daemon, lives: int, seconds: float, before: int = 0) -> tuple[int, np.ndarray]:
    """So many lives, each killed in the midst, over a store of ``before`` samples.

    Samples acknowledged altogether; of each life the seconds until it served, of a clock and of the processor [lives,
    2], beyond an import measured beside it.
    """
    daemon.sections["serve"] = 'healthy = "1ms"\n'  # being killed is no fault of ours here
    rng, wanted, forgotten, over = np.random.default_rng(lives), {}, set(), []
    if before:
        with daemon.start().client(timeout=120) as client:
            for _ in range(before // 1000):
                x = rng.integers(0, 255, (1000, *SHAPE)).astype(np.uint8)
                ticket = client.observe(x, [KINDS[k % 4] for k in range(1000)], subject=lives + 1)
                ticket.wait()
                wanted.update(dict.fromkeys(ticket.ids.tolist(), lives + 1))
            client.save()
        daemon.kill()
    for life in range(1, lives + 1):
        control = imported()
        began = time.perf_counter()
        traffic = Traffic(daemon.start(), life, life)
        used = psutil.Process(daemon.process.pid).cpu_times()
        over.append(np.array([time.perf_counter() - began, used.user + used.system]) - control)
        traffic.start()
        time.sleep(rng.uniform(0.05, seconds))
        daemon.kill()
        traffic.join()
        wanted.update(traffic.acknowledged)
        forgotten |= traffic.forgotten
        wanted = {i: s for i, s in wanted.items() if s not in traffic.asked}
        there = stored(daemon)
        assert [i for i, s in wanted.items() if there.get(i) != s] == [], f"life {life}"
        assert not forgotten & set(there.values()), f"life {life}"
    return len(wanted), np.array(over)


def test_a_few_kills_lose_nothing(daemon):
    assert killed(daemon, 3, 1.5)[0] > 0


@pytest.mark.campaign
def test_a_thousand_kills_lose_nothing_and_serve_again_at_once(daemon):
    lives = int(os.environ.get("EDGECL_KILLS", "1000"))
    acknowledged, over = killed(daemon, lives, 1.0, before=100_000)
    for what, seconds in zip(("clock", "processor"), over.T):
        print(f"{lives} kills, {acknowledged} acknowledged; seconds above import ({what}): median "
              f"{np.median(seconds):.3f}, 99 % {np.quantile(seconds, 0.99):.3f}, most {seconds.max():.3f}")  # fmt: skip
    assert acknowledged > 100_000
    assert over[:, 1].max() <= 0.5 and np.median(over[:, 0]) <= 0.5  # other processes delay a clock, not a processor
