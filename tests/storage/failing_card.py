"""An ext4 card on a loop device over memory, which can be made to fail as cards do. Needs root."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

F_ADD_SEALS, F_SEAL_FUTURE_WRITE = 1033, 16
FIBMAP = 1


class Card:
    """A file system at ``mount``. The kernel's own errors: nothing between a store and its files is replaced."""

    def __init__(self, mount: Path, size: int = 8 << 20, image: bytes | None = None) -> None:
        self.mount = mount
        mount.mkdir(exist_ok=True)
        self.memory = os.memfd_create("card", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.truncate(self.memory, size)
        path = f"/proc/{os.getpid()}/fd/{self.memory}"
        if image is None:
            self._call("mkfs.ext4", "-q", "-F", path)
        else:
            os.pwrite(self.memory, image, 0)
        self.device = self._call("losetup", "-f", "--show", path)
        try:
            self._call("mount", "-o", "errors=remount-ro", self.device, mount)
        except subprocess.CalledProcessError:
            self._call("losetup", "-d", self.device)
            raise

    @staticmethod
    def _call(*command: object) -> str:
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.strip()

    def image(self) -> bytes:
        """What is on it."""
        return os.pread(self.memory, os.fstat(self.memory).st_size, 0)

    def refuse_writes(self) -> None:
        """From here on a write to the device is an I/O error; there is no way back but another card."""
        fcntl.fcntl(self.memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)

    def lose(self, file: Path, first_byte: int) -> None:
        """Reads of the blocks from ``first_byte`` of a file on are I/O errors, and of all that lies behind them."""
        fd = os.open(file, os.O_RDONLY)
        os.fsync(fd)
        block = fcntl.ioctl(fd, FIBMAP, (first_byte // self._block(fd)).to_bytes(4, "little"))
        end = int.from_bytes(block, "little") * self._block(fd)
        os.close(fd)
        for each in file.parent.iterdir():
            fd = os.open(each, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        self._kept = self.image()
        os.truncate(self.memory, end)

    def find(self) -> None:
        """What `lose` took is there again."""
        os.pwrite(self.memory, self._kept, 0)

    @staticmethod
    def _block(fd: int) -> int:
        return os.fstat(fd).st_blksize

    def turn_read_only(self) -> None:
        """As ext4 does by itself when it meets an error it cannot mend: under the files that are open."""
        self._call("mount", "-o", "remount,abort", self.mount)
        with pytest.raises(OSError):
            (self.mount / "probe").write_bytes(b"x")

    def off(self) -> None:
        subprocess.run(["umount", "-l", self.mount], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], capture_output=True)
        os.close(self.memory)
