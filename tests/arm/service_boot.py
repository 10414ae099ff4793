"""A booted arm64 system of 512 MB with systemd as its first process: the service installed, used, killed, stopped."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import machine
from emulator import folder
from root import PLATFORMS
from tools import HERE, OUT, SYSTEM_PROGRAMS, require, run

PLACE = OUT / "service"
ROOT = PLACE / "root"
SITE = ROOT / "usr/local/lib/python3.11/dist-packages"
PACKAGES = [
    "base-files", "base-passwd", "bash", "coreutils", "dash", "grep", "libc-bin", "libnss-systemd", "libpam-systemd",
    "libstdc++6", "login", "mawk", "mount", "passwd", "procps", "python3-minimal", "python3.11", "sed", "systemd",
    "systemd-sysv", "util-linux",
]  # fmt: skip
UNIT = """\
[Unit]
Description=the service, looked at
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3.11 -P /opt/guest_service.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyAMA0
Environment=HOME=/root PYTHONUNBUFFERED=1
"""
MASKED = [
    "systemd-firstboot.service", "systemd-networkd.socket", "systemd-networkd.service", "systemd-resolved.service",
    "systemd-timesyncd.service", "systemd-udevd.service", "systemd-udev-trigger.service", "getty@tty1.service",
    "serial-getty@ttyAMA0.service",
]  # fmt: skip
SECONDS = 1500


def unpack_root() -> None:
    """A Debian 12 with systemd, unpacked and set up by hand as its packages' scripts would."""
    done = PLACE / "unpacked"
    if done.exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    options = ["--mode=root", "--variant=extract", "--architectures=arm64", f"--include={','.join(PACKAGES)}",
               "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]  # fmt: skip
    run(["mmdebstrap", "--quiet", *options, "bookworm", ROOT])
    etc = ROOT / "etc"
    for name in ("passwd", "group"):
        shutil.copy(ROOT / f"usr/share/base-passwd/{name}.master", etc / name)
    (etc / "nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\nshadow: files systemd\n")
    (etc / "machine-id").write_text("")
    (etc / "hostname").write_text("edge\n")
    (etc / "fstab").write_text("")
    done.touch()


def install(wheel: Path) -> None:
    """The wheel with its command line and service, where Debian's Python looks; nothing is compiled."""
    shutil.rmtree(SITE, ignore_errors=True)
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    python = ["--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:", "--no-compile"]
    run([sys.executable, "-m", "pip", "install", "-q", "--no-warn-conflicts", "--target", SITE, *python, *abis,
         *platforms, f"{wheel}[cli,service]"])  # fmt: skip
    (ROOT / "opt").mkdir(exist_ok=True)
    shutil.copy(HERE / "guest_service.py", ROOT / "opt" / "guest_service.py")
    units = ROOT / "etc/systemd/system"
    (units / "look.service").write_text(UNIT)
    wanted = units / "default.target.wants"
    wanted.mkdir(exist_ok=True)
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    link = units / "multi-user.target.wants" / "look.service"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/systemd/system/look.service")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")


def look(wheel: Path) -> None:
    """Boot, and print what held. Ends the program where something did not."""
    require(SYSTEM_PROGRAMS)
    unpack_root()
    install(wheel)
    kernel_root = machine.unpack_kernel()
    initramfs = machine.make_initramfs(kernel_root, HERE / "init_systemd")
    disk = PLACE / "disk.img"
    disk.unlink(missing_ok=True)
    run(["mkfs.ext4", "-q", "-F", "-d", ROOT, disk, "1200M"])
    words = "console=ttyAMA0 quiet panic=-1 systemd.show_status=0 systemd.log_level=warning"
    system = ["-kernel", next(kernel_root.glob("boot/vmlinuz-*")), "-initrd", initramfs, "-append", words]
    drive = ["-drive", f"if=none,file={disk},format=raw,id=d0,snapshot=on", "-device", "virtio-blk-pci,drive=d0"]
    console = folder("service") / "console.log"
    with open(console, "wb") as out:
        run(["qemu-system-aarch64", *machine.BOARD, *system, *drive], stdin=subprocess.DEVNULL, stdout=out,
            timeout=SECONDS)  # fmt: skip
    text = console.read_text(errors="replace").replace("\r", "")
    lines = text.splitlines()
    if "ended" not in lines or any(line.startswith("FAILS") for line in lines):
        raise SystemExit(text)
    print("\n".join(line for line in lines if line.startswith(("holds", "figure"))))
    print(f"a system with {machine.MEMORY} MB: the service is installed, used, killed, hung, stopped as it should be")
