"""A watched folder: each file is taken exactly once, half-written ones when they are whole, bad ones with a reason."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from daemons import SHAPE, Daemon, until


def npy(folder, name, value):
    """A file of one sample that says its value, whole from the first moment on."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    with open(part, "wb") as file:
        np.save(file, np.full(SHAPE, value % 251, np.uint8))
    os.rename(part, folder / f"{name}.npy")


def watching(tmp_path, **sections):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    made = Daemon(tmp_path)
    made.sections["watch"] = f'folder = "{inbox}"\nevery = "100ms"\n'
    made.sections["holdout"] = "share = 0.0\n"
    made.sections.update(sections)
    made.start()
    return made, inbox


@pytest.mark.parametrize(
    ("halves", "burst", "slowly"), [(10, 100, 20), pytest.param(100, 500, 400, marks=pytest.mark.campaign)]
)
def test_bursts_half_written_and_bad_files(tmp_path, halves, burst, slowly):
    daemon, inbox = watching(tmp_path)
    try:
        (inbox / "kind 1").mkdir()
        half = []
        for k in range(halves):  # written in two parts, with a while between
            path = inbox / "kind 1" / f"half{k}.npy"
            with open(tmp_path / "whole", "wb") as file:
                np.save(file, np.full(SHAPE, k, np.uint8))
            whole = (tmp_path / "whole").read_bytes()
            path.write_bytes(whole[:90])
            half.append((path, whole))
        for k in range(burst):
            npy(inbox / f"kind {k % 3}", f"burst{k}", k)
        old = inbox / "kind 2" / "broken.npy"
        old.write_bytes(b"\x93NUMPY nothing of it")
        os.utime(old, (time.time() - 3600,) * 2)
        (inbox / "kind 2" / "notes.txt").write_text("left alone")
        (inbox / "kind 2" / "link.npy").symlink_to(tmp_path / "whole")
        time.sleep(0.5)
        for path, whole in half:
            path.write_bytes(whole)
        for k in range(slowly):
            npy(inbox / f"kind {k % 3}", f"slowly{k}", k)
            time.sleep(0.01)
        count = halves + burst + slowly
        with daemon.client() as client:
            until(lambda: client.counters["stored"] == count)
            until(lambda: (inbox / ".bad" / "kind 2" / "broken.npy").exists())
            time.sleep(0.5)
            assert client.counters["stored"] == count
            metrics = client.request("GET", "/metrics")[1].decode()
            assert f'edgecl_observed_total{{source="folder"}} {count}.0' in metrics
        assert len(list((inbox / ".done").rglob("*.npy"))) == count
        assert "Send" in (inbox / ".bad" / "kind 2" / "broken.npy.reason.txt").read_text()
        left = {p.name for p in inbox.rglob("*") if not {".done", ".bad"} & set(p.parts)}
        assert left == {"kind 0", "kind 1", "kind 2", "notes.txt", "link.npy"}
        assert daemon.stop() == 0
    finally:
        daemon.end()


def test_files_without_a_label_wait_in_the_pool(tmp_path):
    daemon, inbox = watching(tmp_path)
    try:
        for k in range(8):
            npy(inbox / f"kind {k % 2}", f"f{k}", 100 * (k % 2))
        with daemon.client() as client:
            until(lambda: client.counters["stored"] == 8)
            client.learn(steps=5)
            npy(inbox / "_unlabelled", "who", 50)
            until(lambda: client.ask("GET", "/v1/pool")["waiting"] == 1)
    finally:
        daemon.end()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    made = Daemon(tmp_path)
    made.sections["watch"] = f'folder = "{tmp_path}/nowhere"\n'
    made.launch()
    assert made.process.wait(60) == 2 and "mkdir -p" in made.text
