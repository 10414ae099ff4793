"""Ways in beside the sockets, as far as the configuration asks for them: a watched folder, MQTT."""

from __future__ import annotations

from typing import Protocol

from .config import ServiceConfig
from .folder import FolderThread
from .metrics import Metrics
from .service import Service


class Way(Protocol):
    """Where samples come from until `close`."""

    def close(self) -> None: ...


def begin_ways(service: Service, config: ServiceConfig, metrics: Metrics) -> list[Way]:
    """Raises `BadInput` for a way that cannot be."""
    found: list[Way] = []
    if config.watch.folder is not None:
        found.append(FolderThread(service, config.watch, lambda count: metrics.observed(count, "folder")))
    if config.mqtt.host is not None:
        from .mqtt import MqttThread  # of an extra

        found.append(MqttThread(service, config.mqtt, lambda count: metrics.observed(count, "mqtt")))
    return found
