"""Predictions go on while others do their worst, each attack against the same requests beside a spinning process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from daemons import samples

MIB = 1 << 20
SPIN = "while True: pass"
# Each runs in a process of its own with the daemon's folder as argument, until it is killed.
BEGIN = """
import io, json, resource, socket, struct, sys, time, zlib
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def connect():
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(20)
    while True:
        try:
            raw.connect(sys.argv[1] + "/run/api.sock")
            return raw
        except BlockingIOError:  # the queue is full
            time.sleep(0.01)
def ask(body, kind, path="/v1/predict", method="POST", more=""):
    with connect() as raw:
        head = f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(body)}", more, ""
        try:
            raw.sendall("\\r\\n".join(head).encode() + body)
            return raw.recv(200)
        except OSError:
            return b""
count = 0
def done():
    global count
    count += 1
    print(count, flush=True)
"""
ATTACKS = {
    "slow heads": """
while True:
    slow = [connect() for _ in range(30)]
    for turn in range(20):
        for raw in slow:
            try:
                raw.send(b"GET /v1/status HTTP/1.1\\r\\n" if turn == 0 else b"X: y\\r\\n")
            except OSError:
                pass
        time.sleep(0.1)
        done()
    for raw in slow:
        raw.close()
""",
    "bombs": """
def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(bytes(10_000_000), 9)) + chunk(b"IEND", b"")
header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 1, 12, 12), }".ljust(117) + b"\\n"
npy = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header
deep = b"[" * 100_000
while True:
    for body, kind in ((png, "image/png"), (npy, "application/x-npy"), (deep, "application/json")):
        answer = ask(body, kind)
        assert answer[9:10] == b"4" or answer[9:12] in (b"503", b""), answer
        done()
""",
    "ten thousand connections": """
held = []
while True:
    raw = connect()
    held.append(raw)
    if len(held) > 10_000:
        held.pop(0).close()
    time.sleep(0.001)
    done()
""",
    "wrong words on every route": """
routes = json.load(open(sys.argv[2]))["paths"]
while True:
    for path, methods in routes.items():
        for method in methods:
            if "events" not in path:
                ask(b"{", "application/json", path, method.upper(), "Authorization: Bearer wrong\\r\\n")
                done()
""",
}


@contextmanager
def beside(*words: str):
    process = subprocess.Popen([sys.executable, "-P", "-c", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def p99(client, requests: int) -> float:
    x, _ = samples(64)
    seconds = []
    for i in range(requests):
        began = time.perf_counter()
        assert client.predict(x[i % 64]).startswith("kind")
        seconds.append(time.perf_counter() - began)
    return float(np.quantile(seconds, 0.99))


@pytest.mark.campaign
@pytest.mark.parametrize("attack", ATTACKS)
def test_predictions_go_on_and_memory_stays(running, attack, tmp_path):
    process = psutil.Process(running.process.pid)
    with running.client(timeout=60) as client:
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps(client.ask("GET", "/v1/openapi.json")))
        p99(client, 500)
        before, ratios, done = process.memory_info().rss, [], 0
        for _ in range(7):
            with beside(SPIN):
                control = p99(client, 400)
            words = [BEGIN + ATTACKS[attack], str(running.folder), str(document)]
            with beside(*words) as attacker:
                assert attacker.stdout.readline(), attacker.stderr.read().decode()
                ratios.append(p99(client, 400) / control)
                assert attacker.poll() is None, attacker.stderr.read().decode()
                attacker.kill()
                done += int(attacker.stdout.read().split()[-1])
            time.sleep(0.2)
        growth = (process.memory_info().rss - before) / MIB
    print(f"{attack}: {done} times; p99 against the control: {np.median(ratios):.2f} {np.round(ratios, 2)}; "
          f"growth {growth:.2f} MiB")  # fmt: skip
    assert np.median(ratios) <= 3 and growth <= 10
