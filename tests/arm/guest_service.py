"""Runs as root in the emulated system: installs the service as its page says, and prints what systemd makes of it.

Lines begin with ``holds``, ``FAILS`` or ``figure``; the host reads them from the console.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgecl.service import Client
from edgecl.service.unit import EXAMPLE

API, ADMIN = "/run/edgecl/api.sock", "/run/edgecl/admin.sock"
CONFIG = EXAMPLE.replace('when = "samples:64"', 'when = "manual"')  # it learns when this program says so
GROUP = "/sys/fs/cgroup/system.slice/edgecl.service"
MB = 1e6


def say(*words: object) -> None:
    print(*words, flush=True)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def shown(*names: str) -> dict[str, str]:
    """Properties of the unit as systemd has them."""
    text = run("systemctl", "show", "edgecl.service", *[f"--property={n}" for n in names])
    return dict(line.partition("=")[::2] for line in text.splitlines())


def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for it; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"it did not come to pass within {seconds:.0f} s: {shown('ActiveState', 'Result')}")
        time.sleep(0.5)
    return time.monotonic() - began


@contextmanager
def claim(name: str) -> Iterator[None]:
    try:
        yield
        say("holds", name)
    except Exception:
        say("FAILS", name)
        say(traceback.format_exc())


def active() -> bool:
    return shown("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}


def again(before: str) -> Callable[[], bool]:
    return lambda: active() and shown("MainPID")["MainPID"] != before


def as_user(number: int, groups: list[int], path: str) -> str:
    """What a process of that user gets when it asks the socket at ``path`` for the daemon's status."""
    code = (
        "import sys\nfrom edgecl.service import Client\n"
        f"with Client('unix:{path}') as c:\n    print(sorted(c.status())[:3])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], user=number, group=number, extra_groups=groups,
                          capture_output=True, text=True, cwd="/")  # fmt: skip
    return "served" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def group_number(name: str) -> int:
    return next(int(line.split(":")[2]) for line in Path("/etc/group").read_text().splitlines()
                if line.startswith(f"{name}:"))  # fmt: skip


def main() -> None:
    say("figure kernel", os.uname().release, os.uname().machine)
    say("figure systemd", run("systemctl", "--version").split()[1])
    say("figure first process", Path("/proc/1/comm").read_text().strip())
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    say("figure memory of the system", memory["MemTotal"].strip(), "available", memory["MemAvailable"].strip())

    with claim("installed by edgecl service install, active"):
        Path("/etc/edgecl").mkdir()
        Path("/etc/edgecl/edgecl.toml").write_text(CONFIG)
        say(run(sys.executable, "-P", "-m", "edgecl", "service", "install"))
        run("systemd-sysusers")
        run("systemctl", "daemon-reload")
        began = time.monotonic()
        run("systemctl", "enable", "--now", "edgecl.socket", "edgecl-admin.socket", "edgecl.service")
        until(active, 120)
        say(f"figure seconds until active {time.monotonic() - began:.1f}")
    users, admins = group_number("edgecl-use"), group_number("edgecl-admin")
    with claim("a member of edgecl-use is served on the use socket"):
        assert (answer := as_user(4001, [users], API)) == "served", answer
    with claim("and refused on the admin socket"):
        assert "ermission" in (answer := as_user(4001, [users], ADMIN)), answer
    with claim("a member of edgecl-admin is served on the admin socket"):
        assert (answer := as_user(4002, [admins], ADMIN)) == "served", answer
    with claim("a stranger is refused on both"):
        for path in (API, ADMIN):
            assert "ermission" in (answer := as_user(4003, [], path)), answer

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (64, 1, 28, 28)).astype(np.uint8), [int(k) % 10 for k in range(64)]
    with claim("it observes, learns, predicts and saves under the unit's sandbox"), Client(f"unix:{ADMIN}") as client:
        ticket = client.observe(x, y)
        assert ticket.wait(60)
        client.learn(steps=8)
        assert len(client.predict(x[:4])) == 4
        client.save()
        assert client.counters["stored"] == 64
    with claim("killed, it is started again and has what was acknowledged"):
        before = shown("MainPID")["MainPID"]
        run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "edgecl.service")
        say(f"figure seconds until active after a kill {until(again(before), 120):.1f}")
        with Client(f"unix:{ADMIN}", timeout=60) as client:
            assert client.counters["stored"] == 64
    with claim("stopped in its tracks, the watchdog ends it and it is started again"):
        before = shown("MainPID")["MainPID"]
        os.kill(int(before), 19)  # SIGSTOP
        say(f"figure seconds until active after a hang {until(again(before), 300):.1f}")
        assert "watchdog" in run("journalctl", "-u", "edgecl.service", "--no-pager", "-o", "cat").lower()
    with claim("the plan's limits stand in the unit, and memory keeps to them"):
        with Client(f"unix:{ADMIN}", timeout=60) as client:
            client.observe(x, y).wait()
            client.learn(steps=8)
        limits = shown("MemoryHigh", "MemoryMax", "MainPID")
        peak = int(Path(GROUP, "memory.peak").read_text())
        status = Path(f"/proc/{limits['MainPID']}/status").read_text()
        resident = int(status.split("VmHWM:")[1].split()[0]) * 1024
        high, most = int(limits["MemoryHigh"]), int(limits["MemoryMax"])
        say(f"figure MemoryHigh {high / MB:.1f} MB, MemoryMax {most / MB:.1f} MB")
        say(f"figure peak of the control group {peak / MB:.1f} MB, of the process (VmHWM) {resident / MB:.1f} MB")
        say("figure memory events", " ".join(Path(GROUP, "memory.events").read_text().split()))
        assert peak <= most
    with claim("it stops cleanly, its sockets are gone"):
        began = time.monotonic()
        run("systemctl", "stop", "edgecl.service", "edgecl.socket", "edgecl-admin.socket")
        say(f"figure seconds to stop {time.monotonic() - began:.1f}")
        found = shown("Result", "ExecMainStatus", "ActiveState")
        assert found == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}, found
        assert not Path(API).exists() and not Path(ADMIN).exists()
    with claim("edgecl service status and remove"):
        subprocess.run([sys.executable, "-P", "-m", "edgecl", "service", "status", "--json"], capture_output=True)
        run("systemctl", "disable", "edgecl.socket", "edgecl-admin.socket", "edgecl.service")
        run(sys.executable, "-P", "-m", "edgecl", "service", "remove")
        assert not Path("/etc/systemd/system/edgecl.service").exists()
        assert Path("/etc/edgecl/edgecl.toml").exists() and Path("/var/lib/private/edgecl").exists()


if __name__ == "__main__":
    try:
        main()
        say("ended")
    except BaseException:
        say("FAILS the test itself")
        say(traceback.format_exc())
        say(subprocess.run(["journalctl", "-b", "--no-pager", "-n", "200"], capture_output=True, text=True).stdout)
    finally:
        subprocess.run(["systemctl", "poweroff", "--force"])
