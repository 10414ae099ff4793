"""Listening: the sockets a daemon serves on, given by systemd or bound here, and HTTP on them with limits."""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from ..errors import BadInput, EdgeclError
from .certificate import fingerprint, own_certificate
from .config import Serve
from .protocol import LimitedProtocol

LOG = logging.getLogger("edgecl.service")
IDLE_SECONDS, GRACE_SECONDS = 120, 2
WAITING = 128  # connections that wait in the kernel
ACCEPTED = 8  # that asyncio accepts in one turn of its loop, which answers nobody meanwhile
FIRST_FD = 3
API, ADMIN = "api.sock", "admin.sock"


def systemd_sockets() -> dict[str, socket.socket]:
    """Sockets that systemd hands over, by their name (``FileDescriptorName=``): api, admin, tcp."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for i in range(int(os.environ.get("LISTEN_FDS", "0"))):
        made = socket.socket(fileno=FIRST_FD + i)
        made.set_inheritable(False)
        found[names[i].removesuffix(".socket") if i < len(names) else str(i)] = made
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return found


def bind_unix(path: Path, group: str | None) -> socket.socket:
    """A socket of mode 0660 at ``path``. One that nobody answers on is replaced. Raises `BadInput` or `EdgeclError`."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        old = os.umask(0o117)  # right from the first moment on
        try:
            made.bind(str(path))
        finally:
            os.umask(old)
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        made.listen(WAITING)
        made.setblocking(False)
        return made
    except KeyError:
        made.close()
        raise BadInput(f"There is no group '{group}'.", f"Make it: groupadd --system {group}") from None
    except OSError as error:
        made.close()
        raise EdgeclError(f"'{path}' cannot be a socket: {error.strerror or error}.", "See serve.run.") from error


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EdgeclError(f"'{path}' is no socket.", "Move it away, or give another serve.run.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    raise EdgeclError(f"Another daemon answers at '{path}'.", "Stop it, or give another serve.run.")


def bind_tcp(listen: str) -> socket.socket:
    """A socket on HOST:PORT. Raises `EdgeclError`."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(found[0], found[1])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(found[4])
        made.listen(WAITING)
        made.setblocking(False)
        return made
    except OSError as error:
        raise EdgeclError(f"{listen} cannot be listened on: {error.strerror or error}.", "See serve.listen.") from error


def hosts(serve: Serve) -> frozenset[str]:
    """Names by which a request over TCP may call us."""
    own = set() if serve.listen is None else {serve.listen.rpartition(":")[0].strip("[]").lower()}
    return frozenset({"localhost", "127.0.0.1", "::1", *own, *serve.hosts} - {"0.0.0.0", "::"})


def tls(serve: Serve) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the configured certificate or our own, or None. Raises `BadInput`."""
    certificate, key = serve.certificate, serve.key
    if certificate is None or key is None:
        if not serve.tls:
            return None
        certificate, key = map(str, own_certificate(Path(serve.state) / "tls", hosts(serve)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"The certificate cannot be used: {error}.", "See serve.certificate and serve.key.") from error
    LOG.info("the certificate's SHA-256 is %s", fingerprint(Path(certificate)), extra={"event": "certificate"})
    return context


class Server(uvicorn.Server):
    """uvicorn's server without signals of its own: several run in one loop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(WAITING)  # asyncio has said ACCEPTED to the kernel, too

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: Any, serve: Serve, context: ssl.SSLContext | None = None) -> Server:
    """A server of one application; it begins with ``serve(sockets=[...])``."""
    protocol = type("Protocol", (LimitedProtocol,), {"most": serve.connections})
    config = uvicorn.Config(
        app, loop="none", http=protocol, ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, backlog=ACCEPTED, date_header=False,
        timeout_keep_alive=IDLE_SECONDS, timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    config.load()
    if context is not None:
        config.ssl = context
    return Server(config)
