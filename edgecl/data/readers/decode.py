"""One picture file: what its header says, and its values, upright, on a background, in full depth."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, require
from ..limits import check_pixels

HEIF = {".heic", ".heif", ".hif"}
GREY_MODES = {"1", "L", "LA", "La"}
ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
ORIENTATION, DATE, EXIF, DATE_TAKEN = 0x0112, 0x0132, 0x8769, 0x9003


class Unreadable(Exception):
    """A file that is no sample; ``reason`` in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Look:
    """What a header says of a sample.

    size : (height, width) upright; channels : 1 grey, 3 colour, or an array's; transparent : it may be, in places
    depth : '8', '16', or 'raw' for numbers without a white; high_byte : 16 bits of which only 8 can be read
    taken : seconds since 1970 when the camera took it, or None; kind : 'pictures', or what an array holds
    """

    size: tuple[int, int]
    channels: int = 1
    depth: str = "8"
    transparent: bool = False
    high_byte: bool = False
    frames: int = 1
    taken: float | None = None
    kind: str = "pictures"
    shape: tuple[int, ...] = ()
    axes: str = "chw"


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Any]:
    """The file as a Pillow image. Whatever a foreign file makes a decoder raise becomes `Unreadable`."""
    image_module = require("PIL.Image", "codecs")
    if file.suffix.lower() in HEIF:
        try:
            require("pillow_heif", "heic").register_heif_opener()
        except ImportError:
            raise Unreadable(f"no decoder for {file.suffix.lower()}: pip install 'edgecl[heic]'") from None
    try:
        if not file.stat().st_size:
            raise Unreadable("empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of size below the limit
            with image_module.open(file) as image:
                check_pixels(file, image.width, image.height)
                yield image
    except Unreadable:
        raise
    except BadInput:
        raise Unreadable("too many pixels") from None
    except image_module.UnidentifiedImageError:
        with open(file, "rb") as stream:
            double = stream.read(4) == b"\0\5\x16\7"
        raise Unreadable("AppleDouble, no picture" if double else "damaged, or no picture") from None
    except image_module.DecompressionBombError:
        raise Unreadable("too many pixels") from None
    except MemoryError:
        raise Unreadable("too large for the memory") from None
    except OSError as error:
        if error.errno is not None:
            raise Unreadable(error.strerror or "cannot be read") from None
        raise Unreadable("cut short" if "truncated" in str(error).lower() else "damaged") from None
    except Exception:  # decoders of many authors: any fault of theirs is the file's
        raise Unreadable("damaged") from None


def look(file: Path) -> Look:
    """The header of a picture. Raises `Unreadable`."""
    with opened(file) as image:
        rawmode = image.tile[0][3] if image.tile else ""
        rawmode = rawmode if isinstance(rawmode, str) else str((rawmode or ("",))[0])
        exif = _exif(image)
        width, height = image.size
        if exif.get(ORIENTATION) in (5, 6, 7, 8):
            width, height = height, width
        channels, depth = _channels(image), _depth(image)
        return Look(
            (height, width), channels, depth,
            transparent=image.mode in ALPHA_MODES or "transparency" in image.info,
            high_byte=";16" in rawmode and depth == "8",
            frames=int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1,
            taken=_time_taken(exif),
        )  # fmt: skip


def _exif(image: Any) -> Any:
    """The camera's tags, as far as they stand before the pixels: Pillow would decode a PNG to look behind them."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return require("PIL.Image", "codecs").Exif()
    return image.getexif()


def _channels(image: Any) -> int:
    if image.mode in GREY_MODES or image.mode.startswith(("I", "F")):
        return 1
    if image.mode in ("P", "PA"):
        entries = np.array(image.getpalette("RGB"), int).reshape(-1, 3)
        return 1 if (entries == entries[:, :1]).all() else 3
    return 3


def _depth(image: Any) -> str:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16"
    return "raw" if image.mode in ("I", "F") else "8"


def _time_taken(exif: Any) -> float | None:
    text = exif.get_ifd(EXIF).get(DATE_TAKEN) or exif.get(DATE)
    try:
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def read(
    file: Path, look: Look, channels: int, depth: str, size: tuple[int, int], under: tuple[int, int, int],
    done: Counter[str],
) -> np.ndarray:  # fmt: skip
    """The picture as [channels, H, W], uint8 for ``depth`` '8', else float32; upright, opaque, in its own size.

    size : (height, width) it will be scaled to: a JPEG several times larger is decoded at a fraction, for speed
    done : counts what was 'turned', 'transparent', of a 'palette' or 'cmyk'
    """
    ops = require("PIL.ImageOps", "codecs")
    with opened(file) as image:
        _draft(image, look.size, size)
        if image.mode in ("P", "PA"):
            done["palette"] += 1
        if image.mode == "CMYK":
            done["cmyk"] += 1
        image.load()
        if image.getexif().get(ORIENTATION, 1) not in (0, 1):
            image = ops.exif_transpose(image)
            done["turned"] += 1
        if look.depth != "8":
            return _deep(image, look, channels, depth, under, done)
        flat = _opaque(image, under, done)
        values = np.asarray(_converted(flat, "L" if channels == 1 else "RGB"))
    values = values[None] if channels == 1 else np.ascontiguousarray(values.transpose(2, 0, 1))
    return values if depth == "8" else values.astype(np.float32) * 257


def _draft(image: Any, own: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Let a JPEG be decoded at 1/2, 1/4 or 1/8 where twice the wanted size remains."""
    scale = 2 * min(wanted[0] / own[0], wanted[1] / own[1])
    if image.format in ("JPEG", "MPO") and scale < 0.5 and image.mode in ("L", "RGB"):
        image.draft(image.mode, tuple(max(1, int(scale * side)) for side in image.size))


def _opaque(image: Any, under: tuple[int, int, int], done: Counter[str]) -> Any:
    """The picture on the background ``under`` where it is transparent."""
    if image.mode not in ALPHA_MODES and "transparency" not in image.info:
        return image
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] < 255:
        done["transparent"] += 1
    ground = require("PIL.Image", "codecs").new("RGBA", layer.size, (*under, 255))
    ground.alpha_composite(layer)
    return ground.convert("RGB")


def _converted(image: Any, mode: str) -> Any:
    if image.mode == mode:
        return image
    if image.mode == "LAB":  # Pillow converts it by colour management only
        cms = require("PIL.ImageCms", "codecs")
        lab, srgb = cms.createProfile("LAB"), cms.createProfile("sRGB")
        image = cms.profileToProfile(image, lab, srgb, outputMode="RGB")
    elif image.mode in ("P", "PA", "CMYK", "YCbCr", "HSV") and mode == "L":
        image = image.convert("RGB")
    return image.convert(mode)


def _deep(
    image: Any, look: Look, channels: int, depth: str, under: tuple[int, int, int], done: Counter[str]
) -> np.ndarray:
    """Values of more than 8 bits as float32 [channels, H, W]."""
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise Unreadable("holds NaN or infinity")
    key = image.info.get("transparency")
    if isinstance(key, int) and look.depth == "16" and (values == key).any():
        done["transparent"] += 1
        planes = np.stack([np.where(values == key, np.float32(257 * level), values) for level in under])
        return planes[:channels]
    return np.repeat(values[None], channels, axis=0)
