"""MQTT: samples in, predictions and state out, over a broker that may come and go.

``edgecl/NAME/observe``, ``predict``, ``labels`` and ``cmd`` are heard; ``prediction``, ``refused``, ``status`` and
``availability`` are said. A message is acknowledged to the broker once its samples are on flash, and its ``id`` is
remembered, so that a message that comes twice is stored once.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadInput, require
from ..storage.bounded import parse_json, read_bounded
from .bodies import BATCH, JSON, NPY, RAW, Samples, check_label, json_object, label_of, read_samples, whole_number
from .config import Mqtt
from .discovery import announcement
from .predicting import Answer
from .refusals import Refused, problem, status_of
from .service import Service

LOG = logging.getLogger("edgecl.service")
AT_ONCE = 32  # messages that the broker may send before the first is acknowledged
SESSION = 3600  # seconds for which the broker keeps what came while we were away
MOST_OUT = 256  # predictions that wait for the broker; the oldest go first
AGAIN = 0.5  # seconds until what found no room is tried again
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"\x93NUMPY": NPY}
COMMANDS = ("learn", "stop", "pause", "resume", "save")
_ANNOUNCED = "homeassistant/status"


class Came(NamedTuple):
    """A message, and the connection it came over: numbers of messages mean something within one only."""

    message: Any
    connection: int

    @property
    def payload(self) -> bytes:
        return bytes(self.message.payload)


class MqttThread:
    """A client of a broker until `close`.

    told : called with how many samples were taken
    """

    def __init__(self, service: Service, options: Mqtt, told: Callable[[int], None]) -> None:
        self._mqtt = require("paho.mqtt.client", "mqtt")
        self._service, self._options, self._told = service, options, told
        self._topic = f"edgecl/{options.name}"
        self._out: deque[str] = deque(maxlen=MOST_OUT)
        self._waiting: deque[Came] = deque()
        self._connection = 0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._client = self._made()
        self._client.connect_async(
            options.host, options.port, keepalive=30, clean_start=False, properties=self._connecting()
        )
        self._client.loop_start()
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)
        self._thread.start()

    def _made(self) -> Any:
        mqtt, o = self._mqtt, self._options
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, f"edgecl-{o.name}", protocol=mqtt.MQTTv5, manual_ack=True
        )
        client.reconnect_delay_set(1, 120)
        client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        if o.username is not None:
            password = None if o.password_file is None else read_bounded(Path(o.password_file), 4096).decode().strip()
            client.username_pw_set(o.username, password)
        if o.tls:
            client.tls_set(o.authority)
        client.on_connect, client.on_message = self._connected, self._came
        return client

    def _connecting(self) -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        made = Properties(PacketTypes.CONNECT)
        made.SessionExpiryInterval, made.ReceiveMaximum = SESSION, AT_ONCE
        return made

    def close(self) -> None:
        """Say that we are gone, and go."""
        self._ended.set()
        self._thread.join()
        gone = self._client.publish(f"{self._topic}/availability", "offline", qos=1, retain=True)
        if self._client.is_connected():
            gone.wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    # -- the client's thread

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            LOG.warning("the MQTT broker refuses us: %s", reason, extra={"event": "mqtt"})
            return
        self._connection += 1
        heard = ["observe", "predict", "labels", *(["cmd"] if self._options.commands else [])]
        client.subscribe([(f"{self._topic}/{name}", 1) for name in heard] + [(_ANNOUNCED, 1)])
        client.publish(f"{self._topic}/availability", "online", qos=1, retain=True)
        self._announce()
        self._say_status()

    def _came(self, client: Any, data: Any, message: Any) -> None:
        self._try(Came(message, self._connection))

    def _try(self, came: Came) -> None:
        try:
            self._do(came)
        except BaseException as error:
            self._failed(came, error)

    def _do(self, message: Came) -> None:
        topic = message.message.topic
        name = topic.rpartition("/")[2]
        if topic == _ANNOUNCED:
            if message.payload == b"online":
                self._announce()
            self._ack(message)
        elif name == "observe":
            self._observe(message)
        elif name == "predict":
            self._predict(message)
        elif name == "labels":
            self._label(message)
        else:
            self._command(message)

    def _observe(self, message: Came) -> None:
        kind, body, about = self._read(message)

        def decode() -> Samples:
            found = read_samples(kind, body, self._service.held.spec, {})
            labels = found.labels if found.labels is not None else about.get("label")
            check_label(labels)
            subject = found.subject if found.subject is not None else about.get("subject")
            return Samples(found.x, labels, subject, found.task)

        future = self._service.observe(decode, len(body), True, _key(about))
        self._when(future, message, lambda answer: self._told(answer["taken"]))

    def _when(self, future: Future[Any], message: Came, then: Callable[[Any], object]) -> None:
        """Once its work is done a message is acknowledged, after ``then`` of the result, or has failed."""

        def ended(done: Future[Any]) -> None:
            if (error := done.exception()) is not None:
                self._failed(message, error)
                return
            then(done.result())
            self._ack(message)

        future.add_done_callback(ended)

    def _predict(self, message: Came) -> None:
        kind, body, about = self._read(message)
        rows = max(1, len(body) // self._service.held.spec.bytes)
        future = self._service.predict(lambda: read_samples(kind, body, self._service.held.spec, {}), rows)

        def answered(answer: Answer) -> None:
            best = [round(float(p), 6) for p in answer.shares.max(axis=1)]
            said = {"id": about.get("id"), "labels": list(answer.labels), "confidence": best}
            with self._lock:
                self._out.append(json.dumps(said))

        self._when(future, message, answered)

    def _label(self, message: Came) -> None:
        rows = json_object(b'{"labels":' + message.payload + b"}", ("labels",))["labels"]
        if not isinstance(rows, list) or not all(isinstance(r, dict) and set(r) == {"id", "label"} for r in rows):
            raise BadInput("The labels are no list.", 'Send [{"id": ..., "label": ...}].')
        self._when(self._service.label(rows, True), message, lambda _: None)

    def _command(self, message: Came) -> None:
        said, service = message.payload[:64].decode("utf-8", "replace").strip(), self._service
        if said not in COMMANDS:
            raise BadInput(f"There is no command '{said}'.", f"Send one of {', '.join(COMMANDS)}.")
        save = lambda: service.work.submit("checkpoint", service.checkpoint)  # noqa: E731
        do = {"learn": lambda: service.learn(epochs=1), "stop": service.held.stop, "pause": service.pause,
              "resume": service.resume, "save": save}  # fmt: skip
        do[said]()
        self._ack(message)

    def _read(self, message: Came) -> tuple[str, bytes, dict[str, Any]]:
        """The kind of a payload, its bytes, and what is said of it: in user properties, or in the JSON itself."""
        given = dict(getattr(message.message.properties, "UserProperty", ()) or ())
        about: dict[str, Any] = {name: given[name] for name in ("id", "label", "subject") if name in given}
        if "label" in about:
            about["label"] = label_of(about["label"])
        if "subject" in about:
            about["subject"] = whole_number("subject", about["subject"])
        body = message.payload
        for signature, kind in _SIGNATURES.items():
            if body.startswith(signature):
                return kind, body, about
        raw = len(body) > 0 and len(body) % self._service.held.spec.bytes == 0
        if body[:1] == b"{" and (not raw or _is_json(body)):  # a sample may begin with any byte
            fields = json_object(body, ("id", "label", "samples", "labels", "subject", "task"))
            about.update({name: fields.pop(name) for name in ("id", "label") if name in fields})
            return JSON, json.dumps(fields).encode(), about
        return RAW if raw else BATCH, body, about

    def _failed(self, message: Came, error: BaseException) -> None:
        """What found no room comes again; what cannot be used is said, and gone."""
        if status_of(error) in (503, 507) and not self._ended.is_set():
            with self._lock:
                self._waiting.append(message)
            return
        if status_of(error) == 500:
            LOG.error("an MQTT message failed", exc_info=error, extra={"event": "failure"})
        document = problem(error if isinstance(error, Exception) else Refused(500, "The message failed."))
        self._client.publish(f"{self._topic}/refused", json.dumps(document), qos=1)
        self._ack(message)

    def _ack(self, message: Came) -> None:
        """Not over a later connection, where the number is another message's: there it comes again, and is known."""
        if message.connection == self._connection:
            self._client.ack(message.message.mid, message.message.qos)

    # -- our thread

    def _work(self) -> None:
        said = 0.0
        while not self._ended.wait(AGAIN):
            said += AGAIN
            with self._lock:
                again, self._waiting = self._waiting, deque()
            for message in again:
                if message.connection == self._connection:  # else the broker sends it again
                    self._try(message)
            self._send()
            if said >= self._options.every:
                said = 0.0
                self._say_status()

    def _send(self) -> None:
        while self._out and self._client.is_connected():
            with self._lock:
                text = self._out.popleft()
            self._client.publish(f"{self._topic}/prediction", text, qos=1)

    def _say_status(self) -> None:
        if not self._client.is_connected():
            return
        status = self._service.status()
        said = {
            "steps": status["model"]["steps"], "labels": len(status["labels"]), "busy": status["busy"],
            "accuracy": status["accuracy"]["holdout"], "before_learning": status["accuracy"]["prequential"],
            "stored": status["counters"]["stored"], "flash_years": status["device"]["flash_years"],
            "waiting": status["pool"]["samples"],
        }  # fmt: skip
        self._client.publish(f"{self._topic}/status", json.dumps(said), qos=1, retain=True)

    def _announce(self) -> None:
        if self._options.discovery:
            topic, text = announcement(self._options.name, self._topic)
            self._client.publish(topic, text, qos=1, retain=True)


def _is_json(body: bytes) -> bool:
    try:
        parse_json(body)
    except ValueError:
        return False
    return True


def _key(about: dict[str, Any]) -> str | None:
    """What a message is told by when it comes again."""
    given = about.get("id")
    if given is None:
        return None
    if not isinstance(given, (str, int)) or not 0 < len(str(given)) <= 100 or not str(given).isprintable():
        raise BadInput("The id cannot be used.", "Give text of at most 100 characters.")
    return f"mqtt:{given}".replace(" ", "_")
