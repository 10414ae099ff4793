"""What the page looks at beside the browser's camera: the device's own camera and sensors, the browser's microphone,
dropped files; and why there is no camera without TLS."""

from __future__ import annotations

import base64
import threading
import wave
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from daemons import until
from pages import NAME, browser, teachable
from test_feed import SIGNALS, Feeder, image, shown
from test_page import add, best, says, violations

pytestmark = pytest.mark.browser
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 220)}
SOUND = 'input_shape = [1, 1, 8000]\ndtype = "float32"\nfront = "logmel"\nnetwork = "cnn1d"\nbatch = 8\nmemory = 60\n'


def pictures(folder, name: str, count: int) -> list[str]:
    """Files of a colour, no two the same."""
    rng, paths = np.random.default_rng(0), []
    folder.mkdir(exist_ok=True)
    for k in range(count):
        x = np.clip(np.array(COLOURS[name]) + rng.integers(-20, 21, (32, 40, 3)), 0, 255).astype(np.uint8)
        paths.append(str(folder / f"{name}{k}.png"))
        image.fromarray(x).save(paths[-1])
    return paths


def drop(page, paths: list[str]) -> None:
    """A real drop of files on the view."""
    given = [[path.rpartition("/")[2], base64.b64encode(Path(path).read_bytes()).decode()] for path in paths]
    transfer = page.evaluate_handle(
        """(files) => {
          const all = new DataTransfer();
          for (const [name, text] of files) {
            all.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
          }
          return all;
        }""", given,
    )  # fmt: skip
    page.dispatch_event("#view", "drop", {"dataTransfer": transfer})


def test_three_classes_are_taught_with_dropped_files(tmp_path):
    daemon, address = teachable(tmp_path)
    try:
        with browser(tmp_path) as page:
            page.goto(address)
            add(page, *COLOURS)
            for key, name in enumerate(COLOURS, 1):
                drop(page, pictures(tmp_path, name, 4))
                for left in range(4):
                    taught = 4 * (key - 1) + left + 1
                    says(page, "source-note", f"Picture {taught} of")  # before it is shown, a key is not for it
                    page.keyboard.press(str(key))
                    until(lambda n=taught: page.evaluate("document.getElementById('taught').children.length") == n)
                until(lambda: page.inner_text("#source-note") == "No picture is left.")
            for name in COLOURS:  # others of them, right afterwards
                drop(page, pictures(tmp_path / "later", name, 1))
                until(lambda name=name: best(page) == name, 20)
                page.keyboard.press(str(1 + list(COLOURS).index(name)))
                until(lambda: page.inner_text("#source-note") == "No picture is left.")
            assert not page.said
    finally:
        daemon.end()


def test_three_classes_are_taught_through_the_device_s_camera_where_the_browser_has_none(tmp_path):
    daemon, address = teachable(tmp_path, tls=False, name=NAME)  # plain http under a name: no camera
    scene = tmp_path / "scene"
    rest = tmp_path / "rest"
    rest.mkdir()
    for name in COLOURS:
        pictures(scene, name, 3)

    def only(name: str) -> None:
        """What the camera sees from now on."""
        for path in list(scene.iterdir()):
            if not path.name.startswith(name):
                path.rename(rest / path.name)
        for path in list(rest.glob(f"{name}*")):
            path.rename(scene / path.name)

    try:
        with browser(tmp_path) as page:
            page.goto(address)
            says(page, "source-note", "only to https and localhost")
            assert violations(page) == []
            add(page, *COLOURS)
            page.click("#view button")  # what it offers instead
            assert page.is_checked("[value=device]")
            says(page, "view", "edgecl feed camera")
            with Feeder(daemon, "camera", "--play", str(scene), "--hold", "0.1"):
                page.wait_for_selector("#view canvas[role=img]")
                for turn in range(2):
                    for key, name in enumerate(COLOURS, 1):
                        only(name)
                        until(lambda name=name: colour(page) == name, 20)
                        if turn:
                            until(lambda name=name: best(page) == name, 20)
                            continue
                        page.keyboard.down(str(key))
                        count = lambda k=key: page.inner_text(f"#classes li:nth-child({k}) small")  # noqa: E731
                        until(lambda count=count: int(count().split()[0]) >= 5, 20)
                        page.keyboard.up(str(key))
                with Feeder(daemon, "camera", "--play", pictures(tmp_path / "second", "green", 1)[0].rpartition("/")[0],
                            "--name", "second"):  # fmt: skip
                    until(lambda: len(shown(daemon)) == 2)
                    only("blue")
                    page.check("[value=files]")
                    page.check("[value=device]")
                    page.wait_for_selector("#source-note select")
                    until(lambda: colour(page) == "blue", 20)
                    page.select_option("#source-note select", "second")
                    until(lambda: colour(page) == "green", 20)
                    assert violations(page) == []
                    page.select_option("#source-note select", "camera")
                    until(lambda: colour(page) == "blue", 20)
                numbers = [looked(daemon) for _ in range(2) if not page.wait_for_timeout(1000)]
                assert numbers[1] - numbers[0] >= 4  # live: it looks, so the feeder hurries
            with daemon.client() as client:  # a raw sample is a picture too
                raw = np.zeros((3, 16, 16), np.uint8)
                raw[0] = 250
                show = lambda: client.request("POST", "/v1/feeds/raw", raw.tobytes(), "application/octet-stream")  # noqa: E731
                until(lambda: show()[0] == 200 and colour(page) == "red", 30)
            until(lambda: page.evaluate("!document.querySelector('#view canvas')"), 30)  # gone: no stale picture
            says(page, "view", "edgecl feed camera")
            assert not [text for text in page.said if "404" not in text]
        with daemon.client() as client:
            assert set(client.labels) == set(COLOURS) and client.counters["stored"] >= 15
    finally:
        daemon.end()


def colour(page) -> str | None:
    """Of the live picture's middle."""
    return page.evaluate(
        """() => {
          const shown = document.querySelector("#view canvas");
          if (!shown) return null;
          const [r, g, b] = shown.getContext("2d").getImageData(shown.width / 2, shown.height / 2, 1, 1).data;
          return r > g && r > b ? "red" : g > b ? "green" : "blue";
        }"""
    )


def looked(daemon) -> int:
    return shown(daemon)["camera"]["number"]


@contextmanager
def moving(once):
    """``once()`` again and again meanwhile."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.005):
            once()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_sensor_is_shown_and_taught_as_lines(tmp_path):
    daemon, address = teachable(tmp_path, learner=SIGNALS.format(3, 32))
    sensor = tmp_path / "sensor"
    sensor.mkdir()

    held, rng = [[0, 0, 1000]], np.random.default_rng(0)

    def moves() -> None:
        """As a sensor that is held: never quite still."""
        for axis, value in zip("xyz", held[0] + rng.integers(-40, 41, 3)):
            (sensor / "next").write_text(f"{value}\n")
            (sensor / "next").rename(sensor / f"in_accel_{axis}_raw")

    moves()
    try:
        with browser(tmp_path) as page, Feeder(daemon, "iio", str(sensor), "--hz", "200"), moving(moves):
            page.goto(address)
            page.wait_for_selector("#view canvas[role=img]")
            assert page.evaluate("[...document.querySelectorAll('#sources input')].map((i) => i.value)") == [
                "device", "pool",
            ]  # fmt: skip
            add(page, "flat", "upright")
            for key, values in (("1", [0, 0, 1000]), ("2", [1000, 0, 0])):
                held[0] = values
                page.wait_for_timeout(700)
                page.keyboard.down(key)
                count = lambda k=key: page.inner_text(f"#classes li:nth-child({k}) small")  # noqa: E731
                until(lambda count=count: int(count().split()[0]) >= 8)
                page.keyboard.up(key)
            until(lambda: best(page) == "upright", 20)
            held[0] = [0, 0, 1000]
            until(lambda: best(page) == "flat", 20)
            with daemon.client() as client:  # what waits for a label is drawn as lines too
                client.predict_kept(np.ones((1, 3, 1, 32), np.float32))
            page.check("[value=pool]")
            page.wait_for_selector("#view canvas")
            assert page.evaluate("document.querySelector('#view canvas').width") == 480
            assert not page.said
    finally:
        daemon.end()


def test_two_sounds_are_taught_through_the_browser_s_microphone(tmp_path):
    daemon, address = teachable(tmp_path, learner=SOUND)
    t = np.arange(4 * 16000) / 16000
    film = 0.5 * np.sin(2 * np.pi * np.where(t < 2, 500, 2500) * t)  # two seconds of each, again and again
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "none"))
        file.writeframes((32767 * film).astype("<i2").tobytes())
    heard = """() => {
      const shown = document.querySelector("#view canvas");
      if (!shown) return null;
      return shown.raw.arrayBuffer().then((buffer) => {
        const x = new Float32Array(buffer), half = x.length / 2;
        const crossings = (from, to) => {
          let n = 0;
          for (let i = from + 1; i < to; i++) n += x[i] > 0 !== x[i - 1] > 0;
          return n;
        };
        const rates = [crossings(0, half), crossings(half, x.length)].map((n) => (n * 16000) / (2 * half));
        const same = (r) => rates.every((found) => Math.abs(found - r) < 200);
        return same(500) ? "low" : same(2500) ? "high" : "both";
      });
    }"""
    try:
        with browser(tmp_path, flags=(f"--use-file-for-fake-audio-capture={tmp_path}/x.wav",)) as page:
            page.goto(address)
            page.wait_for_selector("#view canvas[aria-label=Microphone]")
            add(page, "low", "high")
            for turn in range(6):
                key, name = (("1", "low"), ("2", "high"))[turn % 2]
                until(lambda name=name: page.evaluate(heard) == name, 20)
                page.keyboard.down(key)
                page.wait_for_timeout(500)
                page.keyboard.up(key)
            for name in ("low", "high"):
                until(lambda name=name: page.evaluate(heard) == name and best(page) == name, 30)
            assert not page.said
    finally:
        daemon.end()


