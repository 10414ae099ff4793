"""Pictures of requests: looked at by their header before they are decoded, brought to the learner's shape."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np

from ..data.readers.resize import letterbox
from ..errors import BadInput, require
from ..intake.spec import SampleSpec
from .refusals import Refused

MOST_PIXELS, MOST_TIMES = 16_000_000, 64
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}


def picture(body: bytes, kind: str, spec: SampleSpec) -> np.ndarray:
    """A JPEG or PNG as one sample [C, H, W] of 1 or 3 channels: scaled whole, with bars of its border's colour.

    Values are 0 to 255; a learner of float32 gets them as they are. Raises `BadInput` or `Refused`.
    """
    channels, height, width = spec.shape
    if channels not in (1, 3):
        raise BadInput(f"A picture does not become a sample of {channels} channels.", "Send raw samples.")
    image = require("PIL.Image", "codecs")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of bombs only
            with image.open(io.BytesIO(body), formats=[_FORMATS[kind]]) as found:
                pixels, most = found.width * found.height, MOST_TIMES * max(height * width, 4096)
                if pixels > min(MOST_PIXELS, most):
                    raise Refused(413, f"The picture has {pixels} pixels.", f"Send at most {min(MOST_PIXELS, most)}.")
                plain = np.asarray(found.convert("L" if channels == 1 else "RGB"))
    except Refused:
        raise
    except image.DecompressionBombError as error:  # said by the header, before anything is decoded
        raise Refused(413, f"The picture is too large: {error}.", f"Send at most {MOST_PIXELS} pixels.") from error
    except (OSError, ValueError, SyntaxError, Warning, MemoryError, struct.error, zlib.error) as error:
        raise BadInput(f"The picture cannot be read: {error}.", f"Send a whole {_FORMATS[kind]} file.") from error
    planes = plain[None] if channels == 1 else np.moveaxis(plain, 2, 0)
    return np.ascontiguousarray(letterbox(planes, (height, width))).astype(spec.dtype)


DRAWN = (160, 480)  # rows, columns of a signal's picture


def _lines(signal: np.ndarray) -> np.ndarray:
    """uint8 [1, h, w]: a line for each channel of a signal [C, T], from its least to its greatest value in a column."""
    height, width = DRAWN
    x = signal.astype(np.float64)
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    rows = np.rint((height - 1) * (1 - (x - low) / (high - low or 1.0))).astype(int)
    drawn = np.full((1, height, width), 255, np.uint8)
    for i, channel in enumerate(rows):
        shade = 0 if len(rows) == 1 else 160 * i // (len(rows) - 1)
        for column, part in enumerate(np.array_split(np.repeat(channel, -(-width // len(channel))), width)):
            drawn[0, part.min() : part.max() + 1, column] = shade
    return drawn


def png(sample: np.ndarray) -> bytes:
    """A sample [C, H, W] as a PNG, to be looked at: of 3 channels in colour, else the first one in grey, a signal as
    lines. Values other than uint8 are stretched between their least and greatest.
    """
    if sample.shape[1] == 1 < sample.shape[2]:
        sample = _lines(sample[:, 0])
    x = sample if len(sample) == 3 else sample[:1]
    if x.dtype != np.uint8:
        low, high = float(x.min()), float(x.max())
        x = ((x - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    channels, height, width = x.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, none
    rows[:, 1:] = np.moveaxis(x, 0, 2).reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
