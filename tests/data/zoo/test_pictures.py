"""Pictures of every mode, depth and format: each has one right reading."""

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL.Image")
from PIL import Image, features

from edgecl.config import Config
from edgecl.data.readers import decode

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)


def palette(grey):
    picture = Image.fromarray(RAMP // 4).convert("P")
    levels = [(4 * i, 4 * i, 4 * i) if grey else (4 * i, 255 - 4 * i, 7) for i in range(64)]
    picture.putpalette([v for rgb in levels for v in rgb])
    return picture


def with_alpha(pixels, mode):
    picture = Image.fromarray(pixels).convert(mode)
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[0] = 0
    picture.putalpha(Image.fromarray(alpha))
    return picture


# name -> (picture, ending, options of saving, expected)
GREY, RGB = (1, 8, 8), (3, 8, 8)
MODES = {
    "1 bit png": (Image.fromarray(RAMP > 100), "png", {}, {"shape": GREY, "dtype": "uint8"}),
    "1 bit pbm": (Image.fromarray(RAMP > 100), "pbm", {}, {"shape": GREY, "dtype": "uint8"}),
    "1 bit tiff": (Image.fromarray(RAMP > 100), "tif", {"compression": "group4"}, {"shape": GREY}),
    "8 bit png": (Image.fromarray(RAMP), "png", {}, {"shape": GREY, "dtype": "uint8"}),
    "8 bit pgm": (Image.fromarray(RAMP), "pgm", {}, {"shape": GREY, "dtype": "uint8"}),
    "8 bit bmp": (Image.fromarray(RAMP), "bmp", {}, {"shape": GREY}),
    "8 bit grey jpeg": (Image.fromarray(RAMP), "jpg", {"quality": 95}, {"shape": GREY, "dtype": "uint8"}),
    "8 bit tiff, lzw": (Image.fromarray(RAMP), "tiff", {"compression": "tiff_lzw"}, {"shape": GREY}),
    "16 bit png": (Image.fromarray(RAMP.astype(np.uint16) * 200), "png", {}, {"shape": GREY, "dtype": "float32"}),
    "16 bit tiff": (Image.fromarray(RAMP.astype(np.uint16) * 200), "tif", {}, {"shape": GREY, "dtype": "float32"}),
    "16 bit pgm": (Image.fromarray(RAMP.astype(np.uint16) * 200), "pgm", {}, {"shape": GREY, "dtype": "float32"}),
    "32 bit tiff": (Image.fromarray(RAMP.astype(np.int32) * 9999), "tif", {}, {"shape": GREY, "dtype": "float32"}),
    "float tiff": (Image.fromarray(RAMP / np.float32(3.7)), "tif", {}, {"shape": GREY, "dtype": "float32"}),
    "float tiff with NaN": (Image.fromarray(np.where(RAMP == 8, np.nan, RAMP).astype(np.float32)), "tif", {},
                            {"refused": "holds NaN or infinity"}),
    "palette of greys": (palette(True), "png", {}, {"shape": GREY, "notes": ["palettes"]}),
    "palette of colours": (palette(False), "png", {}, {"shape": RGB, "notes": ["palettes"]}),
    "palette gif": (palette(False), "gif", {}, {"shape": RGB}),
    "palette with a clear entry": (palette(False), "png", {"transparency": 0},
                                   {"shape": RGB, "notes": ["transparent, put on white: 4"]}),
    "rgb png": (Image.fromarray(COLOUR), "png", {}, {"shape": RGB, "dtype": "uint8"}),
    "rgb jpeg": (Image.fromarray(COLOUR), "jpeg", {}, {"shape": RGB}),
    "rgb webp": (Image.fromarray(COLOUR), "webp", {"lossless": True}, {"shape": RGB}),
    "rgb with a clear colour": (Image.fromarray(COLOUR), "png", {"transparency": (0, 224, 0)},
                                {"shape": RGB, "notes": ["transparent, put on white: 4"]}),
    "grey with a clear level": (Image.fromarray(RAMP), "png", {"transparency": 8},
                                {"shape": GREY, "notes": ["transparent, put on white: 4"]}),
    "16 bit with a clear level": (Image.fromarray(RAMP.astype(np.uint16) * 200), "png", {"transparency": 1600},
                                  {"shape": GREY, "notes": ["transparent, put on white: 4"]}),
    "grey with alpha": (with_alpha(RAMP, "L"), "png", {}, {"shape": GREY, "notes": ["transparent"]}),
    "rgb with alpha": (with_alpha(COLOUR, "RGB"), "png", {}, {"shape": RGB, "notes": ["transparent"]}),
    "rgb with alpha, webp": (with_alpha(COLOUR, "RGB"), "webp", {"lossless": True}, {"notes": ["transparent"]}),
    "rgb with alpha, tiff": (with_alpha(COLOUR, "RGB"), "tif", {}, {"shape": RGB, "notes": ["transparent"]}),
    "cmyk jpeg": (Image.fromarray(COLOUR).convert("CMYK"), "jpg", {}, {"shape": RGB, "notes": ["CMYK read as RGB"]}),
    "cmyk tiff": (Image.fromarray(COLOUR).convert("CMYK"), "tif", {}, {"shape": RGB, "notes": ["CMYK"]}),
    "lab tiff": (Image.merge("LAB", [Image.fromarray(c) for c in (RAMP, RAMP.T.copy(), RAMP)]), "tif", {},
                 {"shape": RGB}),
}  # fmt: skip


def fill(root, picture, ending, options):
    """Four files in two classes, each another part of the picture turned about: no two classes look alike."""
    for name in "ab":
        for i in range(2):
            file = root / name / f"{i}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            turned = picture if name == "a" else picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            turned.save(file, **options)
    return root


@pytest.mark.parametrize("name", MODES)
def test_every_mode_and_format_is_read_as_what_it_shows(tmp_path, agrees, name):
    picture, ending, options, expected = MODES[name]
    got = agrees(fill(tmp_path / "in", picture, ending, options), {}, expected)
    if got is None or ending in ("jpg", "jpeg") or picture.mode in ("LAB", "CMYK"):
        return
    x = got.data.samples.read(np.array([0]))[0]
    if picture.mode.startswith(("I", "F")):
        shown = np.asarray(picture, np.float32)[None]
        if "transparency" in options:
            shown = np.where(shown == options["transparency"], 65535, shown)
    else:
        over = picture.copy()
        if "transparency" in options:
            over.info["transparency"] = options["transparency"]
        ground = Image.new("RGBA", over.size, "white")
        ground.alpha_composite(over.convert("RGBA"))
        shown = np.asarray(ground.convert("RGB")).transpose(2, 0, 1)[: len(x)]
    assert np.array_equal(x, shown)


def test_heic_is_read_where_its_decoder_is(tmp_path, agrees):
    pytest.importorskip("pillow_heif").register_heif_opener()
    agrees(fill(tmp_path / "in", Image.fromarray(COLOUR).resize((64, 64)), "heic", {}), {}, {"shape": (3, 64, 64)})


def test_avif_is_read_where_its_decoder_is(tmp_path, agrees):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    agrees(fill(tmp_path / "in", Image.fromarray(COLOUR).resize((64, 64)), "avif", {}), {}, {"shape": (3, 64, 64)})


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_sixteen_bit_colour_is_read_in_eight_and_that_is_said(tmp_path, agrees):
    deep = (COLOUR.astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + deep[i : i + 48] for i in range(0, len(deep), 48))

    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    png += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    root = fill(tmp_path / "in", Image.fromarray(COLOUR), "png", {})
    (root / "a" / "1.png").write_bytes(png)
    got = agrees(root, {}, {"shape": RGB, "warnings": ["1 pictures hold 16 bits a channel"]})
    assert np.array_equal(got.data.samples.read(np.array([1]))[0], COLOUR.transpose(2, 0, 1))


def test_eight_and_sixteen_bits_share_a_scale(tmp_path, read):
    root = fill(tmp_path / "in", Image.fromarray(RAMP), "png", {})
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(root / "b" / "1.png")
    got = read(root)
    assert np.array_equal(got.data.samples.read(np.array([0]))[0, 0], RAMP * 257.0)
    assert np.array_equal(got.data.samples.read(np.array([3]))[0, 0], RAMP * 257.0)
    assert "16-bit values kept as float32 (3 of 8 bits scaled to 16)" in got.facts["notes"]


def test_values_without_a_white_are_not_mixed_with_bytes(tmp_path, agrees):
    root = fill(tmp_path / "in", Image.fromarray(RAMP), "png", {})
    Image.fromarray(RAMP.astype(np.float32)).save(root / "b" / "1.tif")
    agrees(root, {}, {"refused": "cannot be compared"})


def test_a_picture_that_moves_shows_its_first_frame_and_that_is_said(tmp_path, agrees):
    root = fill(tmp_path / "in", Image.fromarray(RAMP), "png", {})
    Image.fromarray(RAMP).save(
        root / "b" / "1.gif", save_all=True, append_images=[Image.fromarray(255 - RAMP)], duration=50
    )
    agrees(root, {}, {"samples": 5, "warnings": ["1 files hold several pictures"]})


def test_a_bomb_of_pixels_is_no_picture(tmp_path, agrees):
    root = fill(tmp_path / "in", Image.fromarray(RAMP), "png", {})
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    (root / "a" / "9.png").write_bytes(png)
    agrees(root, {}, {"refused": r"a/9\.png \(too many pixels\)"})


def test_a_large_jpeg_is_decoded_small_and_still_the_same_picture(tmp_path, read):
    big = Image.fromarray(COLOUR).resize((1600, 1600), Image.Resampling.BICUBIC)
    got = read(fill(tmp_path / "in", big, "jpg", {"quality": 95}), size="32")
    shown = np.asarray(big.resize((32, 32), Image.Resampling.BOX)).transpose(2, 0, 1).astype(int)
    assert np.abs(got.data.samples.read(np.array([0]))[0].astype(int) - shown).max() <= 8


def test_the_camera_says_when_a_picture_was_taken(tmp_path, read):
    root = tmp_path / "in"
    for number, name in enumerate("ab"):
        for i in range(2):
            picture = Image.fromarray(COLOUR + np.uint8(i + 3 * number))
            exif = picture.getexif()
            exif[0x0132] = f"2024:05:0{1 + i} 10:00:0{number}"
            (root / name).mkdir(parents=True, exist_ok=True)
            picture.save(root / name / f"{i}.jpg", exif=exif)
    assert (np.diff(read(root).data.times) == [86400, 1 - 86400, 86400]).all()


# --- the order of grey values ----------------------------------------------------------------


def grey_in(mode, levels):
    """Levels 0..255 [n] as a picture [1, n] of ``mode``, in steps that the mode can tell apart."""
    row = levels[None].astype(np.uint8)
    if mode == "1":
        return Image.fromarray(row).convert("1", dither=Image.Dither.NONE), "png"
    if mode == "I;16":
        return Image.fromarray(row.astype(np.uint16) * 251), "png"
    if mode == "I":
        return Image.fromarray(row.astype(np.int32) * 65_000 - 1_000_000), "tif"
    if mode == "F":
        return Image.fromarray(row.astype(np.float32) / 7 - 9), "tif"
    if mode == "P":
        picture = Image.fromarray(row).convert("P")
        picture.putpalette([v for i in range(256) for v in (i, i, i)])
        return picture, "png"
    picture = Image.fromarray(row).convert("RGB" if mode == "CMYK" else mode).convert(mode)
    return picture, "tif" if mode == "CMYK" else "png"


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"]),
    levels=st.lists(st.integers(0, 255), min_size=2, max_size=40),
    colour_beside=st.booleans(),
    under=st.sampled_from(["white", "black", "200"]),
)
def test_any_mode_and_depth_keeps_the_order_of_its_grey_values(tmp_path, mode, levels, colour_beside, under):
    levels = np.array(levels)
    picture, ending = grey_in(mode, levels)
    file = tmp_path / f"grey.{ending}"
    picture.save(file)
    look = decode.look(file)
    channels = 3 if colour_beside else look.channels
    config = Config.make({"background": under})
    x = decode.read(file, look, channels, look.depth, look.size, config.reading.under, Counter())
    assert x.shape == (channels, 1, levels.size)
    for plane in x[:, 0].astype(np.float64):
        above = levels[:, None] > levels[None]
        assert (plane[:, None] >= plane[None])[above].all()
        if mode != "1":  # and what differs stays different
            assert np.unique(plane).size == np.unique(levels).size
