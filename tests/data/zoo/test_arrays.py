"""Arrays in any shape, type, order of axes and of memory."""

import numpy as np
import pytest

RNG = np.random.default_rng(0)
Y = np.arange(12) % 3


def numbers(*shape, dtype="float32"):
    return (RNG.random((12, *shape)) * 200).astype(dtype)


def padded(steps=60, front=False):
    x = numbers(6, steps) + 1
    for i, row in enumerate(x):
        if front:
            row[:, : 5 + i] = 0
        else:
            row[:, steps - 5 - i :] = 0
    return x


# name -> (arrays, options, expected)
ARRAYS = {
    "pictures, channels first": ({"x": numbers(3, 8, 8, dtype="uint8")}, {}, {"shape": (3, 8, 8), "kind": "pictures"}),
    "pictures, channels last": ({"x": numbers(8, 8, 3, dtype="uint8")}, {}, {
        "shape": (3, 8, 8), "notes": ["height x width x channels"]}),
    "oblong pictures, channels last": ({"x": numbers(6, 9, 3, dtype="uint8")}, {}, {"shape": (3, 6, 9)}),
    "grey pictures, last axis one": ({"x": numbers(8, 9, 1)}, {}, {"shape": (1, 8, 9), "kind": "pictures"}),
    "either order": ({"x": numbers(3, 8, 3)}, {}, {"refused": "channels first, or last"}),
    "either order, said": ({"x": numbers(3, 8, 3)}, {"axes": "hwc"}, {"shape": (3, 3, 8)}),
    "maps of many channels": ({"x": numbers(16, 7, 7)}, {}, {"shape": (16, 7, 7)}),
    "maps of many channels, last": ({"x": numbers(7, 7, 16)}, {}, {"shape": (16, 7, 7)}),
    "grey pictures": ({"x": numbers(28, 28)}, {}, {"shape": (1, 28, 28), "kind": "pictures"}),
    "windows, channels first": ({"x": numbers(6, 50)}, {}, {
        "shape": (6, 1, 50), "kind": "windows", "notes": ["channels x steps"]}),
    "windows, steps first": ({"x": numbers(50, 6)}, {}, {"shape": (6, 1, 50), "notes": ["steps x channels"]}),
    "windows (C, 1, T)": ({"x": numbers(6, 1, 50)}, {}, {"shape": (6, 1, 50), "kind": "windows"}),
    "windows (T, 1, C)": ({"x": numbers(50, 1, 6)}, {}, {"shape": (6, 1, 50), "kind": "windows"}),
    "windows (1, T, C)": ({"x": numbers(1, 50, 6)}, {}, {"shape": (6, 1, 50), "kind": "windows"}),
    "short windows": ({"x": numbers(12, 5)}, {}, {"refused": "grey pictures, or windows of 5 channels"}),
    "short windows, said": ({"x": numbers(12, 5)}, {"axes": "tc"}, {"shape": (5, 1, 12), "kind": "windows"}),
    "one channel of steps": ({"x": numbers(50)}, {"axes": "t"}, {"shape": (1, 1, 50), "kind": "windows"}),
    "rows": ({"x": numbers(9)}, {}, {"shape": (9, 1, 1), "kind": "features"}),
    "videos": ({"x": numbers(4, 8, 8, 3)}, {}, {"refused": "4 axes"}),
    "numbers alone": ({"x": numbers()}, {}, {"refused": "shape"}),
    "bool": ({"x": numbers(8, 8) > 100}, {}, {"dtype": "uint8"}),
    "int8 with a sign": ({"x": (numbers(8, 8) - 100).astype("int8")}, {}, {"dtype": "float32"}),
    "int64 of bytes": ({"x": numbers(8, 8, dtype="int64")}, {}, {"dtype": "uint8"}),
    "uint16 beyond bytes": ({"x": numbers(8, 8, dtype="uint16") * 300}, {}, {"dtype": "float32"}),
    "big-endian uint32": ({"x": (numbers(8, 8) * 99).astype(">u4")}, {}, {"dtype": "float32"}),
    "float16": ({"x": numbers(8, 8, dtype="float16")}, {}, {"dtype": "float32"}),
    "complex": ({"x": numbers(8, 8).astype(complex)}, {}, {"refused": "complex"}),
    "text": ({"x": numbers(8, 8).astype(str)}, {}, {"refused": "<U"}),
    "Fortran order": ({"x": np.asfortranarray(numbers(3, 8, 8))}, {}, {"shape": (3, 8, 8)}),
    "Fortran order, bytes": ({"x": np.asfortranarray(numbers(8, 8, 3, dtype="uint8"))}, {}, {"shape": (3, 8, 8)}),
    "filled with zeros": ({"x": padded()}, {}, {"refused": "windows end with zeros.*without a mask"}),
    "filled with zeros in front": ({"x": padded(front=True)}, {}, {"refused": "windows begin with zeros"}),
    "filled with zeros, steps first": ({"x": padded().transpose(0, 2, 1).copy()}, {}, {"refused": "without a mask"}),
    "lengths beside": ({"x": padded(), "lengths": Y + 50}, {}, {"refused": "masks are not supported"}),
    "train and test": ({"x_train": numbers(8, 8), "y_train": Y, "x_test": numbers(8, 8), "y_test": Y, "y": None}, {}, {
        "samples": 24, "split": "own test part"}),
    "images and labels": ({"images": numbers(8, 8), "labels": Y, "y": None}, {}, {"samples": 12}),
    "labels in a column": ({"x": numbers(9), "y": Y[:, None]}, {}, {"classes": 3}),
    "one-hot labels": ({"x": numbers(9), "y": np.eye(3)[Y]}, {}, {"refused": "argmax"}),
    "several classes a sample": ({"x": numbers(9), "y": (np.eye(3) + np.eye(3)[::-1] > 0)[Y] * 1}, {}, {
        "refused": "several classes"}),
    "whole float labels": ({"x": numbers(9), "y": Y * 1.0}, {}, {"refused": "astype"}),
    "measures as labels": ({"x": numbers(9), "y": Y + 0.5}, {}, {"refused": "class, not a measure"}),
    "bytes as labels": ({"x": numbers(9), "y": Y.astype("S")}, {}, {"refused": "char.decode"}),
    "bool labels": ({"x": numbers(9), "y": Y > 0}, {}, {"refused": r"astype\(int\)"}),
    "objects": ({"x": np.array([numbers(3), numbers(3)] * 6, object), "y": Y}, {}, {"refused": "never loaded"}),
    "not used": ({"x": numbers(9), "z": Y}, {}, {"warnings": ["Arrays not used: z"]}),
    "an option for something else": ({"x": numbers(9)}, {"size": "32"}, {"warnings": ["--size changes nothing"]}),
    "one size of all": ({"x": numbers(8, 8, dtype="uint8") // 200 * 0 + Y[:, None, None].astype("uint8")}, {}, {
        "warnings": ["12 of 12 samples hold nothing but one value"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_every_form_of_array_has_its_reading(tmp_path, agrees, name):
    arrays, options, expected = ARRAYS[name]
    content = {k: v for k, v in {"y": Y, **arrays}.items() if v is not None}
    np.savez(tmp_path / "in.npz", **content)
    got = agrees(tmp_path / "in.npz", options, expected)
    if got is None or "x" not in arrays:
        return
    c, h, w = got.data.samples.shape
    x = arrays["x"].astype(got.data.samples.dtype)
    last = any("height x width" in n or "steps x" in n for n in got.facts["notes"]) or options.get("axes") == "hwc"
    if last or options.get("axes") == "tc":
        x = np.moveaxis(x.reshape(12, h, w, c), 3, 1)
    assert np.array_equal(got.data.samples.read(np.arange(12)), x.reshape(12, c, h, w))


# --- a file each -----------------------------------------------------------------------------


def files(root, shapes, dtype="float32"):
    for name in "ab":
        (root / name).mkdir(parents=True)
        for i, shape in enumerate(shapes):
            np.save(root / name / f"{i}.npy", (RNG.random(shape) * 200).astype(dtype))
    return root


FILES = {
    "pictures": ([(8, 8)] * 3, {}, {"shape": (1, 8, 8), "kind": "pictures"}),
    "pictures of other sizes": ([(16, 24), (32, 32), (20, 18)], {}, {"shape": (1, 16, 16), "notes": ["from 3 sizes"]}),
    "windows": ([(6, 50)] * 3, {}, {"shape": (6, 1, 50), "kind": "windows"}),
    "series of like length": ([(40, 6), (55, 6), (61, 6)], {}, {
        "samples": 6, "shape": (6, 1, 55), "notes": ["40 to 61 steps resampled to 55"]}),
    "long series": ([(400, 3), (2000, 3)], {}, {
        "shape": (3, 1, 128), "samples": 2 * (5 + 30), "notes": ["one every 64"]}),
    "series cut as asked": ([(40, 6), (100, 6)], {"window": "20", "hop": "100%"}, {"samples": 14, "shape": (6, 1, 20)}),
    "series by seconds": ([(400, 3), (2000, 3)], {"window": "1s", "sample_rate": "100", "hop": "0.5s"}, {
        "shape": (3, 1, 100), "samples": 2 * (7 + 39)}),
    "seconds without a rate": ([(400, 3), (2000, 3)], {"window": "1s"}, {"refused": "how many steps a second"}),
    "series resampled as asked": ([(100, 3), (2000, 3), (150, 3)], {"window": "whole"}, {
        "shape": (3, 1, 150), "samples": 6}),
    "a series shorter than a window": ([(40, 6), (100, 6)], {"window": "50"}, {
        "samples": 6, "left_out": {"series shorter than a window of 50 steps": 2}}),
    "a short series beside long ones": ([(100, 6), (110, 6), (12, 6)], {"window": "10"}, {"shape": (6, 1, 10)}),
    "rows": ([(9,)] * 3, {}, {"shape": (9, 1, 1), "kind": "features"}),
    "rows of other lengths": ([(9,), (9,), (8,)], {}, {"refused": r"2\.npy \(has shape \(8,\), others \(9,\)\)"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_folder_of_arrays_has_its_reading(tmp_path, agrees, name):
    shapes, options, expected = FILES[name]
    agrees(files(tmp_path / "in", shapes), options, expected)


def test_a_resampled_series_keeps_its_mean_and_its_ends():
    from edgecl.data.windows import resample

    slope = np.linspace(0, 1, 90, dtype=np.float32)[None]
    assert np.allclose(resample(slope, 180)[0, [0, -1]], [0, 1])
    half = resample(slope, 45)
    assert half.mean() == pytest.approx(slope.mean()) and (np.diff(half) > 0).all()


def test_damaged_and_unsafe_arrays_are_named_together(tmp_path, agrees):
    root = files(tmp_path / "in", [(8, 8)] * 4)
    (root / "a" / "0.npy").write_bytes(b"")
    content = (root / "a" / "1.npy").read_bytes()
    (root / "a" / "1.npy").write_bytes(content[:-9])
    np.save(root / "b" / "2.npy", np.array([{}]), allow_pickle=True)
    bad = np.load(root / "b" / "3.npy")
    bad[2, 2] = np.nan
    np.save(root / "b" / "3.npy", bad)
    text = r"a/0\.npy \(empty\), a/1\.npy \(cut short\), b/2\.npy \(holds Python .*, b/3\.npy \(holds NaN"
    agrees(root, {}, {"refused": text})
    agrees(root, {"skip_broken": True}, {"samples": 4, "warnings": ["lost 2 of 4"]})
