"""Pictures of any size, depth, colour and turn, and arrays among them, become samples of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..options import Reading, pixels
from . import arrays, decode, resize
from .array_folder import convert_arrays
from .origins import add_origin, settle_origins
from .walk import Entry

LARGE = 512  # pixels of a side from which a picture is large for a device


@dataclass(frozen=True)
class Form:
    """What all samples become: channels 1 or 3 (or more, from arrays), depth, (height, width)."""

    channels: int
    depth: str
    size: tuple[int, int]

    @property
    def dtype(self) -> str:
        return "uint8" if self.depth == "8" else "float32"


def convert_pictures(entries: Sequence[Entry], target: Path, reading: Reading, gate: Gate) -> None:
    """Write the plain form of ``entries``: one look at every header, then one decoding of every file."""
    gate.kind = "pictures"
    looks: list[tuple[Entry, decode.Look]] = []
    for entry in entries:
        try:
            look = arrays.look(entry.file, reading) if entry.kind == "arrays" else decode.look(entry.file)
            looks.append((entry, look))
        except decode.Unreadable as error:
            gate.broken(entry.file, error.reason, entry.label)
    if not looks:
        gate.settle([])
    looks = arrays.agree(looks)
    if all(look.kind != "pictures" for _, look in looks):
        convert_arrays(looks, target, reading, gate)
        return
    for entry, look in [pair for pair in looks if pair[1].kind != "pictures"]:
        gate.broken(entry.file, f"an array {look.shape}, no picture", entry.label)
    looks = [pair for pair in looks if pair[1].kind == "pictures"]
    form = _common_form([look for _, look in looks], reading, gate)
    origins = Origins()
    done: Counter[str] = Counter()
    with new_folder(target) as out:
        gate.forms |= {"pictures"} | {"arrays" for entry, _ in looks if entry.kind == "arrays"}
        writer = DatasetWriter(out, (form.channels, *form.size), form.dtype, gate)
        for entry, look in looks:
            try:
                if entry.kind == "arrays":
                    sample = arrays.read(entry.file, look)
                else:
                    sample = decode.read(entry.file, look, form.channels, form.depth, form.size, reading.under, done)
            except decode.Unreadable as error:
                gate.broken(entry.file, error.reason, entry.label)
                continue
            if len(sample) != form.channels:
                sample = np.repeat(sample, form.channels, axis=0)
            writer.append(resize.letterbox(sample.astype(form.dtype, copy=False), form.size)[None])
            add_origin(origins, entry, look.taken)
        _say(gate, looks, form, done, reading)
        settle_origins(origins)
        complete(writer, gate, origins, reading, str(gate.place))


def _common_form(looks: Sequence[decode.Look], reading: Reading, gate: Gate) -> Form:
    """One form for all; BadInput where depths or channels cannot be brought together."""
    depths = Counter(look.depth for look in looks)
    if "raw" in depths and len(depths) > 1:
        raise gate.refuse(
            f"{depths['raw']} pictures hold plain numbers (32-bit or float), {len(looks) - depths['raw']} are of 8 or "
            "16 bits: their values cannot be compared.", "Save all in one depth.",
        )  # fmt: skip
    depth = "raw" if "raw" in depths else "16" if "16" in depths else "8"
    transparent = any(look.transparent for look in looks)
    red, green, blue = reading.under
    channels = Counter(look.channels for look in looks)
    if transparent and not red == green == blue:
        channels[3] += 1
    if len(set(channels) - {1}) > 1:
        raise gate.refuse(
            f"The samples have {' and '.join(f'{c} channels ({n})' for c, n in sorted(channels.items()))}.",
            "Save all with the same channels.",
        )
    return Form(max(channels), depth, _common_size([look.size for look in looks], reading, gate))


def _common_size(sizes: Sequence[tuple[int, int]], reading: Reading, gate: Gate) -> tuple[int, int]:
    one = len(set(sizes)) == 1
    asked = reading.size or ("keep" if one else "auto")
    if asked == "keep":
        if not one:
            common = Counter(sizes).most_common(3)
            shown = ", ".join(f"{h}x{w} ({n})" for (h, w), n in common)
            raise gate.refuse(
                f"The pictures have {len(set(sizes))} sizes: {shown}{', ..' if len(set(sizes)) > 3 else ''}.",
                "Give --size auto, or one such as --size 96.",
            )
        if reading.size is None and max(sizes[0]) > LARGE:
            gate.warn(f"Pictures of {sizes[0][0]}x{sizes[0][1]} are large for a device: consider --size 96.")
        return sizes[0]
    size = resize.automatic(sizes) if asked == "auto" else pixels(asked)
    if set(sizes) != {size}:
        gate.note(f"resized from {resize.described(sizes)}")
    return size


def _say(
    gate: Gate, looks: Sequence[tuple[Entry, decode.Look]], form: Form, done: Counter[str], reading: Reading
) -> None:
    """Notes and warnings of what was done to the pictures."""
    under = reading.background or "white"
    for what, text in (
        ("turned", "turned upright: {n}"), ("transparent", f"transparent, put on {under}: {{n}}"),
        ("palette", "palettes read as colours: {n}"), ("cmyk", "CMYK read as RGB: {n}"),
    ):  # fmt: skip
        if done[what]:
            gate.note(text.format(n=done[what]))
    grey = sum(look.channels == 1 for _, look in looks)
    if form.channels == 3 and grey:
        gate.note(f"grey among colour, read as RGB: {grey}")
    depths = Counter(look.depth for _, look in looks)
    if form.depth == "16":
        among = f" ({depths['8']} of 8 bits scaled to 16)" if depths["8"] else ""
        gate.note(f"16-bit values kept as float32{among}")
    elif form.depth == "raw":
        gate.note("values kept as float32")
    if n := sum(look.high_byte for _, look in looks):
        gate.warn(f"{n} pictures hold 16 bits a channel in colour or with transparency: read in 8 bits.")
    if n := sum(look.frames > 1 for _, look in looks):
        gate.warn(f"{n} files hold several pictures: the first of each is taken.")
