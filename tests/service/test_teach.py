"""`edgecl teach`: one command, the page's address, and what was taught is there again."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from daemons import until
from pages import free_port

from edgecl.backbones import BACKBONES, weights_file
from edgecl.engine.model import initial_values
from edgecl.errors import EdgeclError
from edgecl.network import Network
from edgecl.service import Client

image = pytest.importorskip("PIL.Image")


def begin(folder, port, *more):
    command = [sys.executable, "-P", "-m", "edgecl", "teach", "--no-browser", "--state", "desk", "--port", str(port)]
    return subprocess.Popen(
        [*command, *more], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def page_of(running):
    """The page's address and token."""
    return re.search(r"The page: (http://127\.0\.0\.1:\d+/)#token=(\S+)", running.stdout.readline())


def png(value: int) -> bytes:
    file = io.BytesIO()
    image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_ten_pictures_of_a_class_are_enough_and_stay(tmp_path):
    port = free_port()
    for life in range(2):
        running = begin(tmp_path, port, *(() if life else ("--size", "16", "--network", "mlp")))
        try:
            told, address = running.stdout.readline(), page_of(running)
            assert ("goes on" if life else "a small network from nothing, on pictures of 16 pixels.") in told
            with urllib.request.urlopen(address[1]) as page:
                assert b"<title>edgecl</title>" in page.read()
            with Client(address[1].rstrip("/"), token=address[2]) as client:

                def seen(value, client=client):
                    try:
                        return client.request("POST", "/v1/predict", png(value), "image/png")[1]
                    except EdgeclError:
                        return b""

                for k in range(0 if life else 10):
                    for name, value in (("dark", 20 + k), ("light", 230 - k)):
                        client.request("POST", "/v1/observe", png(value), "image/png", label=name, wait="durable")
                until(lambda seen=seen: b'["dark"]' in seen(25) and b'["light"]' in seen(225))
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 0, running.stderr.read()
        finally:
            running.kill()
            running.communicate()
    assert (tmp_path / "desk").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (["--size", "4"], "Use 8 to 224 pixels"),
        (["--port", "0"], "a port from 1 to 65535"),
        (["--sound", "--size", "32"], "Leave them out"),
        (["--backbone", "nobody"], "efficientnet_lite0"),
        (["--backbone", "efficientnet_lite0", "--network", "cnn"], "Leave it out"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, wrong, remedy):
    running = begin(tmp_path, free_port(), *wrong)
    assert running.wait(60) == 2 and remedy in running.stderr.read()
    assert not (tmp_path / "desk").exists()


def test_without_the_weights_of_a_backbone_it_says_what_it_teaches_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    running = begin(tmp_path, free_port())
    try:
        told = running.stdout.readline()
        assert "small network from nothing" in told and "edgecl models get efficientnet_lite0: 17 MB" in told
        assert page_of(running)
    finally:
        running.kill()
        running.communicate()


def test_a_backbone_is_taught_and_the_device_s_camera_shown(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    graph = BACKBONES.get("efficientnet_lite0").build((3, 224, 224))
    weights = {n: initial_values(p, rng).reshape(p.shape) for n, p in graph.parameters.items()}
    weights |= {n: 2 * w for n, w in weights.items() if n.endswith(".weight")}  # so that something comes through
    weights_file("efficientnet_lite0").parent.mkdir(parents=True)
    Network(graph, weights).save(weights_file("efficientnet_lite0"))
    (tmp_path / "film").mkdir()
    for value in (20, 230):
        (tmp_path / "film" / f"{value}.png").write_bytes(png(value))
    running = begin(tmp_path, free_port(), "--camera", "film")
    try:
        assert "teaches efficientnet_lite0, which is pretrained" in running.stdout.readline()
        address = page_of(running)
        with Client(address[1].rstrip("/"), token=address[2]) as client:
            assert client.status()["input"]["shape"] == [3, 96, 96]
            until(lambda: client.ask("GET", "/v1/feeds")["feeds"])
            for k in range(4):
                for name, value in (("dark", 20 + k), ("light", 230 - k)):
                    client.request("POST", "/v1/observe", png(value), "image/png", label=name)
            until(lambda: client.status()["model"]["steps"] > 0)
            seen = lambda value: client.request("POST", "/v1/predict", png(value), "image/png")[1]  # noqa: E731
            until(lambda: b'["dark"]' in seen(21) and b'["light"]' in seen(229))
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0, running.stderr.read()
    finally:
        running.kill()
        running.communicate()
    again = begin(tmp_path, free_port(), "--size", "32")
    assert again.wait(60) == 2 and "Give another --state" in again.stderr.read()


def test_sounds_are_taught(tmp_path):
    running = begin(tmp_path, free_port(), "--sound")
    try:
        assert "sounds of a second" in running.stdout.readline()
        address = page_of(running)
        with Client(address[1].rstrip("/"), token=address[2]) as client:
            assert client.status()["input"] == {"shape": [1, 1, 16000], "dtype": "float32", "front": "logmel"}
            t = np.arange(16000) / 16000
            x = np.stack([0.4 * np.sin(2 * np.pi * f * t) for f in (440, 2000)]).astype(np.float32)[:, None, None]
            for _ in range(4):
                client.observe(x, ["low", "high"]).wait()
            until(lambda: client.status()["model"]["steps"] > 20)
            until(lambda: client.predict(x) == ["low", "high"])
    finally:
        running.kill()
        running.communicate()
