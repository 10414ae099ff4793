"""An ext4 card on a loop device over memory, which can be made to fail as cards do. Needs root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest

F_ADD_SEALS, F_SEAL_FUTURE_WRITE = 1033, 16
FIBMAP = 1
MOVE_EXT = 0xC028660F  # EXT4_IOC_MOVE_EXT
BLOCK = 4096


class Card:
    """A file system at ``mount``. The kernel's own errors: nothing between a store and its files is replaced."""

    def __init__(self, mount: Path, size: int = 16 << 20, image: bytes | None = None) -> None:
        self.mount = mount
        mount.mkdir(exist_ok=True)
        self.memory = os.memfd_create("card", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.truncate(self.memory, size)
        path = f"/proc/{os.getpid()}/fd/{self.memory}"
        if image is None:
            self._call("mkfs.ext4", "-q", "-F", "-b", BLOCK, "-m", 0, path)
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

    def lose(self, *files: Path, first_byte: int = 0) -> None:
        """Reads of the files' blocks from ``first_byte`` on are I/O errors; nothing else on the card is lost. Once."""
        self._lost = self._move_to_the_end(files, first_byte // BLOCK) * BLOCK
        for each in {file.parent for file in files}.pop().iterdir():
            fd = os.open(each, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        self._kept = self.image()[self._lost :]
        os.truncate(self.memory, self._lost)

    def find(self) -> None:
        """What `lose` took is there again."""
        os.pwrite(self.memory, self._kept, self._lost)

    def _move_to_the_end(self, files: tuple[Path, ...], first: int) -> int:
        """Exchange the files' blocks from ``first`` on for the last ones of the card that are free; the first of those.

        Where ext4 puts a file depends on the processor that wrote it, so that others' blocks may lie behind it.
        """
        spare, free = self.mount / "spare", self.mount / "free"
        spare.write_bytes(bytes(64 * BLOCK))  # for the lists of pieces that the files become
        fd, *lost = (os.open(path, os.O_RDWR | os.O_CREAT) for path in (free, *files))
        try:
            with contextlib.suppress(OSError):  # until the card is full
                while os.write(fd, bytes(BLOCK)):
                    pass
            for each in (fd, *lost):
                os.fsync(each)
            spare.unlink()
            last = sorted((self._place(fd, k), k) for k in range(os.fstat(fd).st_size // BLOCK))
            for each in lost:
                for block in range(first, -(-os.fstat(each).st_size // BLOCK)):
                    place, other = last.pop()
                    fcntl.ioctl(each, MOVE_EXT, struct.pack("=iI4Q", 0, fd, block, other, 1, 0))
            return place
        finally:
            for each in (fd, *lost):
                os.close(each)
            free.unlink()

    @staticmethod
    def _place(fd: int, block: int) -> int:
        return int.from_bytes(fcntl.ioctl(fd, FIBMAP, block.to_bytes(4, "little")), "little")

    def turn_read_only(self) -> None:
        """As ext4 does by itself when it meets an error it cannot mend: under the files that are open."""
        self._call("mount", "-o", "remount,abort", self.mount)
        with pytest.raises(OSError):
            (self.mount / "probe").write_bytes(b"x")

    def off(self) -> None:
        subprocess.run(["umount", "-l", self.mount], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], capture_output=True)
        os.close(self.memory)
