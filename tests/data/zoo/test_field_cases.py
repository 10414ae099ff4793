"""Data as people brought it, each once read wrongly or refused for no good reason: one member of its kind each."""

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
from PIL import Image, ImageDraw

from edgecl.data.gate import Refused


def save(pixels, file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, **options)


@pytest.fixture
def broken(tmp_path):
    """41 files in two classes: one empty, three cut short, one of a Mac's doubles."""
    rng = np.random.default_rng(0)
    for name in "ab":
        for i in range(20):
            save(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8), tmp_path / "broken" / name / f"{i:02d}.jpg")
    root = tmp_path / "broken"
    (root / "a/03.jpg").write_bytes(b"")
    (root / "b/._05.jpg").write_bytes(b"\0\5\x16\7")
    for name in ("a/09.jpg", "b/02.jpg", "b/11.jpg"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    return root


def test_all_broken_files_are_named_at_once(broken, read):
    with pytest.raises(Refused) as error:
        read(broken)
    short = [f"{name} (cut short)" for name in ("a/09.jpg", "b/02.jpg", "b/11.jpg")]
    for name in ("a/03.jpg (empty)", "b/._05.jpg", *short):
        assert name in error.value.cause
    assert "--skip-broken" in error.value.remedy
    assert sum(error.value.facts["left_out"].values()) == 5


def test_broken_files_are_left_out_on_request_and_counted_by_reason_and_class(broken, read):
    got = read(broken, skip_broken=True)
    assert got.facts["samples"] == 36
    assert got.facts["left_out"] == {"a system's file": 1, "empty": 1, "cut short": 3}
    assert "36 pictures, 2 classes, 3x32x32; 5 files left out: 3 cut short" in got.facts["line"]
    assert any("'a' lost 2 of 20" in w for w in got.facts["warnings"])


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("suffix", "content"), [(".HEIC", b"\0\0\0\x18ftypheic" + bytes(20)), (".dng", b"II*\0")])
def test_a_class_that_would_disappear_is_refused_by_name_and_count(tmp_path, read, skip, suffix, content):
    rng = np.random.default_rng(0)
    for name in "abc":
        for i in range(6):
            file = tmp_path / "in" / name / f"IMG_{i:04d}"
            if name == "c":
                file.parent.mkdir(parents=True, exist_ok=True)
                file.with_suffix(suffix).write_bytes(content)
            else:
                save(rng.integers(0, 255, (16, 16, 3)).astype(np.uint8), file.with_suffix(".png"))
    with pytest.raises(Refused, match="Class 'c' would lose all its 6 files"):
        read(tmp_path / "in", skip_broken=skip)


def test_pictures_on_their_side_are_turned_upright(tmp_path, read):
    for name in ("up", "down"):
        for i in range(6):
            picture = Image.new("RGB", (24, 16), (200, 200, 200))
            picture.paste((0, 0, i), (0, 0, 24, 8) if name == "up" else (0, 8, 24, 16))
            exif = picture.getexif()
            if i % 2:
                picture = picture.rotate(90, expand=True)
                exif[0x0112] = 6
            save(picture, tmp_path / "in" / name / f"{i}.jpg", exif=exif)
    got = read(tmp_path / "in")
    assert got.facts["notes"] == ["turned upright: 6"] and got.facts["shape"] == [3, 16, 24]
    x, units = got.data.samples.read(np.arange(12)), got.data.samples.labels
    top, bottom = x[:, :, :6].mean((1, 2, 3)), x[:, :, 10:].mean((1, 2, 3))
    assert ((top < bottom) == (np.array(got.data.labels)[units] == "up")).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_shows_the_same_picture(tmp_path, read, orientation):
    seen = np.arange(6 * 4, dtype=np.uint8).reshape(4, 6) * 10
    how = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that undoes what a viewer will do
    picture = Image.fromarray(seen)
    if orientation in how:
        picture = picture.transpose(Image.Transpose(how[orientation]))
    exif = picture.getexif()
    exif[0x0112] = orientation
    for name in "ab":
        save(picture, tmp_path / "in" / name / "0.png", exif=exif)
        save(255 - seen, tmp_path / "in" / name / "1.png")
    got = read(tmp_path / "in")
    assert np.array_equal(got.data.samples.read(np.array([0]))[0, 0], seen)


def test_one_grey_file_does_not_take_the_colour_of_the_others(tmp_path, read):
    for name, colour in (("green", (40, 120, 40)), ("red", (157, 60, 60))):
        for i in range(8):
            save(Image.new("RGB", (16, 16), tuple(v + i for v in colour)), tmp_path / "in" / name / f"{i}.png")
    save(Image.new("L", (16, 16), 87), tmp_path / "in" / "green" / "0.png")
    got = read(tmp_path / "in")
    assert got.facts["shape"] == [3, 16, 16] and "grey among colour, read as RGB: 1" in got.facts["notes"]
    assert got.data.samples.read(np.array([0, 1, 9]))[:, :, 3, 3].tolist() == [
        [87, 87, 87], [41, 121, 41], [158, 61, 61],
    ]  # fmt: skip


def test_photographs_of_all_sizes_become_one_size_with_bars(tmp_path, read):
    rng = np.random.default_rng(0)
    for name in ("cup", "plant", "shoe"):
        for i in range(8):
            w, h = rng.integers(60, 120, 2)
            save(rng.integers(0, 255, (h, w, 3)).astype(np.uint8), tmp_path / "in" / name / f"{i}.jpg")
    got = read(tmp_path / "in")
    assert got.facts["shape"] == [3, 64, 64] and "resized from 24 sizes" in got.facts["line"]
    assert read(tmp_path / "in", size="96").facts["shape"] == [3, 96, 96]
    assert read(tmp_path / "in", size="40x64").facts["shape"] == [3, 40, 64]


def test_a_picture_is_scaled_whole_and_centred(tmp_path, read):
    for name, value in (("a", 200), ("b", 90)):
        for i in range(2):
            pixels = np.full((40, 80, 3), 10, np.uint8)
            pixels[10:30, 20:60] = value + i
            save(pixels, tmp_path / "in" / name / f"{i}.png")
    x = read(tmp_path / "in", size="32").data.samples.read(np.array([0]))[0, 0]
    assert (x[:8] == 10).all() and (x[24:] == 10).all()  # bars in the colour of the border
    assert (x[13:19, 10:22] == 200).all() and np.array_equal(x, x[:, ::-1])


def test_sixteen_bits_keep_every_value(tmp_path, read):
    rng = np.random.default_rng(0)
    given = []
    for name in "ab":
        for i in range(6):
            given.append((rng.integers(2000, 4000, (16, 16)) + (name == "b") * 20000).astype(np.uint16))
            save(given[-1], tmp_path / "in" / name / f"{i}.png")
    got = read(tmp_path / "in")
    assert got.data.samples.dtype == np.float32
    assert np.array_equal(got.data.samples.read(np.arange(12))[:, 0], np.stack(given))


def drawings(root):
    for name in ("cross", "ring"):
        for i in range(6):
            picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
            pen, o = ImageDraw.Draw(picture), i % 3
            if name == "ring":
                pen.ellipse((2 + o, 2, 12 + o, 12), outline=(0, 0, 0, 255))
            else:
                pen.line((2 + o, 2, 12 + o, 12), fill=(0, 0, 0, 255))
            save(picture, root / name / f"{i}.png")
    return root


def test_black_strokes_without_a_ground_are_put_on_white(tmp_path, read):
    got = read(drawings(tmp_path / "in"))
    assert "transparent, put on white: 12" in got.facts["notes"]
    x = got.data.samples.read(np.arange(12))
    assert set(np.unique(x)) == {0, 255} and ((x == 0).sum((1, 2, 3)) > 10).all()


def test_strokes_that_the_ground_swallows_are_refused(tmp_path, read):
    with pytest.raises(Refused, match="All 12 samples are the same") as error:
        read(drawings(tmp_path / "in"), background="black")
    assert "--background" in error.value.remedy


def test_a_coloured_ground_makes_colour_pictures(tmp_path, read):
    got = read(drawings(tmp_path / "in"), background="#ff0000")
    assert got.facts["shape"] == [3, 16, 16]
    assert got.data.samples.read(np.array([0]))[0, :, 15, 0].tolist() == [255, 0, 0]
