"""What a client may not do: each is refused in words, and the daemon goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
import zlib

import numpy as np
import psutil
import pytest
from daemons import samples

from edgecl.errors import BadInput
from edgecl.intake.spec import sample_spec
from edgecl.service.bodies import KINDS, read_npy, read_samples
from edgecl.service.refusals import Refused

SPEC = sample_spec((1, 12, 12), "uint8", None, None)


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def bomb(width: int, height: int) -> bytes:
    """A PNG that says so, and is short."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


RAW, NPY, BATCH, JSON = KINDS[:4]
HUGE = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904,), }")
OBJECTS = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n.")
WIDE = json.dumps({"shape": [1 << 31, 1 << 31]}).encode()
PREDICT = {
    "raw, half a sample": (RAW, bytes(100), 422),
    "raw, none": (RAW, b"", 422),
    "too many": (RAW, bytes(144 * 1025), 413),
    "another type": ("text/plain", bytes(144), 415),
    "npz": ("application/zip", b"PK\x03\x04", 415),
    "npy, no array": (NPY, b"\x93NUMPY", 422),
    "npy of 2^62": (NPY, HUGE, 422),
    "npy of objects": (NPY, OBJECTS, 422),
    "a picture of 30,000 x 30,000": ("image/png", bomb(30000, 30000), 413),
    "half a picture": ("image/png", bomb(12, 12)[:40], 422),
    "a batch whose header lies outside": (BATCH, struct.pack("<I", 1 << 31) + b"{}", 422),
    "a batch of 2^62": (BATCH, struct.pack("<I", len(WIDE)) + WIDE, 422),
    "JSON of words": (JSON, b'{"samples": [["a"]]}', 422),
    "JSON, nested for ever": (JSON, b'{"samples": ' + b"[" * 200000, 422),
}
OTHERS = {
    "no label": ("POST", "/v1/observe", bytes(144), RAW, 422),
    "a label of 1,000 letters": ("POST", "/v1/observe?label=" + "a" * 1000, bytes(144), RAW, 422),
    "labels that are none": ("POST", "/v1/labels", b'[{"id": 1, "label": true}]', JSON, 422),
    "an unknown query": ("POST", "/v1/predict?prob=1", bytes(144), RAW, 422),
    "no such job": ("GET", "/v1/jobs/77", None, JSON, 404),
    "no subject": ("POST", "/v1/forget", b'{"subject": "me"}', JSON, 422),
    "learn nothing": ("POST", "/v1/learn", b'{"stepz": 1}', JSON, 422),
}
REFUSED = {**OTHERS, **{what: ("POST", "/v1/predict", body, kind, n) for what, (kind, body, n) in PREDICT.items()}}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_words(running, what):
    method, path, body, kind, wanted = REFUSED[what]
    with running.client() as client:
        status, answer, headers = client.request(method, path, body, kind)
        document = json.loads(answer)
        assert (status, document["status"]) == (wanted, wanted), document
        assert headers["content-type"] == "application/problem+json"
        assert document["cause"] and document["remedy"]
        assert "Traceback" not in answer.decode()
        assert client.predict(samples(1)[0][0]) == "kind 0"


def test_a_gigabyte_that_is_declared_is_refused_before_it_is_sent(running):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(running.folder / "run" / "api.sock"))
        raw.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                    b"Content-Length: 1000000000\r\n\r\n")  # fmt: skip
        raw.settimeout(30)
        assert b" 413 " in raw.recv(4096).splitlines()[0]


def test_a_body_in_chunks_is_counted(running):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(running.folder / "run" / "api.sock"))
        raw.settimeout(30)
        raw.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        part = b"%x\r\n%s\r\n" % (1 << 16, bytes(1 << 16))
        try:
            for _ in range(8_100_000 >> 16):
                raw.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b" 413 " in raw.recv(4096).splitlines()[0]


def test_a_head_that_is_too_long_is_refused(running):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(running.folder / "run" / "api.sock"))
        raw.settimeout(30)
        try:
            raw.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        except (BrokenPipeError, ConnectionResetError):
            return
        assert raw.recv(4096)[9:12] in (b"", b"400", b"431")


def test_a_head_that_does_not_end_is_waited_for_ten_seconds_only_on_whichever_connection(running):
    def begun(served: int, pause: float) -> socket.socket:
        """A connection with half a head, after so many whole requests and a pause."""
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(str(running.folder / "run" / "api.sock"))
        raw.settimeout(30)
        for _ in range(served):
            raw.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in raw.recv(65536).splitlines()[0]
        time.sleep(pause)
        raw.sendall(b"GET /v1/status HTTP/1.1\r\nX: ")
        return raw

    waiting = [(begun(served, pause), time.monotonic()) for served, pause in ((0, 0), (3, 0), (1, 2))]
    for raw, since in waiting:
        with raw, contextlib.suppress(ConnectionResetError):
            assert raw.recv(1) == b""
        assert time.monotonic() - since > 9


def test_many_connections_do_not_keep_others_out_for_long_nor_cost_memory(running):
    process = psutil.Process(running.process.pid)
    with running.client() as client:
        client.predict(samples(1)[0][0])
        before = process.memory_info().rss
        open_, refused = [], 0
        for _ in range(500):
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(str(running.folder / "run" / "admin.sock"))  # waits where others wait
            raw.settimeout(10)
            open_.append(raw)
        for raw in open_[-300:]:
            try:
                refused += raw.recv(1) == b""
            except ConnectionResetError:
                refused += 1
        assert refused == 300
        assert client.predict(samples(1)[0][0]) == "kind 0"  # who was there first goes on
        assert process.memory_info().rss - before <= 10 << 20
        for raw in open_:
            raw.close()


def test_random_bytes_give_samples_or_a_typed_refusal():
    rng = np.random.default_rng(0)
    sound = [npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 12, 12), }".ljust(117) + "\n", bytes(144)),
             struct.pack("<I", 2) + b"{}" + bytes(144), b'{"samples": [[[1]]]}', bytes(144)]  # fmt: skip
    assert read_npy(sound[0]).shape == (1, 1, 12, 12)
    for _ in range(1500):
        body = bytearray(sound[int(rng.integers(len(sound)))])
        for _ in range(int(rng.integers(1, 6))):
            body[int(rng.integers(len(body)))] = int(rng.integers(256))
        body = bytes(body[: int(rng.integers(1, len(body) + 1))])
        kind = KINDS[int(rng.integers(4))]
        with contextlib.suppress(BadInput, Refused):
            assert len(read_samples(kind, body, SPEC, {}).x) >= 1
