"""Notify: one datagram to systemd, if it listens."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> bool:
    """Send ``text`` (such as READY=1) to NOTIFY_SOCKET. Whether there is one and it took it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.connect("\0" + address[1:] if address[0] == "@" else address)
            out.sendall(text.encode())
        return True
    except OSError:
        return False


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear of us at least, or None."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None
