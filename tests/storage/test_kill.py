"""An acknowledged sample survives SIGKILL at random moments, and power cuts on a loop device (needs root)."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from edgecl.storage import SampleStore
from store_samples import logits_of, sample_of

HERE = os.path.dirname(os.path.abspath(__file__))
CHILD = os.path.join(HERE, "kill_child.py")
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2  # drop everything that is not on the device


def acknowledged(text):
    """The ids of whole lines; the last may be cut off."""
    return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def check(path, printed, limit=None):
    """The store opens, is sound, and holds every printed id (with a limit: unless evicted) as it was."""
    with SampleStore(path, limit_bytes=limit) as store:
        assert store.verify() == []
        assert store.next_id > max(printed, default=-1)
        live = np.sort(np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())]))
        want = np.unique(printed)
        if limit is None:
            assert np.isin(want, live).all()
            assert live.tolist() == list(range(store.next_id))
        for at in range(0, len(live), 2000):
            ids = live[at : at + 2000]
            batch = store.read(ids)
            assert batch["ok"].all()
            assert (batch["samples"] == sample_of(ids)).all() and (batch["classes"] == ids % 5).all()
            values, widths = batch["fields"]["logits"]
            sure = np.isin(ids, want)
            assert (widths[sure] == 4).all()
            assert (values[widths == 4] == logits_of(ids[widths == 4])).all()
        return store.next_id


def start(path, seed, *more):
    command = [sys.executable, CHILD, str(path), str(seed), *map(str, more)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd="/", env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def kill_round(path, seed, rng, limit=None):
    child = start(path, seed, *([limit] if limit else []))
    out = []
    reader = threading.Thread(target=lambda: out.append(child.stdout.read()))
    began = time.monotonic()
    line = child.stdout.readline()  # it has begun
    reader.start()
    assert line, "the child ended by itself"
    time.sleep(float(rng.uniform(0, 0.25)))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, f"it ended by itself after {time.monotonic() - began:.2f} s"
    reader.join()
    return acknowledged(line + out[0])


def kill_campaign(tmp_path, rounds, seed):
    rng = np.random.default_rng(seed)
    for limit in (None, 1 << 20):
        path, printed, last = tmp_path / str(limit), [], 0
        for i in range(rounds):
            printed += kill_round(path, seed * 1000 + i, rng, limit)
            now = check(path, printed, limit)
            assert now >= last
            last = now
        assert len(printed) > rounds


def test_what_was_acknowledged_survives_sigkill(tmp_path):
    kill_campaign(tmp_path, 3, 1)


@pytest.mark.campaign
def test_fifty_kills(tmp_path):
    kill_campaign(tmp_path, 50, 2)


def call(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Card:
    """A file system on a loop device from which the power can be taken."""

    def __init__(self, place):
        self.image, self.mount = place / "card.img", place / "card"
        self.mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(96 << 20)
        call("mkfs.ext4", "-q", "-F", self.image)
        self.on()

    def on(self):
        call("mount", "-o", "loop", self.image, self.mount)

    def cut(self):
        fd = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)

    def off(self):
        for _ in range(100):
            if subprocess.run(["umount", self.mount], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("the card stays busy")


def power_campaign(tmp_path, rounds, seed):
    if os.getuid() != 0:
        pytest.skip("power cuts need root (loop device, ext4 shutdown)")
    try:
        card = Card(tmp_path)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"no loop device with ext4 here: {error}")
    rng = np.random.default_rng(seed)
    printed = []
    try:
        for i in range(rounds):
            child = start(card.mount / "s", seed * 1000 + i)
            out = []
            line = child.stdout.readline()
            reader = threading.Thread(target=lambda c=child, o=out: o.append(c.stdout.read()))
            reader.start()
            time.sleep(float(rng.uniform(0, 0.4)))
            card.cut()
            time.sleep(0.02)  # the child lives on: from now on it must get errors, not promises
            child.kill()
            child.wait()
            reader.join()
            printed += acknowledged(line + out[0])
            card.off()
            card.on()
            check(card.mount / "s", printed)
        assert len(printed) > 10 * rounds
    finally:
        subprocess.run(["umount", "-l", card.mount], capture_output=True)


def test_what_was_acknowledged_survives_a_power_cut(tmp_path):
    power_campaign(tmp_path, 2, 3)


@pytest.mark.campaign
def test_ten_power_cuts(tmp_path):
    power_campaign(tmp_path, 10, 4)
