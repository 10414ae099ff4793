"""Feeders: processes that bring the device's camera, microphone and sensors to the socket; each plays a recording."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave

import numpy as np
import pytest
from daemons import Daemon, until
from pages import TOKEN, teachable

from edgecl.errors import EdgeclError
from edgecl.feed import Taken
from edgecl.feed.windows import Windows

image = pytest.importorskip("PIL.Image")
PICTURES = 'input_shape = [3, 16, 16]\nnetwork = "mlp"\nbatch = 8\nmemory = 60\n'
SIGNALS = 'input_shape = [{0}, 1, {1}]\ndtype = "float32"\nnetwork = "mlp"\nbatch = 8\nmemory = 60\n'


class Feeder:
    """`edgecl feed` in a process of its own."""

    def __init__(self, daemon: Daemon, *arguments: str, env: dict[str, str] | None = None) -> None:
        where = ["--address", f"unix:{daemon.folder}/run/api.sock"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edgecl", "feed", *arguments, *where], cwd=daemon.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def started(folder, learner: str) -> Daemon:
    made = Daemon(folder)
    made.sections["learner"], made.sections["learn"] = learner, 'when = "samples:2"\nslice = "1s"\n'
    made.sections["serve"] = "unsure_below = 0.2\n"
    return made.start()


@pytest.fixture(scope="module")
def sees(tmp_path_factory):
    made = started(tmp_path_factory.mktemp("sees"), PICTURES)
    yield made
    made.end()


@pytest.fixture(scope="module")
def hears(tmp_path_factory):
    made = started(tmp_path_factory.mktemp("hears"), SIGNALS.format(1, 800))
    yield made
    made.end()


@pytest.fixture(scope="module")
def feels(tmp_path_factory):
    made = started(tmp_path_factory.mktemp("feels"), SIGNALS.format(3, 16))
    yield made
    made.end()


def paint(folder, name: str, value: int, side: int = 24):
    folder.mkdir(exist_ok=True)
    image.fromarray(np.full((side, side, 3), value, np.uint8)).save(folder / name)


def shown(daemon: Daemon) -> dict[str, dict]:
    with daemon.client() as client:
        return {row["name"]: row for row in client.ask("GET", "/v1/feeds")["feeds"]}


def knows_two_classes(daemon: Daemon) -> None:
    """Whichever tests this process ran before."""
    with daemon.client() as client:
        dark, light = (np.full((6, 3, 16, 16), value, np.uint8) for value in (20, 230))
        client.observe(np.concatenate([dark, light]), ["dark"] * 6 + ["light"] * 6)
        until(lambda: client.status()["model"]["steps"])


def look(daemon: Daemon, name: str, after: int = 0) -> tuple[int, bytes, int]:
    with daemon.client(admin=False) as client:
        status, body, headers = client.request("GET", f"/v1/feeds/{name}", after=after)
    return status, body, int(headers.get("x-feed-number", 0))


def test_a_played_folder_shows_as_a_camera_slowly_until_somebody_looks(sees, tmp_path):
    for k in range(3):
        paint(tmp_path / "play", f"{k}.png", 40 + 60 * k)
    files = {p.read_bytes() for p in (tmp_path / "play").iterdir()}
    with Feeder(sees, "camera", "--play", str(tmp_path / "play"), "--hold", "0.2", "--rate", "20") as feeder:
        until(lambda: "camera" in shown(sees))
        before = shown(sees)["camera"]["number"]
        time.sleep(2.5)
        assert 1 <= shown(sees)["camera"]["number"] - before <= 4  # nobody looks: one a second
        seen, number, began = set(), 0, time.monotonic()
        first = shown(sees)["camera"]["number"]
        while time.monotonic() - began < 3:
            status, body, number = look(sees, "camera", number)
            assert status == 200
            seen.add(body)
        assert seen == files  # as they are, and all of them
        assert number - first > 8  # and now more often
        feeder.process.send_signal(signal.SIGTERM)
        assert feeder.end()[0] == 0
    with sees.client() as client:
        assert client.counters["stored"] == 0  # shown is not taught
    until(lambda: "camera" not in shown(sees), 20)
    assert look(sees, "camera")[0] == 404


def test_pictures_are_taught_and_predicted_without_a_page(sees, tmp_path):
    for k in range(6):
        paint(tmp_path / "dark", f"{k}.png", 20 + k)
        paint(tmp_path / "light", f"{k}.jpg", 230 - k)
    for name in ("dark", "light"):
        with Feeder(sees, "camera", "--play", str(tmp_path / name), "--once", "--label", name) as feeder:
            assert feeder.end()[:2] == (0, "6 samples were taught.\n")
    with sees.client() as client:
        assert client.counters["stored"] >= 12 and set(client.labels) == {"dark", "light"}
        until(lambda: not client.status()["learning"]["fresh"] and client.status()["busy"] is None)
    paint(tmp_path / "both", "a.png", 22)
    paint(tmp_path / "both", "b.png", 228)
    with Feeder(sees, "camera", "--play", str(tmp_path / "both"), "--once", "--predict") as feeder:
        status, out, err = feeder.end()
    assert status == 0 and [line.split()[0] for line in out.splitlines()[:2]] == ["dark", "light"], err


def test_before_anything_is_learned_answers_as_json_stay_json(tmp_path):
    paint(tmp_path / "play", "a.png", 9)
    daemon = started(tmp_path, PICTURES)
    try:
        with Feeder(daemon, "camera", "--play", str(tmp_path / "play"), "--once", "--predict", "--json") as feeder:
            status, out, err = feeder.end()
    finally:
        daemon.end()
    assert status == 0 and out == "" and "Nothing has been learned yet" in err


@pytest.mark.parametrize("size", [10, 300_000])  # sent as it is; made smaller
def test_a_picture_that_is_none_is_said(sees, tmp_path, size):
    paint(tmp_path / "play", "b.png", 9)
    (tmp_path / "play" / "a.jpg").write_bytes(b"no picture"[:1] * size)
    with Feeder(sees, "camera", "--play", str(tmp_path / "play")) as feeder:
        status, _, err = feeder.end()
    assert status == 2 and "a.jpg' is no picture" in err and "Traceback" not in err


def test_large_pictures_are_sent_small(sees, tmp_path):
    paint(tmp_path / "play", "large.png", 90, 2000)
    with Feeder(sees, "camera", "--play", str(tmp_path / "play"), "--width", "200"):
        until(lambda: "camera" in shown(sees))
        (tmp_path / "got.jpg").write_bytes(look(sees, "camera")[1])
    assert image.open(tmp_path / "got.jpg").size == (200, 200)


def test_a_film_is_seen_through_opencv(sees, tmp_path):
    cv2 = pytest.importorskip("cv2")
    film = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(film, cv2.VideoWriter_fourcc(*"MJPG"), 20, (640, 480))
    for k in range(20):
        writer.write(np.full((480, 640, 3), (0, 0, 255) if k < 10 else (255, 0, 0), np.uint8))
    writer.release()
    knows_two_classes(sees)
    with Feeder(sees, "camera", film, "--name", "film"):
        colours, number = set(), 0
        until(lambda: "film" in shown(sees))
        for _ in range(20):  # it begins again at its end
            _, body, number = look(sees, "film", number)
            (tmp_path / "got.jpg").write_bytes(body)
            with image.open(tmp_path / "got.jpg") as got:
                assert got.size == (320, 240)
                r, _, b = got.getpixel((9, 9))
            colours.add("red" if r > b else "blue")
    assert colours == {"red", "blue"}
    with Feeder(sees, "camera", film, "--once", "--predict", "--json") as feeder:
        status, out, _ = feeder.end()
    assert status == 0 and 1 <= len(out.splitlines()) <= 20
    assert all(json.loads(line)["confidence"] for line in out.splitlines())


def test_a_feeder_reaches_a_service_over_tls_with_a_token(tmp_path):
    pytest.importorskip("cryptography")
    daemon, address = teachable(tmp_path)
    port = address.rpartition(":")[2].partition("/")[0]
    (tmp_path / "token").write_text(TOKEN + "\n")
    paint(tmp_path / "play", "a.png", 50)
    command = [sys.executable, "-P", "-m", "edgecl", "feed", "camera", "--play", "play", "--once", "--label", "grey"]
    where = ["--address", f"https://127.0.0.1:{port}", "--certificate", "state/tls/certificate.pem"]
    try:
        done = subprocess.run([*command, *where], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "has no token" in done.stderr
        done = subprocess.run([*command, *where, "--token-file", "token"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "1 samples were taught.\n"), done.stderr
        with daemon.client() as client:
            assert client.counters["stored"] == 1
    finally:
        daemon.end()


def test_a_feeder_gives_up_when_it_was_told_to(tmp_path):
    daemon = started(tmp_path, PICTURES)
    paint(tmp_path / "play", "a.png", 50)
    try:
        with Feeder(daemon, "camera", "--play", "play", "--give-up", "1") as feeder:
            until(lambda: "camera" in shown(daemon))
            daemon.kill()
            status, _, err = feeder.end()
        assert status == 2 and "does not answer" in err
    finally:
        daemon.end()


def test_a_service_that_is_started_again_is_fed_again(tmp_path):
    daemon = started(tmp_path, PICTURES)
    try:
        paint(tmp_path / "play", "a.png", 50)
        with Feeder(daemon, "camera", "--play", "play") as feeder:
            until(lambda: "camera" in shown(daemon))
            daemon.stop()
            time.sleep(1.5)
            daemon.start()
            until(lambda: "camera" in shown(daemon))
            feeder.process.send_signal(signal.SIGINT)
            status, _, err = feeder.end()
        assert status == 0 and "It is asked again." in err and "answers again" in err
    finally:
        daemon.end()


def tone(path, hertz: float, seconds: float = 1.0, rate: int = 16000):
    x = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "none"))
        file.writeframes((32767 * x).astype("<i2").tobytes())
    return x


def test_a_window_holds_the_last_values_in_the_service_s_own_type():
    windows = Windows(Taken((2, 1, 4), "int16"))
    windows.push(np.array([[1.4, -40000], [2, 2], [3, 3]], np.float32))
    assert not windows.ready  # three of four
    windows.push(np.array([[4, 4], [5, 70000]], np.float32))
    assert windows.ready
    x = np.frombuffer(windows.frame().body, "<i2").reshape(2, 4)
    assert x.tolist() == [[2, 3, 4, 5], [2, 3, 4, 32767]]
    assert not windows.ready  # nothing came since
    windows.push(np.arange(20, dtype=np.float32).reshape(10, 2))
    assert np.frombuffer(windows.frame().body, "<i2").reshape(2, 4).tolist() == [[12, 14, 16, 18], [13, 15, 17, 19]]


def peak(body: bytes, rate: int = 16000) -> float:
    """The strongest frequency of a window."""
    x = np.frombuffer(body, "<f4")
    assert x.shape == (800,) and 0.3 < np.abs(x).max() <= 1
    return float(np.argmax(np.abs(np.fft.rfft(x * np.hanning(800))))) * rate / 800


def test_a_recording_is_heard_as_a_microphone(hears, tmp_path):
    tone(tmp_path / "a.wav", 1000)
    tone(tmp_path / "b.wav", 3000, rate=48000)  # brought to 16 kHz
    for name, hertz in (("a", 1000), ("b", 3000)):
        with Feeder(hears, "microphone", "--play", str(tmp_path / f"{name}.wav"), "--name", name):
            until(lambda name=name: name in shown(hears))
            assert abs(peak(look(hears, name)[1]) - hertz) <= 40
        with Feeder(hears, "microphone", "--play", str(tmp_path / f"{name}.wav"), "--label", name, "--count", "6") as f:
            assert f.end()[0] == 0
    with hears.client() as client:
        assert set(client.labels) == {"a", "b"}


@pytest.mark.skipif(shutil.which("arecord") is None, reason="no arecord here")
def test_alsa_s_own_recorder_is_heard(hears, tmp_path):
    sound = tone(tmp_path / "x.wav", 2000, 20)
    (tmp_path / "x.raw").write_bytes((32767 * sound).astype("<i2").tobytes())
    (tmp_path / "asound.conf").write_text(  # a microphone of ALSA's that is a file
        f"pcm.ear {{ type file slave.pcm null file /dev/null infile {tmp_path}/x.raw format raw }}\n"
        "pcm.null { type null }\n"
    )
    with Feeder(hears, "microphone", "ear", env={"ALSA_CONFIG_PATH": str(tmp_path / "asound.conf")}) as feeder:
        until(lambda: "microphone" in shown(hears) or feeder.process.poll() is not None)
        assert feeder.process.poll() is None, feeder.process.stderr.read()
        assert abs(peak(look(hears, "microphone")[1]) - 2000) <= 40


def test_lines_of_a_serial_port_become_windows_and_an_unplugged_port_is_said(feels):
    pytest.importorskip("serial")
    board, port = os.openpty()
    name, ended = os.ttyname(port), threading.Event()

    def speaks() -> None:
        k = 0
        while not ended.is_set():
            text = "booting...\r\n" if k % 10 == 9 else f"{k}, {k + 0.5};\t{-k}\r\n"
            os.write(board, text.encode())
            k += 1
            time.sleep(0.004)

    speaking = threading.Thread(target=speaks)
    with Feeder(feels, "serial", name, "--baud", "115200") as feeder:
        speaking.start()
        try:
            until(lambda: "serial" in shown(feels))
            x = np.frombuffer(look(feels, "serial")[1], "<f4").reshape(3, 16)
        finally:
            ended.set()
            speaking.join()
        assert (x[1] == x[0] + 0.5).all() and (x[2] == -x[0]).all()
        assert (np.diff(x[0]) >= 1).all() and (np.diff(x[0]) <= 2).all()  # a line that is none is left out
        os.close(port)
        os.close(board)
        status, _, err = feeder.end()
    assert status == 2 and f"'{name}' is gone" in err and "Traceback" not in err


def test_a_port_that_says_something_else_is_said(feels):
    pytest.importorskip("serial")
    board, port = os.openpty()
    with Feeder(feels, "serial", os.ttyname(port)) as feeder:
        while feeder.process.poll() is None:
            os.write(board, b"1,2\n")
            time.sleep(0.002)
        status, _, err = feeder.end()
    os.close(port)
    os.close(board)
    assert status == 2 and "no 3 numbers a line: b'1,2\\n'" in err


def test_an_industrial_io_device_is_read_with_scale_and_offset(feels, tmp_path):
    sensor = tmp_path / "iio:device0"
    sensor.mkdir()
    for axis, raw in zip("xyz", (0, 100, -200)):
        (sensor / f"in_accel_{axis}_raw").write_text(f"{raw}\n")
    (sensor / "in_accel_scale").write_text("0.0980665\n")  # m/s2, of all three
    (sensor / "in_accel_y_offset").write_text("50\n")
    with Feeder(feels, "iio", str(sensor), "--hz", "200"):
        until(lambda: "iio" in shown(feels))
        x = np.frombuffer(look(feels, "iio")[1], "<f4").reshape(3, 16)
    assert np.allclose(x, np.array([[0.0], [1.5], [-2.0]]))  # g


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["camera", "--play", "nowhere"], "There is no folder"),
        (["camera", "nothing.avi"], "There is no camera or film"),
        (["camera", "63"], "cannot be opened"),
        (["camera", "--play", ".", "--rate", "0"], "--rate is 0"),
        (["camera", "--play", ".", "--predict", "--label", "x"], "do not go together"),
        (["camera", "--play", ".", "--subject", "1"], "without --label"),
        (["microphone", "--play", "x.wav"], "no signals"),
        (["iio", "."], "no signals"),
        (["serial", "/dev/null"], "no signals"),
    ],
)
def test_what_cannot_be_fed_is_said(sees, arguments, said):
    if arguments == ["camera", "63"]:
        pytest.importorskip("cv2")
    with Feeder(sees, *arguments) as feeder:
        status, _, err = feeder.end()
    assert status == 2 and said in err and "Traceback" not in err, err


def test_no_more_is_shown_than_there_is_room_for(sees):
    until(lambda: not shown(sees), 20)  # those of other tests
    with sees.client(admin=False) as client:

        def show(name: str, body: bytes, kind: str = "image/png") -> int:
            return client.request("POST", f"/v1/feeds/{name}", body, kind)[0]

        assert [show(f"f{k}", b"x" * 10) for k in range(5)] == [200] * 4 + [503]
        assert show("f0", b"x" * 1_000_001) == 413
        assert show("f0", b"") == 422
        assert show("f0", b"x" * 767, "application/octet-stream") == 422
        assert show("f0", b"x" * 768, "application/octet-stream") == 200
        assert show("f0", b"<b>", "text/html") == 415
        assert show("a%20b", b"x") == 422
        assert client.request("GET", "/v1/feeds/f1", after="x")[0] == 422
        status, body, headers = client.request("GET", "/v1/feeds/f1")
        assert (status, body, headers["x-content-type-options"]) == (200, b"x" * 10, "nosniff")
        assert client.request("GET", "/v1/feeds/f1", after=1)[0] == 204  # nothing newer
        with pytest.raises(EdgeclError):
            client.answer(*client.request("GET", "/v1/feeds/other")[:2])
        assert json.loads(client.request("GET", "/v1/feeds")[1])["feeds"][0].keys() == {"name", "kind", "number", "age"}
