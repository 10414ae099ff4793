"""Runs arm64 programs of ROOT on this machine, their children too.

Children need the kernel to know what to do with an arm64 program. binfmt_misc is told in a user and mount namespace of
our own (Linux 6.7 or newer), so the machine is left as it was.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import OUT, PYTHON, ROOT, SITE, run

# The ELF header of an arm64 executable, and which of its bits count
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_REGISTER = f"""
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
printf '%s' ':edgecl:M::{_MAGIC}:{_MASK}:'"$(command -v qemu-aarch64)"':PC' > /proc/sys/fs/binfmt_misc/register || {{
  echo "this kernel lets no namespace register arm64 programs (Linux 6.7 or newer does)" >&2; exit 1; }}
exec "$@"
"""


def environment(cpu: str) -> dict[str, str]:
    """For programs under the emulator: the root they see, the processor they meet, their packages."""
    return {
        "QEMU_LD_PREFIX": str(ROOT),
        "QEMU_CPU": cpu,
        "PYTHONPATH": str(SITE),
        "PYTHONHASHSEED": "0",
        "EDGECL_CACHE": str(OUT / "cache"),
        "TMPDIR": str(folder("tmp")),
    }


def folder(name: str) -> Path:
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def emulate(cpu: str, words: Sequence[object], **options) -> subprocess.CompletedProcess:
    """Python of ROOT with ``words``, at low priority; it may start children. ``options`` as for subprocess.run."""
    return run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _REGISTER, "sh", PYTHON, *words],
               **_with(environment(cpu), options))  # fmt: skip


def emulate_counted(cpu: str, words: Sequence[object], prefix: object, **options) -> subprocess.CompletedProcess:
    """The same without children, under the counting plugin; windows are written to PREFIX.NUMBER."""
    plugin = folder("plugin") / "count.so"
    run(["gcc", "-O2", "-shared", "-fPIC", os.path.join(os.path.dirname(__file__), "count.c"), "-o", plugin])
    command = ["qemu-aarch64", "-plugin", f"{plugin},out={prefix}", "-d", "plugin", PYTHON, *words]
    return run(command, **_with(environment(cpu), options))


def _with(env: Mapping[str, str], options: dict) -> dict:
    return {**options, "env": {**env, **options.get("env", {})}}
