"""The daemon: one process that opens a learner, serves it, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import EdgeclError
from .access import Gate
from .app import make_app
from .boots import Boots
from .config import ServiceConfig
from .exporting import fresh_folder
from .held import Held, open_learner
from .journal import Journal
from .life import Life
from .listening import ADMIN, API, Server, bind_tcp, bind_unix, hosts, make_server, systemd_sockets, tls
from .logs import set_level
from .metrics import Metrics
from .notify import notify
from .service import Service
from .ways import begin_ways

LOG = logging.getLogger("edgecl.service")
NUDGE = 0.05  # seconds between looks whether what trains is to make room
STOP_SECONDS = 20.0
OPEN_SECONDS = 300


class Daemon:
    """Sockets, the service behind them, and signals.

    reload : reads the configuration again; raises for a bad one
    """

    def __init__(self, config: ServiceConfig, reload: Callable[[], ServiceConfig], use: tuple[str, ...] = ()) -> None:
        self.config, self._reload, self._use = config, reload, use
        self._stops = 0
        self._servers: list[Server] = []

    def run(self) -> int:
        """Serve until a signal says to stop; the exit status."""
        sys.setswitchinterval(self.config.serve.switch_interval)
        self.config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh_folder(self.config)
        serve = self.config.serve
        self._gate = None if serve.tokens is None else Gate(serve.tokens, hosts(serve))
        sockets, self._tls = self._bind(), tls(serve) if serve.listen is not None else None
        began = time.monotonic()
        boots = Boots(self.config.state)
        notify(f"EXTEND_TIMEOUT_USEC={OPEN_SECONDS * 1_000_000}\nSTATUS=opening the store")
        learner = open_learner(self.config, self._use)
        held = Held(learner, self.config.learn.end_task, int(self.config.learner.get("buffer", 2000)))
        journal = Journal(self.config.state)
        self.service = Service(self.config, held, journal, boots, boots.too_many)
        if boots.too_many is not None:
            journal.write("safe mode", held.steps, why=boots.too_many)
        LOG.info("opened in %.2f s", time.monotonic() - began, extra={"event": "opened"})
        try:
            asyncio.run(self._serve(sockets))
        finally:
            notify("STOPPING=1")
            signal.signal(signal.SIGTERM, self._stop_at_once)
            self.service.close(lambda: self._stops < 2, STOP_SECONDS)
            boots.well()
        return 0

    def _stop_at_once(self, *_: object) -> None:
        """A further SIGTERM after the loop has ended: no state is saved that is not being saved."""
        self._stops += 1

    def _bind(self) -> dict[str, socket.socket]:
        """The sockets by what they are for: ``api``, ``admin`` and perhaps ``tcp``."""
        serve, found = self.config.serve, systemd_sockets()
        run = Path(serve.run)
        if not {"api", "admin"} <= set(found):
            run.mkdir(mode=0o755, parents=True, exist_ok=True)
        if "api" not in found:
            found["api"] = bind_unix(run / API, serve.use_group)
        if "admin" not in found:
            found["admin"] = bind_unix(run / ADMIN, serve.admin_group)
        if serve.listen is not None and "tcp" not in found:
            found["tcp"] = bind_tcp(serve.listen)
        if "tcp" in found and self._gate is None:
            raise EdgeclError("A port is served, and there are no tokens.", "Give serve.tokens.")
        return found

    async def _serve(self, sockets: dict[str, socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self.service.reload = self.reload
        self.service.events.begin(loop)
        self.service.start()
        roles = {"api": "use", "admin": "admin", "tcp": None}
        running, metrics = [], Metrics(self.service)
        for name, sock in sockets.items():
            app = make_app(self.service, metrics, roles.get(name, "use"), self._gate)
            server = make_server(app, self.config.serve, self._tls if name == "tcp" else None)
            self._servers.append(server)
            running.append(asyncio.create_task(server.serve(sockets=[sock])))
        ways = begin_ways(self.service, self.config, metrics)
        while not all(server.started for server in self._servers):
            await asyncio.sleep(0.001)
            for task in running:
                if task.done():
                    task.result()
        if self._stops:
            self._end_servers()
        notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving, {self.service.held.steps} steps")
        LOG.info("ready", extra={"event": "ready"})
        beat = asyncio.create_task(self._beat())
        await asyncio.gather(*running)
        beat.cancel()
        for way in ways:
            await asyncio.to_thread(way.close)

    async def _beat(self) -> None:
        life = Life(self.service)
        while True:
            life.tick()
            await asyncio.sleep(NUDGE)

    # -- signals

    def _stop(self) -> None:
        self._stops += 1
        notify("STOPPING=1")
        self._end_servers()

    def _end_servers(self) -> None:
        self.service.held.stop()
        self.service.events.end()
        for server in self._servers:
            server.should_exit = True

    def _hang_up(self) -> None:
        with contextlib.suppress(Exception):  # said in the log
            self.reload()

    def reload(self) -> list[str]:
        """Read the configuration again; names of what needs a restart. Raises for a bad file, which changes nothing."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            fresh = self._reload()
            if self._gate is not None:
                self._gate.reload()
            set_level(fresh.serve.log)
            return self.service.reconfigure(fresh)
        except Exception as error:
            LOG.error("the configuration stays as it was: %s", error, extra={"event": "reload"})
            raise
        finally:
            notify("READY=1")
