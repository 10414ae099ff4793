"""A whole arm64 system of Pi Zero 2 W class (four Cortex-A53, 512 MB): the demo's slice under the demo's own limit.

Here the resident set is the board's: no emulator in it, a kernel that kills what does not fit. So the plan of the whole
demo (same batch, slots and store, 96 MB) is checked with that kernel's figures.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from demo import take_data
from emulator import folder
from tools import HERE, OUT, ROOT, SYSTEM_PROGRAMS, require, run

BOOT = OUT / "boot"
MODULES = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"]
MEMORY = 512  # MB
BOARD = ["-M", "virt", "-cpu", "cortex-a53", "-smp", 4, "-m", MEMORY, "-nographic", "-no-reboot", "-nic", "none"]
MB = 1_000_000


def unpack_kernel() -> Path:
    """Debian's arm64 cloud kernel and a static busybox, unpacked; the kernel's folder."""
    done = BOOT / "root" / "unpacked"
    if not done.exists():
        shutil.rmtree(BOOT / "root", ignore_errors=True)
        BOOT.mkdir(parents=True, exist_ok=True)
        packages = "--include=linux-image-cloud-arm64,busybox-static"
        options = ["--mode=root", "--variant=extract", "--architectures=arm64", packages]
        run(["mmdebstrap", "--quiet", *options, "bookworm", BOOT / "root"])
        done.touch()
    return BOOT / "root"


def make_initramfs(root: Path, init: Path = HERE / "init") -> Path:
    """busybox, the modules of a virtio disk in loading order, and the first process."""
    work = BOOT / "initramfs"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("bin", "lib/modules", "proc", "sys", "dev", "disk"):
        (work / name).mkdir(parents=True)
    shutil.copy(next(root.glob("*bin/busybox"), root / "usr/bin/busybox"), work / "bin" / "busybox")
    shutil.copy(init, work / "init")
    (work / "init").chmod(0o755)
    for number, name in enumerate(MODULES):
        found = next((root / "lib" / "modules").rglob(f"{name}.ko"), None) or next(
            (root / "usr" / "lib" / "modules").rglob(f"{name}.ko"), None
        )
        if found is not None:  # else it is built in
            shutil.copy(found, work / "lib" / "modules" / f"{number}-{name}.ko")
    names = "\n".join(str(p.relative_to(work)) for p in sorted(work.rglob("*")))
    packed = run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names.encode(), capture_output=True).stdout
    target = BOOT / "initramfs.gz"
    target.write_bytes(gzip.compress(packed, 1))
    return target


def make_disk() -> Path:
    """ROOT with the installed wheel and the data, as an ext4 image."""
    take_data()
    for name in ("proc", "sys", "dev", "tmp", "opt/run"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(OUT / "cache", ROOT / "opt" / "cache", dirs_exist_ok=True)
    disk = BOOT / "disk.img"
    disk.unlink(missing_ok=True)
    run(["mkfs.ext4", "-q", "-F", "-d", ROOT, disk, "900M"])
    return disk


def boot() -> str:
    """What the system printed."""
    require(SYSTEM_PROGRAMS)
    root = unpack_kernel()
    kernel = next(root.glob("boot/vmlinuz-*"))
    initramfs, disk = make_initramfs(root), make_disk()
    system = ["-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyAMA0 quiet panic=-1"]
    drive = ["-drive", f"if=none,file={disk},format=raw,id=d0,snapshot=on", "-device", "virtio-blk-pci,drive=d0"]
    done = run(["qemu-system-aarch64", *BOARD, *system, *drive], stdin=subprocess.DEVNULL, capture_output=True)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    (folder("boot") / "console.log").write_text(text)
    return text


def run_slice() -> None:
    text = boot()
    shown = [line for line in text.splitlines() if not line.startswith(("record ", "task "))]
    print("\n".join(shown))
    failed = problems(text)
    if failed:
        raise SystemExit(f"the system with {MEMORY} MB:\n  " + "\n  ".join(failed))
    print(f"a system with {MEMORY} MB: every claim of the slice holds, nothing was killed, both plans were kept")


def problems(text: str) -> list[str]:
    """What the console's text shows to be wrong."""
    found = []
    status = re.search(r"^status: (\d+)", text, re.M)
    if status is None or status[1] != "0":
        found.append(f"edgecl demo --slice ended with status {status[1] if status else 'unknown'}")
    killed = re.search(r"^oom_kill (\d+)", text, re.M)
    if killed is None or killed[1] != "0" or "out of memory messages: 0" not in text:
        found.append("the kernel ran out of memory and killed something")
    for name in ("naive", "sparcl"):
        record = re.search(rf"^record {name}: (.*)$", text, re.M)
        if record is None:
            found.append(f"{name}: no record")
            continue
        found += [f"{name}: {p}" for p in memory_problems(json.loads(record[1])["memory"])]
    return found


def memory_problems(memory: dict[str, Any]) -> list[str]:
    """The peak (VmHWM) within the limit, and the planned growth within 5 % + 1 MB of the measured one."""
    peak, base = memory["measured_peak_rss_bytes"], memory["baseline_bytes"]
    planned, measured = memory["planned_peak_rss_bytes"] - base, peak - base
    print(f"VmHWM {peak / MB:.1f} MB, of it {base / MB:.1f} MB before the plan; growth {measured / MB:.1f} MB, "
          f"planned {planned / MB:.1f} MB")  # fmt: skip
    found = []
    if peak > memory["budget_bytes"]:
        found.append(f"peak {peak} above the limit {memory['budget_bytes']}")
    if abs(planned - measured) > 0.05 * measured + MB:
        found.append(f"planned growth {planned} is not the measured {measured}")
    return found
