"""The daemon's life: ready, watched, stopped, reloaded; crashing, with a full disk, with a hung step."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from daemons import samples, until

from edgecl.service.wire import ServiceError

SLEEPY = Path(__file__).with_name("sleepy.py")


class Systemd:
    """The receiving end of a notify socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def wait_for(self, text: str) -> str:
        while True:
            found = self.socket.recv(4096).decode()
            if text in found:
                return found

    def quiet_for(self, text: str, seconds: float) -> bool:
        """Whether ``text`` stays out for so long."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if text in self.socket.recv(4096).decode():
                    return False
            except TimeoutError:
                break
        return True


def test_systemd_is_told_and_sockets_are_served_when_it_is(daemon, tmp_path):
    systemd = Systemd(tmp_path / "notify")
    daemon.environment = systemd.environment
    daemon.launch()
    systemd.wait_for("EXTEND_TIMEOUT_USEC")
    assert f"MAINPID={daemon.process.pid}" in systemd.wait_for("READY=1")
    with daemon.client(admin=False) as client:
        assert client.ask("GET", "/readyz") == {"ready": True}
    assert daemon.stop() == 0
    systemd.wait_for("STOPPING=1")


def test_a_step_that_hangs_is_no_sign_of_life(daemon, tmp_path):
    systemd = Systemd(tmp_path / "notify")
    daemon.environment = {**systemd.environment, "WATCHDOG_USEC": "300000"}
    daemon.sections["learner"] += 'method = "sleepy"\n'
    daemon.sections["serve"] = 'stall = "1s"\n'
    daemon.arguments = ["--use", str(SLEEPY)]
    daemon.start()
    systemd.wait_for("WATCHDOG=1")
    with daemon.client() as client:
        client.observe(*samples(8))
        client.ask("POST", "/v1/learn", {"steps": 50})
        until(lambda: client.status()["model"]["steps"] >= 2)
        time.sleep(1.5)
        until(lambda: systemd.quiet_for("WATCHDOG=1", 0.7))
        assert client.ask("GET", "/livez") == {"live": True}  # the loop alone would not have noticed
    assert "hung: no step for" in daemon.text
    assert "sleepy.py" in daemon.text  # where every thread stands


def test_sigterm_saves_what_was_learned_and_answers_who_waits(daemon):
    x, y = samples(16)
    daemon.sections["learn"] = 'when = "samples:8"\nslice = "1h"\n'
    got = []
    with daemon.start().client() as client:
        client.observe(x, y)
        until(lambda: client.status()["model"]["steps"] >= 3)

        def ask() -> None:
            with daemon.client() as other:
                while True:
                    try:
                        got.append(other.predict(x[0]))
                    except Exception:
                        return

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: got)
        assert daemon.stop() == 0
        asking.join()
    daemon.sections["learn"] = 'when = "manual"\n'
    with daemon.start().client() as client:
        assert client.status()["model"]["steps"] >= 3
        assert client.counters["stored"] == 16


def test_sighup_takes_over_what_can_change_and_refuses_a_bad_file(daemon):
    with daemon.start().client() as client:
        daemon.sections["learn"] = 'when = "samples:4"\nslice = "100ms"\n'
        daemon.sections["serve"] = "connections = 10\n"
        daemon.write()
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: client.status()["learning"]["when"] == "samples:4")
        entry = client.decisions()[-1]
        assert entry["needs_a_restart"] == ["serve.connections"]
        daemon.sections["learn"] = 'wen = "idle"\n'
        daemon.write()
        with pytest.raises(ServiceError, match="when"):
            client.verb("reload")
        assert client.status()["learning"]["when"] == "samples:4"
        client.observe(*samples(4))
        until(lambda: client.status()["model"]["steps"] > 0)


def test_after_three_starts_that_crashed_it_only_predicts(daemon):
    x, y = samples(8)
    with daemon.start().client() as client:
        client.observe(x, y).wait()
        client.learn(steps=20)
        client.save()
        wanted = client.predict(x)
    for _ in range(3):
        daemon.kill()
        daemon.start()
    with daemon.client() as client:
        assert client.status()["ready"] is False
        assert client.predict(x) == wanted
        for refused in (lambda: client.observe(x, y), lambda: client.learn(steps=1), lambda: client.forget(1)):
            with pytest.raises(ServiceError, match="Safe mode") as error:
                refused()
            assert error.value.status == 503
        assert client.request("GET", "/readyz")[0] == 503
        client.verb("resume")
        assert client.status()["ready"] is True
        client.learn(steps=1)
        assert [d["kind"] for d in client.decisions()][-3:] == ["safe mode", "resumed", "slice"]
    daemon.kill()
    with daemon.start().client() as client:
        assert client.status()["ready"] is True


needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="needs root and mount namespaces",
)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@needs_mounts
def test_a_full_disk_refuses_samples_and_nothing_else_and_recovers(daemon, small_disk):
    daemon.arguments = ["--state", str(small_disk)]
    x, y = samples(16)
    with daemon.start().client() as client:
        client.observe(x, y).wait()
        filler = small_disk / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
        refused = 0
        with pytest.raises(ServiceError) as error:
            for _ in range(2000):
                refused += 1
                client.observe(x, y).wait()
        assert error.value.status == 507
        assert client.status()["disk_full"] is True
        assert client.learn(steps=5)["steps"] == 5
        assert len(client.predict(x)) == 16
        client.save()  # with the room that was kept for it
        filler.unlink()
        limit = time.monotonic() + 30
        while True:
            try:
                client.observe(x, y).wait()
                break
            except ServiceError:
                assert time.monotonic() < limit
                time.sleep(0.1)
        assert client.status()["disk_full"] is False
        kept = client.counters["stored"]
    assert daemon.stop() == 0
    with daemon.start().client() as client:
        assert client.counters["stored"] == kept
        assert client.status()["model"]["steps"] == 5


@needs_mounts
def test_it_writes_nowhere_but_in_its_two_folders(daemon, tmp_path):
    """Everything else is read-only, in a mount namespace of its own."""
    (tmp_path / "state").mkdir()
    (tmp_path / "run").mkdir()
    keep = "; ".join(f"mount --bind {tmp_path / n} {tmp_path / n}" for n in ("state", "run"))
    only = "mount -o remount,bind,ro /; for m in /tmp /var; do mountpoint -q $m && mount -o remount,bind,ro $m; done; "
    daemon.prefix = ["unshare", "-m", "sh", "-c", f'{keep}; {only} exec "$0" "$@"']
    with daemon.start().client() as client:
        x, y = samples(8)
        client.observe(x, y).wait()
        client.learn(steps=2)
        client.save()
        client.export("samples")
        client.forget(1)
    assert daemon.stop() == 0


def test_a_clock_that_leaps_by_years_is_noted_and_renews_and_loses_nothing(daemon, tmp_path):
    library, leap = tmp_path / "leap.so", tmp_path / "leap"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library,
                    Path(__file__).with_name("leaping_clock.c"), "-ldl"], check=True)  # fmt: skip
    leap.write_text("0")
    daemon.environment = {"LD_PRELOAD": str(library), "LEAP_FILE": str(leap)}
    daemon.sections["learner"] += 'flash_writes_per_day = "400KB"\n'
    x, y = samples(16)
    years = 3 * 365 * 86_400
    with daemon.start().client() as client:
        client.observe(x, y).wait()
        client.learn(steps=3)
        with pytest.raises(ServiceError) as error:
            for _ in range(2000):
                client.observe(x, y).wait()
        assert error.value.status == 507
        written = client.counters["flash"]["bytes_written_last_day"]
        assert written > 300_000
        for to in (years, -years, 0):
            before = sum(d["kind"] == "clock" for d in client.decisions())
            leap.write_text(str(to))
            until(lambda: sum(d["kind"] == "clock" for d in client.decisions()) > before)  # noqa: B023 - called at once
            assert client.learn(steps=2)["steps"] == 2
            assert len(client.predict(x)) == 16
            assert client.counters["flash"]["bytes_written_last_day"] >= written  # a leap is no new day
        before = client.counters
        client.save()
    assert daemon.stop() == 0
    leap.write_text(str(-years))
    with daemon.start().client() as client:
        assert client.counters["stored"] >= before["stored"] - before["kept_in_ram_only"]
        assert client.counters["flash"]["bytes_written_last_day"] >= written
        assert client.learn(steps=2)["steps"] == 2
