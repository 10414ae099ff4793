"""SIGKILL while requests are under way: what was acknowledged is there in the next life."""

from __future__ import annotations

import threading
import time

import numpy as np
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
                ids = [row["sample"] for row in rows]
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


def killed(daemon: Daemon, lives: int, seconds: float) -> int:
    """So many lives, each killed in the midst; samples acknowledged altogether."""
    daemon.sections["serve"] = 'healthy = "1ms"\n'  # being killed is no fault of ours here
    rng, wanted, forgotten = np.random.default_rng(lives), {}, set()
    for life in range(1, lives + 1):
        traffic = Traffic(daemon.start(), life, life)
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
    return len(wanted)


def test_a_few_kills_lose_nothing(daemon):
    assert killed(daemon, 3, 1.5) > 0


@pytest.mark.campaign
def test_a_thousand_kills_lose_nothing(daemon):
    assert killed(daemon, 1000, 1.0) > 1000
