"""Cameras: through OpenCV (v4l2, films), through picamera2, or a folder of pictures played as one."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadInput, EdgeclError, require
from ..storage.bounded import read_bounded
from .base import JPEG, PNG, Due, Frame

KINDS = {".jpg": JPEG, ".jpeg": JPEG, ".png": PNG}
MOST_BYTES, SMALL = 32_000_000, 200_000  # of a picture's file: read at all; sent as it is
NAP = 0.005


def camera(device: str, width: int, once: bool) -> Camera | PiCamera:
    """``pi``: through picamera2; a number or /dev/videoN: v4l2; else a film's file. Raises `BadInput`."""
    return PiCamera(width) if device == "pi" else Camera(device, width, once)


class Camera:
    """A v4l2 camera or a film, through OpenCV. One mode is kept: switching splits a small board's camera memory.

    width : pixels of what is sent, the height follows
    """

    def __init__(self, device: str, width: int, once: bool) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what it would print, we say
        self._cv2, self._device, self._width, self._once = require("cv2", "camera"), device, width, once
        number = device.removeprefix("/dev/video") if device.startswith("/dev/video") else device
        self._live = number.isdigit()
        if not self._live and not os.path.isfile(device):
            raise BadInput(f"There is no camera or film '{device}'.", "Give 0, /dev/video0, pi, or a film's file.")
        self._open(int(number) if self._live else device)

    def _open(self, source: int | str) -> None:
        cv2 = self._cv2
        backend = cv2.CAP_V4L2 if self._live else cv2.CAP_ANY
        self._capture: Any = cv2.VideoCapture(source, backend)
        if not self._capture.isOpened():
            raise BadInput(
                f"The camera '{self._device}' cannot be opened.",
                "Is it plugged in, free, and may you use it (group video)? See: v4l2-ctl --list-devices",
            )
        if self._live:
            for name, value in ((cv2.CAP_PROP_FRAME_WIDTH, self._width), (cv2.CAP_PROP_BUFFERSIZE, 1)):
                self._capture.set(name, value)
        self._pause = 0.0 if self._live else 1 / min(120.0, max(1.0, self._capture.get(cv2.CAP_PROP_FPS) or 25.0))

    def frames(self, due: Due) -> Iterator[Frame]:
        while True:
            if not self._capture.grab():
                if self._live:
                    raise EdgeclError(f"The camera '{self._device}' gives no more pictures.", "Is it plugged in?")
                if self._once or not self._rewound():
                    return
                continue
            if due():
                good, picture = self._capture.retrieve()
                if good:
                    yield Frame(self._encoded(picture), JPEG)
            time.sleep(self._pause)

    def _rewound(self) -> bool:
        """Whether a film begins again."""
        self._capture.release()
        self._capture = self._cv2.VideoCapture(self._device, self._cv2.CAP_ANY)
        return bool(self._capture.grab())

    def _encoded(self, picture: Any) -> bytes:
        height, width = picture.shape[:2]
        if width > self._width:
            size = (self._width, max(1, round(height * self._width / width)))
            picture = self._cv2.resize(picture, size, interpolation=self._cv2.INTER_AREA)
        return bytes(self._cv2.imencode(".jpg", picture)[1])

    def close(self) -> None:
        self._capture.release()


class PiCamera:
    """The Raspberry Pi's own camera, through picamera2, which its system brings."""

    def __init__(self, width: int) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise BadInput("picamera2 is not here.", "On Raspberry Pi OS: apt install python3-picamera2.") from error
        self._camera: Any = Picamera2()
        size = (width // 2 * 2, width * 3 // 8 * 2)
        self._camera.configure(self._camera.create_video_configuration(main={"size": size}))
        self._camera.start()

    def frames(self, due: Due) -> Iterator[Frame]:
        while True:
            if due():
                file = io.BytesIO()
                self._camera.capture_file(file, format="jpeg")
                yield Frame(file.getvalue(), JPEG)
            time.sleep(NAP)

    def close(self) -> None:
        self._camera.stop()
        self._camera.close()


class Folder:
    """A folder's pictures in the order of their names, again and again, as if a camera saw them.

    hold : seconds that each is shown;  once : end after the last
    """

    def __init__(self, folder: str, width: int, hold: float, once: bool) -> None:
        self._folder, self._width, self._hold, self._once = Path(folder), width, hold, once
        if not self._folder.is_dir():
            raise BadInput(f"There is no folder '{folder}'.", "Give one of .jpg and .png files.")
        if not self._names():
            raise BadInput(f"The folder '{folder}' holds no picture.", "Put .jpg or .png files into it.")

    def _names(self) -> list[Path]:
        return sorted(p for p in self._folder.iterdir() if p.suffix.lower() in KINDS and p.is_file())

    def frames(self, due: Due) -> Iterator[Frame]:
        while True:
            for path in self._names():  # looked at again each time round: pictures may come and go
                until, sent = time.monotonic() + self._hold, False
                try:
                    frame = self._frame(path)
                except FileNotFoundError:
                    continue
                while time.monotonic() < until or not sent:
                    if due():
                        sent = True
                        yield frame
                    time.sleep(NAP)
            if self._once:
                return
            if not self._names():
                time.sleep(0.5)

    def _frame(self, path: Path) -> Frame:
        """The file as it is, or made smaller. Raises `BadInput` for one that is no picture, `FileNotFoundError`."""
        try:
            body = read_bounded(path, MOST_BYTES)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise BadInput(f"'{path}' cannot be read: {error}.", "Take it out of the folder.") from error
        image = require("PIL.Image", "codecs")
        try:
            with image.open(io.BytesIO(body), formats=["JPEG", "PNG"]) as found:
                if len(body) <= SMALL and found.width * found.height <= self._width**2:
                    return Frame(body, KINDS[path.suffix.lower()])
                small = found.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise BadInput(f"'{path}' is no picture: {error}.", "Take it out of the folder.") from error
        small.thumbnail((self._width, self._width))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=90)
        return Frame(file.getvalue(), JPEG)

    def close(self) -> None:
        pass
