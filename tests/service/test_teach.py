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

from edgecl.errors import EdgeclError
from edgecl.service import Client

image = pytest.importorskip("PIL.Image")


def begin(folder, port, *more):
    command = [sys.executable, "-P", "-m", "edgecl", "teach", "--no-browser", "--state", "desk", "--port", str(port)]
    return subprocess.Popen(
        [*command, *more], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def png(value: int) -> bytes:
    file = io.BytesIO()
    image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_ten_pictures_of_a_class_are_enough_and_stay(tmp_path):
    port = free_port()
    for life in range(2):
        running = begin(tmp_path, port, "--size", "16", "--network", "mlp")
        try:
            address = re.search(r"(http://127\.0\.0\.1:\d+/)#token=(\S+)", running.stdout.readline())
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


@pytest.mark.parametrize("wrong", [["--size", "4"], ["--port", "0"]])
def test_what_cannot_be_is_said(tmp_path, wrong):
    running = begin(tmp_path, free_port(), *wrong)
    assert running.wait(60) == 2 and "Use 8 to 224 pixels" in running.stderr.read()
    assert not (tmp_path / "desk").exists()
