"""How a sample is encoded on flash: raw, zstd, PNG or JPEG for images, int8 for latents; chosen in the schema.

Every record names the codec it was written with, so a store describes itself. raw and int8 have one length
and are decoded natively; the others vary in length and are decoded here, one record at a time, by whichever
thread reads it (movers included: they take the GIL for it). Where zstd, PNG or JPEG would not make a sample
smaller it is stored raw. JPEG and int8 lose precision: what is read is what was kept, not what was given.
"""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .errors import MissingCodec
from .schema import CODECS, StreamSchema

RAW, ZSTD, PNG, JPEG, INT8 = range(len(CODECS))
Encode = Callable[[np.ndarray], bytes]  # one sample [bytes] -> its encoding


@dataclass(frozen=True)
class Codec:
    """code: as in the record. stored: bytes of an encoded sample, 0 where they vary. scales: of int8."""

    code: int
    stored: int
    scales: int
    encode_one: Encode | None = None

    @property
    def variable(self) -> bool:
        return self.stored == 0

    def encode_fixed(self, rows: np.ndarray) -> np.ndarray:
        """[N, bytes] uint8 as given -> [N, stored] uint8 as stored."""
        if self.code == RAW:
            return rows
        values = rows.view(np.float32).reshape(len(rows), self.scales, -1)
        largest = np.abs(values).max(axis=2)
        scale = np.where(largest > 0, largest / 127, 1).astype("<f4")
        quantised = np.rint(values / scale[:, :, None]).astype(np.int8).reshape(len(rows), -1)
        return np.concatenate([scale.view(np.uint8).reshape(len(rows), -1), quantised.view(np.uint8)], axis=1)

    def encode_variable(self, rows: np.ndarray) -> tuple[list[bytes], np.ndarray]:
        """[N, bytes] uint8 -> the encodings and the code of each (uint8): RAW where encoding gains nothing."""
        assert self.encode_one is not None
        out, codes = [], np.full(len(rows), self.code, np.uint8)
        for i, row in enumerate(rows):
            data = self.encode_one(row)
            if len(data) >= len(row):
                data, codes[i] = row.tobytes(), RAW
            out.append(data)
        return out, codes


def make_codec(schema: StreamSchema) -> Codec:
    """The codec of a stream; `MissingCodec` when its library is not installed."""
    name, _, option = schema.codec.partition(":")
    if name == "raw":
        return Codec(RAW, schema.sample_bytes, 1)
    if name == "int8":
        scales = schema.sample_shape[0] if option == "channel" and len(schema.sample_shape) > 1 else 1
        return Codec(INT8, 4 * scales + schema.sample_bytes // 4, scales)
    if name == "zstd":
        local = threading.local()
        zstandard = _need("zstandard")

        def zstd(row: np.ndarray) -> bytes:
            if not hasattr(local, "compressor"):
                local.compressor = zstandard.ZstdCompressor(level=int(option or 3), write_checksum=False)
            return bytes(local.compressor.compress(row))

        return Codec(ZSTD, 0, 1, zstd)
    image = _need("PIL.Image")
    shape = schema.sample_shape[-2:] if schema.sample_shape[0] != 3 else schema.sample_shape
    options: dict[str, Any] = {"format": "PNG", "compress_level": 6}
    if name == "jpeg":
        options = {"format": "JPEG", "quality": int(option or 90), "subsampling": 0}

    def picture(row: np.ndarray) -> bytes:
        pixels = row.reshape(shape)
        to = io.BytesIO()
        image.fromarray(pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels).save(to, **options)
        return to.getvalue()

    return Codec(CODECS.index(name), 0, 1, picture)


def make_decoder(schema: StreamSchema) -> Callable[[int, memoryview, memoryview], bool]:
    """decode(code, encoded, to): fills ``to`` with the sample's bytes; False when they do not make one."""
    local = threading.local()

    def decode(code: int, encoded: memoryview, to: memoryview) -> bool:
        try:
            if code == ZSTD:
                if not hasattr(local, "decompressor"):
                    local.decompressor = _need("zstandard").ZstdDecompressor()
                data = local.decompressor.decompress(encoded, max_output_size=len(to))
            elif code in (PNG, JPEG):
                kind = "PNG" if code == PNG else "JPEG"
                with _need("PIL.Image").open(io.BytesIO(encoded), formats=[kind]) as picture:
                    if picture.width * picture.height * len(picture.getbands()) != len(to):
                        return False
                    pixels = np.asarray(picture)
                data = (pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels).tobytes()
            else:
                return False
            if len(data) != len(to):
                return False
            to[:] = data
            return True
        except MissingCodec:
            return False
        except Exception:  # whatever the library makes of bytes that are no sample
            return False

    return decode


def decode_int8(text: bytes, scales: int) -> bytes:
    """The float32 bytes of one sample that `Codec.encode_fixed` made int8 of."""
    scale = np.frombuffer(text, "<f4", scales)
    values = np.frombuffer(text, np.int8, offset=4 * scales).reshape(scales, -1)
    return (scale[:, None] * values.astype(np.float32)).tobytes()


def round_trip(codec: Codec, schema: StreamSchema, rows: np.ndarray) -> np.ndarray:
    """[N, bytes] as they come back from flash."""
    if codec.code == RAW:
        return rows
    if codec.code == INT8:
        back = [np.frombuffer(decode_int8(row.tobytes(), codec.scales), np.uint8) for row in codec.encode_fixed(rows)]
        return np.stack(back)
    out, decode = rows.copy(), make_decoder(schema)
    for i, (data, code) in enumerate(zip(*codec.encode_variable(rows))):
        if code != RAW:
            decode(int(code), memoryview(data), memoryview(out[i]))  # type: ignore[arg-type]
    return out


def _need(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = {"PIL.Image": "Pillow"}.get(module, module)
        raise MissingCodec(f"This store's codec needs {name}.", "pip install 'edgecl[codecs]'") from error
