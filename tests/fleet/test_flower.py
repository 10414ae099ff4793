"""Real Flower on this machine, offline: a SuperLink, two SuperNodes, two daemons; what they do when some of it dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

pytest.importorskip("starlette")
from daemons import Daemon, samples, until
from flowers import Flowers, there

pytestmark = [
    pytest.mark.flower,
    pytest.mark.skipif(not there(), reason="needs flwr: set EDGECL_FLOWER to a Python that has it and edgecl"),
]
MOST_CLIENTAPP = 140e6


class Fleet:
    def __init__(self, folder):
        self.daemons, self.folder = [], folder
        for k, name in enumerate(("one", "two")):
            (folder / name).mkdir()
            daemon = Daemon(folder / name)
            daemon.sections["fleet"] = f'join = true\nname = "{name}"\non_battery = true\n'
            self.daemons.append(daemon.start())
            with daemon.client() as client:
                client.observe(*samples(400, seed=k)).wait()
        app = folder / "app"
        config = self.daemons[0].write()
        command = [sys.executable, "-P", "-m", "edgecl", "fleet", "new", str(app), "--config", str(config)]
        subprocess.run([*command, "--least", "1"], check=True, cwd=folder, capture_output=True)
        (folder / "flower").mkdir()
        self.flowers = Flowers(folder / "flower", app)
        self.flowers.superlink()
        for daemon in self.daemons:
            self.flowers.supernode(daemon.folder.name, f"unix:{daemon.folder}/run/admin.sock")

    def wait_for_rounds(self, count, seconds):
        limit = time.monotonic() + seconds
        while len(self.flowers.rounds()) < count:
            run = self.flowers.processes.get("run")
            assert run is None or run.poll() in (None, 0), self.flowers.log("run")
            assert time.monotonic() < limit, self.flowers.log("run") + self.flowers.log("superlink")
            time.sleep(0.1)
        return self.flowers.rounds()

    def end(self):
        self.flowers.end()
        for daemon in self.daemons:
            daemon.end()


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path)
    yield made
    made.end()


def test_three_rounds_offline(fleet):
    """Both daemons take part in each; the client apps stay small, and the daemon answers meanwhile."""
    largest, times = [0.0], []
    done = threading.Event()

    def watch():
        while not done.is_set():
            for name in ("one", "two"):
                for process in fleet.flowers.family(name):
                    try:
                        if any("flwr-clientapp" in word for word in process.cmdline()):
                            largest[0] = max(largest[0], float(process.memory_info().rss))
                    except psutil.Error:
                        continue
            time.sleep(0.02)

    def ask():
        x, _ = samples(1, seed=3)
        with fleet.daemons[0].client() as client:
            client.learn(steps=5)
            while not done.is_set():
                t = time.perf_counter()
                client.predict(x)
                times.append(time.perf_counter() - t)
                time.sleep(0.01)

    threads = [threading.Thread(target=watch), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    try:
        fleet.flowers.run(rounds=3, steps=10, wanted=2, deadline=120.0)
        rounds = fleet.wait_for_rounds(3, 300)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    print(rounds, largest[0] / 1e6, np.percentile(times, 99), len(times))
    assert [r["replies"] for r in rounds] == [2, 2, 2], rounds
    assert not any(r["void"] or r["refused"] for r in rounds)
    assert len({r["model"] for r in rounds}) == 3
    assert 0 < largest[0] <= MOST_CLIENTAPP
    for daemon in fleet.daemons:
        with daemon.client() as client:
            assert [d["round"] for d in client.decisions() if d["kind"] == "fleet round"] == [1, 2, 3]


def test_a_supernode_killed_in_a_round_costs_only_its_reply(fleet):
    fleet.flowers.run(rounds=2, steps=2000, wanted=2, deadline=60.0)
    until(lambda: any(c.status()["busy"] == "fleet" for c in clients(fleet)), 120)
    began = time.monotonic()
    fleet.flowers.kill("two")
    rounds = fleet.wait_for_rounds(1, 150)
    assert time.monotonic() - began < 100
    assert rounds[0]["replies"] in (1, 2) and not rounds[0]["void"]
    fleet.wait_for_rounds(2, 200)


def test_no_reply_at_all_leaves_the_model_as_it_was(fleet):
    for daemon in fleet.daemons:
        daemon.kill()
    fleet.flowers.run(rounds=1, steps=5, wanted=2, deadline=40.0)
    rounds = fleet.wait_for_rounds(1, 120)
    assert rounds[0]["void"] and rounds[0]["replies"] == 0
    assert any("does not answer" in why for why in rounds[0]["refusals"]), rounds


def test_late_replies_do_not_hold_a_round(fleet):
    """Devices that learn far beyond the deadline: the round closes in time, void, and a later one finds them again."""
    for daemon in fleet.daemons:
        daemon.stop()
        daemon.sections["fleet"] += "steps = 1000000\n"
        daemon.start()
    fleet.flowers.run(rounds=1, steps=1_000_000, wanted=2, deadline=40.0)
    rounds = fleet.wait_for_rounds(1, 120)
    assert rounds[0]["void"] and rounds[0]["seconds"] < 60
    for client in clients(fleet):
        client.stop()
    fleet.flowers.processes["run"].wait(60)
    until(lambda: all(c.status()["busy"] is None for c in clients(fleet)), 60)
    fleet.flowers.run(rounds=1, steps=5, wanted=2, deadline=120.0)
    rounds = fleet.wait_for_rounds(2, 200)
    assert rounds[1]["replies"] == 2 and rounds[1]["round"] == 2
    assert rounds[1]["model"] != rounds[0]["model"]


def clients(fleet):
    for daemon in fleet.daemons:
        with daemon.client() as client:
            yield client


def test_flower_is_the_one_that_was_pinned():
    tool = shutil.which("flwr", path=os.path.dirname(os.environ.get("EDGECL_FLOWER", sys.executable)))
    found = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    assert "1.42" in found
