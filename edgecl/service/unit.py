"""The systemd unit: hardened, its memory limits from the plan, with what a port, a key or a sensor needs added."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, EdgeclError
from ..storage.whole import write_whole

NAME = "edgecl"
# No RuntimeDirectory: systemd would give what lies in it, the sockets, to the daemon's user, and take it away when the
# daemon is started again.
HARDENED = """\
DynamicUser=yes
StateDirectory=edgecl
StateDirectoryMode=0700
ConfigurationDirectory=edgecl
UMask=0077
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @mount @debug @cpu-emulation @obsolete
DevicePolicy=closed
"""
ALONE = "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any\n"
ON_LAN = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nIPAddressDeny=any\nIPAddressAllow={allow}\n"


@dataclass(frozen=True)
class Unit:
    """What the unit depends on.

    command : of the `edgecl` to run;  config : its file;  allow : addresses that may reach the port, or None: no port
    credentials : name -> file, such as the tokens and the root key
    limits : MemoryHigh and MemoryMax;  plan : lines of comment that say where they come from
    """

    command: str
    config: str = "/etc/edgecl/edgecl.toml"
    allow: str | None = None
    credentials: Mapping[str, str] | None = None
    limits: Mapping[str, str] | None = None
    plan: tuple[str, ...] = ()

    def text(self) -> str:
        """The file of the unit."""
        credentials = self.credentials or {}
        options = {"tokens": "serve.tokens", "root-key": "serve.root_key", "tls-key": "serve.key"}
        given = "".join(f" --set {options[name]}=%d/{name}" for name in credentials)
        lines = [
            "# Written by `edgecl service install`.",
            "[Unit]",
            "Description=edgecl: a device that keeps learning",
            "Documentation=man:systemd.exec(5)",
            "After=edgecl.socket edgecl-admin.socket",
            "Requires=edgecl.socket edgecl-admin.socket",
            "StartLimitIntervalSec=600",
            "StartLimitBurst=5",
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={self.command} serve --config {self.config} --state %S/edgecl --run %t/edgecl{given}",
            "ExecReload=kill -HUP $MAINPID",
            "WatchdogSec=60",
            "WatchdogSignal=SIGABRT",
            "TimeoutStartSec=90",
            "TimeoutStopSec=30",
            "Restart=on-failure",
            "RestartSec=1",
            "RestartPreventExitStatus=2",
            "Nice=5",
            "OOMPolicy=stop",
            *(f"# {line}" for line in self.plan),
            *(f"{name}={value}" for name, value in (self.limits or {}).items()),
            *(f"LoadCredential={name}:{file}" for name, file in credentials.items()),
            (HARDENED + (ALONE if self.allow is None else ON_LAN.format(allow=self.allow))).rstrip(),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
        ]
        return "\n".join(lines) + "\n"


def socket_text(name: str, path: str, group: str) -> str:
    """The file of a socket unit; requests wait in the kernel while the daemon restarts."""
    return (
        f"# Written by `edgecl service install`.\n[Unit]\nDescription=edgecl: socket of {group}\n\n[Socket]\n"
        f"ListenStream={path}\nFileDescriptorName={name}\nSocketMode=0660\nSocketGroup={group}\nDirectoryMode=0755\n"
        "RemoveOnStop=yes\nService=edgecl.service\n\n[Install]\nWantedBy=sockets.target\n"
    )


def feeder_text(command: str) -> str:
    """The file of the feeders' unit, `edgecl-feed@camera` and others: a process of its own that has the device and one
    socket, and neither network nor files.
    """
    devices = "DeviceAllow=char-video4linux rw\nDeviceAllow=char-alsa rw\nDeviceAllow=char-ttyUSB rw\n"
    hardened = HARDENED.replace("PrivateDevices=yes\n", devices + "DeviceAllow=char-ttyACM rw\n").replace(
        "StateDirectory=edgecl\nStateDirectoryMode=0700\nConfigurationDirectory=edgecl\n", ""
    )
    return (
        "# Written by `edgecl service install`. To begin: systemctl enable --now edgecl-feed@camera\n[Unit]\n"
        "Description=edgecl: the device's %I\nAfter=edgecl.service\n\n[Service]\n"
        f"ExecStart={command} feed %i\n"
        "SupplementaryGroups=edgecl-use video audio dialout\nRestart=on-failure\nRestartSec=5\nNice=5\n"
        f"{hardened}{ALONE}\n[Install]\nWantedBy=multi-user.target\n"
    )


EXAMPLE = """\
# edgecl serve reads this. `edgecl serve --check --config FILE` checks it and prints the plan.
[learner]
input_shape = [1, 28, 28]
network = "cnn"
sparsity = 0.9
batch = 16
method = "er"
memory = 500

[budget]
# ram = "200MB"

[learn]
when = "samples:64"
slice = "10s"
"""
SYSUSERS = "# Who may speak with edgecl's sockets.\ng edgecl-use - -\ng edgecl-admin - -\n"


def files(unit: Unit) -> dict[str, str]:
    """Paths below the root of the file system, and what stands in them."""
    return {
        "etc/systemd/system/edgecl.service": unit.text(),
        "etc/systemd/system/edgecl.socket": socket_text("api", "/run/edgecl/api.sock", "edgecl-use"),
        "etc/systemd/system/edgecl-admin.socket": socket_text("admin", "/run/edgecl/admin.sock", "edgecl-admin"),
        "etc/systemd/system/edgecl-feed@.service": feeder_text(unit.command),
        "etc/sysusers.d/edgecl.conf": SYSUSERS,
    }


def install(root: Path, unit: Unit) -> list[str]:
    """Write the files below ``root``, and an example configuration where there is none; what was written.

    Raises `EdgeclError`.
    """
    written = []
    for name, text in files(unit).items():
        _write(root / name, text)
        written.append(f"/{name}")
    example = root / "etc/edgecl/edgecl.toml"
    if not example.exists():
        _write(example, EXAMPLE)
        written.append("/etc/edgecl/edgecl.toml")
    return written


def remove(root: Path) -> list[str]:
    """Take the unit's files away; configuration and state stay. What went."""
    gone = []
    for name in files(Unit("edgecl")):
        path = root / name
        if path.exists():
            path.unlink()
            gone.append(f"/{name}")
    return gone


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), 0o644)
    except OSError as error:
        raise EdgeclError(f"'{path}' cannot be written: {error.strerror}.", "Do it as root, or give --root.") from error


def own_command() -> str:
    """The `edgecl` beside this Python. Raises `BadInput` for a path that a unit cannot hold."""
    command = str(Path(sys.executable).with_name("edgecl"))
    if not os.path.exists(command):
        command = f"{sys.executable} -P -m edgecl"
    if any(c in command for c in "%\"'\n\\"):
        raise BadInput(f"'{command}' cannot stand in a unit.", "Install edgecl elsewhere, such as /opt/edgecl.")
    return command


def planned(found: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Limits and comment from what `check.checked` found."""
    megabytes = {k: f"{found[k] / 1e6:.1f} MB" for k in ("baseline_bytes", "growth_bytes", "peak_bytes", "pool_bytes")}
    line = (f"planned: {megabytes['baseline_bytes']} before the learner, {megabytes['growth_bytes']} of the learner, "
            f"peak {megabytes['peak_bytes']}, pool {megabytes['pool_bytes']}; high 5 %, max 15 % above")  # fmt: skip
    return dict(found["unit"]), (line,)
