"""Client: a `Learner` that lives in another process, by the same names."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from ..errors import BadInput, EdgeclError
from ..intake.labels import plain_labels
from .wire import Json, framed, read, refusal, whole

RETRIES = 2


class Observed:
    """The ticket of samples that a service took: ``ids``; ``wait()`` returns when they are on flash."""

    def __init__(self, ids: list[int], durable: bool, flush: Any) -> None:
        self.ids, self.done, self._flush = np.array(ids, np.int64), durable, flush

    def wait(self, timeout: float | None = None) -> bool:
        """True when a store keeps the samples; False where the service has no store."""
        if not self.done:
            self.done = bool(self._flush())
        return self.done


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        limit = time.monotonic() + (self.timeout or 60.0)
        while True:
            try:
                self.sock.connect(self._path)
                return
            except BlockingIOError:  # others wait already, as many as the kernel lets
                if time.monotonic() > limit:
                    raise
                time.sleep(0.01)


class Client:
    """Verbs of a service.

    >>> client = Client("unix:/run/edgecl/api.sock")
    >>> client.observe(images, labels).wait()
    >>> client.predict(image)
    'cat'

    Parameters
    ----------
    address : ``unix:PATH``, ``http://HOST:PORT`` or ``https://HOST:PORT``; of admin.sock where admin verbs are wanted
    token : over TCP
    timeout : seconds of one request
    certificate : file of the certificate (PEM) that the service must have, where no authority signed it

    For one thread at a time. Raises what `Learner` raises where the service refuses, as a `ServiceError`.
    """

    def __init__(
        self, address: str, *, token: str | None = None, timeout: float = 60.0, certificate: str | Path | None = None
    ) -> None:
        self._address, self._token, self._timeout = address, token, timeout
        self._certificate = certificate
        self._connection = self._open()

    def _open(self) -> http.client.HTTPConnection:
        if self._address.startswith("unix:"):
            return _UnixConnection(self._address[5:], self._timeout)
        parts = urlsplit(self._address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"The address is '{self._address}'.", "Use unix:PATH, http://HOST:PORT or https://...")
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self._timeout)
        context = ssl.create_default_context(cafile=None if self._certificate is None else str(self._certificate))
        if self._certificate is not None:
            context.check_hostname = False  # the very certificate is known
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self._timeout, context=context)

    # -- requests

    def request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **query: Any
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """One request; its status, body and headers. Raises `EdgeclError` where nobody answers."""
        query = {k: v for k, v in query.items() if v is not None}
        target = path + ("?" + urlencode(query) if query else "")
        headers = {"Content-Type": kind} if body is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        for left in reversed(range(RETRIES)):
            fresh = self._connection.sock is None
            try:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._connection.request(method, target, body, headers)  # may be refused before all was sent
                answer = self._connection.getresponse()
                return answer.status, answer.read(), dict(answer.headers)
            except (ConnectionError, http.client.HTTPException, OSError) as error:
                self._connection.close()
                idle = isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError))
                if not left or fresh or not idle or isinstance(error, TimeoutError):
                    why = getattr(error, "strerror", None) or error or type(error).__name__
                    raise EdgeclError(f"{self._address} does not answer: {why}.", "Is the service running?") from error
        raise AssertionError

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON that answers a JSON body. Raises `ServiceError`."""
        text = None if body is None else json.dumps(body).encode()
        return read(*self.request(method, path, text, **query))

    @staticmethod
    def answer(status: int, body: bytes) -> Any:
        """The JSON of an answer. Raises `ServiceError`."""
        return read(status, body, {})

    def close(self) -> None:
        """Close the connection; the service goes on."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _job(self, path: str, body: Any = None) -> Any:
        """A verb that is a job: its result when it is done. Raises `ServiceError`."""
        return self._wait(self.ask("POST", path, body if body is not None else {})["job"])

    # -- as `Learner`

    def observe(self, x: Any, y: Any, *, task: Any = None, subject: int | None = None) -> Observed:
        """See `Learner.observe`. The ticket's ``wait()`` returns when the samples are on flash."""
        x, _ = self._batch(x)
        about: Json = {"shape": list(x.shape), "dtype": x.dtype.name, "labels": plain_labels(y, len(x))}
        about |= {k: v for k, v in (("task", task), ("subject", subject)) if v is not None}
        answer = read(*self.request("POST", "/v1/observe", framed(about, x), "application/x-edgecl"))
        return Observed(answer["ids"], answer["durable"], self.flush)

    def predict(self, x: Any, proba: bool = False) -> Any:
        """See `Learner.predict`."""
        x, one = self._batch(x)
        body = framed({"shape": list(x.shape), "dtype": x.dtype.name}, x)
        more = {"proba": 1} if proba else {}
        answer = read(*self.request("POST", "/v1/predict", body, "application/x-edgecl", **more))
        found = np.array(answer["probabilities"], np.float32) if proba else answer["labels"]
        return found[0] if one else found

    def flush(self) -> bool:
        """Returns when every sample observed so far is on flash; whether there is a store."""
        return bool(read(*self.request("POST", "/v1/labels", b"[]", wait="durable"))["durable"])

    def learn(self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None) -> Json:
        """See `Learner.learn`; the log as a dictionary."""
        given = {"steps": steps, "epochs": epochs, "seconds": seconds}
        asked = {k: v for k, v in given.items() if v is not None} or {"epochs": 1}
        return self._job("/v1/learn", asked)

    def stop(self) -> None:
        """End a running slice of training after the present step."""
        self.ask("POST", "/v1/stop", {})

    def end_task(self) -> str | None:
        """Say that the present task is over; why a phase was stopped, or None."""
        return self._job("/v1/end-task")["stopped"]

    def finish(self) -> str | None:
        """Say that the last task is over; why a phase was stopped, or None."""
        return self._job("/v1/finish")["stopped"]

    def save(self) -> str:
        """Write the whole state, where the service keeps it."""
        return self._job("/v1/checkpoint")["folder"]

    def forget(self, subject: int) -> Json:
        """Delete all samples of a subject (`Learner.forget`); the receipt as a dictionary."""
        return self._job("/v1/forget", {"subject": int(subject)})

    def retrain_without(self, subject: int) -> Json:
        """Forget a subject and train anew without the subject's samples; the report as a dictionary."""
        return self._job("/v1/retrain", {"subject": int(subject)})

    def relabel(self, ids: Sequence[int], y: Any) -> Any:
        """Give stored samples other labels, by id."""
        return self._job("/v1/relabel", {"ids": [int(i) for i in ids], "labels": y})

    def remove(self, ids: Sequence[int] | None = None, *, label: Any = None) -> Any:
        """Delete stored samples, by id or by label."""
        return self._job("/v1/remove", {"label": label} if ids is None else {"ids": [int(i) for i in ids]})

    @property
    def labels(self) -> tuple[str | int, ...]:
        """Labels observed so far, in the order of the head's units."""
        return tuple(self.status()["labels"])

    @property
    def counters(self) -> Json:
        """Steps, FLOPs, seconds of training, samples, exchanges."""
        return self.status()["counters"]

    # -- beyond it

    def status(self) -> Json:
        """All figures of the service: learner, pool, model, governor, journal."""
        return self.ask("GET", "/v1/status")

    def predict_kept(self, x: Any) -> Json:
        """The whole answer of a prediction whose samples are kept for a label: ``labels``, ``confidence``, ``ids``."""
        x, _ = self._batch(x)
        body = framed({"shape": list(x.shape), "dtype": x.dtype.name}, x)
        return read(*self.request("POST", "/v1/predict", body, "application/x-edgecl", keep=1))

    def label(self, labels: Mapping[str, Any] | Sequence[Json]) -> list[Json]:
        """Labels for samples that were kept, by id; a status for each."""
        rows = [{"id": k, "label": v} for k, v in labels.items()] if isinstance(labels, Mapping) else list(labels)
        return self.ask("POST", "/v1/labels", rows)["labels"]

    def pool(self, by: str = "newest", count: int = 64) -> list[Json]:
        """Samples that wait for a label, newest or least sure first."""
        return self.ask("GET", "/v1/pool", by=by, count=count)["samples"]

    def picture(self, name: str) -> bytes:
        """A kept sample as PNG."""
        return whole(*self.request("GET", f"/v1/pool/{quote(name, safe='')}"))

    def decisions(self, since: int = 0) -> list[Json]:
        """Entries of the journal from number ``since`` on: what the service decided, and why."""
        return self.ask("GET", "/v1/decisions", since=since)["decisions"]

    def export(self, what: str = "model") -> bytes:
        """The model (a `.edgecl` file) or the samples (a tar of safetensors files)."""
        return whole(*self.request("GET", "/v1/export", what=what))

    def fleet(self) -> Json:
        """The device's answer to a fleet's server before a round; ``refused``: why it takes no part, or None."""
        return self.ask("GET", "/v1/fleet")

    def fleet_round(self, message: bytes, steps: int) -> tuple[bytes, Json]:
        """One round of a fleet: the update for the server, and what happened. Raises `ServiceError`."""
        answer = self.request("POST", "/v1/fleet/begin", message, "application/octet-stream", steps=steps)
        found = self._wait(read(*answer)["job"])
        return whole(*self.request("GET", "/v1/fleet/update")), found

    def metrics(self) -> str:
        """Counters in Prometheus' text format."""
        return whole(*self.request("GET", "/metrics")).decode()

    def verb(self, name: str, **body: Any) -> Any:
        """Any other verb of the admin socket: pause, resume, rollback, backup, classes."""
        answer = self.ask("POST", f"/v1/{name}", body)
        if "job" in answer:
            return self._wait(answer["job"])
        return answer

    def _wait(self, number: str) -> Any:
        while True:
            found = self.ask("GET", f"/v1/jobs/{number}", wait=20)
            if found["state"] == "failed":
                raise refusal(found["problem"])
            if found["state"] == "done":
                return found["result"]

    def ready(self, timeout: float = 10.0) -> None:
        """Wait until the service answers. Raises the last error after ``timeout`` seconds."""
        limit = time.monotonic() + timeout
        while True:
            try:
                self.ask("GET", "/readyz")
                return
            except EdgeclError:
                if time.monotonic() >= limit:
                    raise
                time.sleep(0.02)

    def _batch(self, x: Any) -> tuple[np.ndarray, bool]:
        """Samples as a batch, and whether one came alone. The service's shape decides, asked once."""
        x = np.ascontiguousarray(x)
        if not hasattr(self, "_shape"):
            self._shape = tuple(self.status()["input"]["shape"])
        one = x.shape == self._shape
        return (x[None] if one else x), one


def events(client: Client) -> Iterator[tuple[str, Json]]:
    """(kind, about) of what happens in a service, as it happens, over a connection of its own."""
    connection = client._open()
    connection.request("GET", "/v1/events", headers={} if client._token is None else {
        "Authorization": f"Bearer {client._token}"})  # fmt: skip
    answer, kind = connection.getresponse(), ""
    try:
        for line in answer:
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                kind = text[7:]
            elif text.startswith("data: "):
                yield kind, json.loads(text[6:])
    finally:
        connection.close()
