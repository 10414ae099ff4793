"""A user's own npz or folder becomes a stream, or says exactly what is wrong with it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecl.data import load_stream
from edgecl.data.cache import open_dataset
from edgecl.data.readers.folder import convert_folder
from edgecl.data.user import convert_npz
from edgecl.errors import BadInput, EdgeclError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))


def arrays(n=20, shape=(3, 4, 4), classes=4, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (n, *shape)).astype(dtype), np.arange(n) % classes


def save(path, **content):
    np.savez(path, **content)
    return path


def test_an_npz_becomes_tasks_of_two_classes_with_the_last_fifth_to_test(tmp_path):
    x, y = arrays()
    stream = load_stream(save(tmp_path / "mine.npz", x=x, y=y * 10))
    assert stream.labels == (0, 10, 20, 30) and [t.classes for t in stream.tasks] == [(0, 1), (2, 3)]
    task = stream.tasks[1]
    assert np.array_equal(task.train.read(np.arange(len(task.train))), x[[2, 3, 6, 7, 10, 11, 14, 15]])
    assert np.array_equal(task.test.read(np.arange(2)), x[[18, 19]])


def test_a_changed_file_is_read_again(tmp_path):
    x, y = arrays()
    path = save(tmp_path / "mine.npz", x=x, y=y)
    load_stream(path)
    save(path, x=x + 1, y=y)
    got = load_stream(path).tasks[0].train
    assert np.array_equal(got.read(np.array([0]))[0], x[0] + 1)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.sampled_from([(3, 4, 5), (1, 6, 6), (7, 5), (9,)]),
    dtype=st.sampled_from(["uint8", "float32", "float64", "float16", ">f4"]),
    compressed=st.booleans(),
    words=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_accepted_array_survives_the_conversion(tmp_path, shape, dtype, compressed, words, seed):
    rng = np.random.default_rng(seed)
    x = (rng.random((11, *shape)) * 200).astype(dtype)
    y = np.array(["b", "a", "ü"])[np.arange(11) % 3] if words else np.arange(11) % 3 - 1
    path = tmp_path / f"{seed}.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=x, y=y)
    data = open_dataset(convert_npz(path, tmp_path / "out"))
    assert data.labels == (("a", "b", "ü") if words else (-1, 0, 1))
    assert data.samples.dtype == ("uint8" if dtype == "uint8" else "float32")
    got = data.samples.read(np.arange(11))
    assert np.array_equal(got.reshape(x.shape), x.astype(got.dtype))
    assert [data.labels[u] for u in data.samples.labels] == y.tolist()


def test_named_tasks_subjects_and_a_test_part_are_kept(tmp_path):
    x, y = arrays(12, classes=2)
    path = save(tmp_path / "t.npz", x=x, y=y, task=np.arange(12) // 6 + 5, subject=np.arange(12),
                test=np.arange(12) % 6 >= 4)  # fmt: skip
    stream = load_stream(path)
    assert [(t.name, t.classes) for t in stream.tasks] == [("task 5", (0, 1)), ("task 6", (0, 1))]
    assert stream.tasks[1].train.subjects.tolist() == [6, 7, 8, 9]
    assert stream.tasks[1].test.subjects.tolist() == [10, 11]


X, Y = arrays()
WRONG = {
    "no y": ({"x": X}, "no array 'y'"),
    "lengths": ({"x": X, "y": Y[:-1]}, "20 samples"),
    "objects": ({"x": X, "y": np.array([{}] * 20)}, "objects"),
    "complex x": ({"x": X.astype(complex), "y": Y}, "complex128"),
    "one axis": ({"x": X[:, 0, 0, 0].copy(), "y": Y}, "shape"),
    "either axes": ({"x": X.reshape(20, 3, 16, 1)[:, :, :9].reshape(20, 3, 3, 3), "y": Y}, "channels first, or last"),
    "float labels": ({"x": X, "y": Y.astype(float)}, "'y' is float64"),
    "one class": ({"x": X, "y": Y * 0}, "label"),
    "subject short": ({"x": X, "y": Y, "subject": Y[:-1]}, "subject"),
    "test not bool": ({"x": X, "y": Y, "test": Y}, "'test' is int64"),
    "one-hot": ({"x": X, "y": np.eye(4, dtype=int)[Y]}, r"one column a class.*argmax"),
    "a label each": ({"x": X, "y": np.arange(20)}, "label of its own"),
    "all alike": ({"x": X * 0, "y": Y}, "the same"),
    "a mask": ({"x": X, "y": Y, "mask": Y > 0}, "masks"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "'y'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_unusable_arrays_are_refused_with_the_reason(tmp_path, name):
    content, reason = WRONG[name]
    with pytest.raises(BadInput, match=reason) as error:
        convert_npz(save(tmp_path / "bad.npz", **content), tmp_path / "out")
    assert error.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused_by_index(tmp_path, value):
    x, y = arrays(dtype=np.float32)
    x[13, 1, 2, 3] = value
    with pytest.raises(BadInput, match="Sample 13 "):
        convert_npz(save(tmp_path / "bad.npz", x=x, y=y), tmp_path / "out")


def test_a_float64_beyond_float32_is_refused_by_index(tmp_path):
    x, y = arrays(dtype=np.float64)
    x[7] = 1e300
    with pytest.raises(BadInput, match="Sample 7 "):
        convert_npz(save(tmp_path / "bad.npz", x=x, y=y), tmp_path / "out")


def test_a_damaged_npz_is_refused(tmp_path):
    x, y = arrays()
    path = save(tmp_path / "bad.npz", x=x, y=y)
    data = bytearray(path.read_bytes())
    for place in (70, 400, 900):  # header of x, its data, near its end
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(BadInput):
            convert_npz(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    path.write_bytes(b"not a zip")
    with pytest.raises(BadInput, match=r"not an \.npz"):
        convert_npz(path, tmp_path / "out")


def test_errors_cross_the_child_process_with_cause_and_remedy(tmp_path):
    x, y = arrays(dtype=np.float32)
    x[3] = np.nan
    with pytest.raises(EdgeclError, match="Sample 3 ") as error:
        load_stream(save(tmp_path / "bad.npz", x=x, y=y))
    assert error.value.remedy == "Remove or repair these samples."


# --- folders --------------------------------------------------------------------------------


def npy_folder(path, shape=(2, 5), classes=("cat", "dog"), n=5):
    x = np.arange(len(classes) * n * np.prod(shape)).astype(np.uint8).reshape(len(classes), n, *shape)
    for c, name in enumerate(classes):
        (path / name).mkdir(parents=True)
        for i in range(n):
            np.save(path / name / f"{i}.npy", x[c, i])
    return x


def test_a_folder_of_arrays_needs_no_image_library(tmp_path):
    x = npy_folder(tmp_path / "pets")
    stream = load_stream(tmp_path / "pets")
    assert stream.labels == ("cat", "dog") and stream.input_shape == (1, 2, 5)
    assert np.array_equal(stream.tasks[0].train.read(np.arange(4))[:, 0], x[0, :4])
    assert np.array_equal(stream.tasks[0].test.read(np.arange(2))[:, 0], x[:, 4])


def test_train_and_test_folders_are_kept_apart(tmp_path):
    npy_folder(tmp_path / "pets" / "train", n=3)
    npy_folder(tmp_path / "pets" / "test", n=2)
    stream = load_stream(tmp_path / "pets")
    assert (stream.train_size, stream.test_size) == (6, 4)


def test_images_become_uint8_pixels_channels_first(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 255, (6, 7, 3)).astype(np.uint8)
            image_module.fromarray(pixels).save(tmp_path / "in" / name / f"{i}.png")
    data = open_dataset(convert_folder(tmp_path / "in", tmp_path / "out"))
    assert data.samples.shape == (3, 6, 7)
    assert np.array_equal(data.samples.read(np.array([3]))[0], pixels.transpose(2, 0, 1))


def test_a_broken_image_is_named(tmp_path):
    pytest.importorskip("PIL.Image")
    npy_folder(tmp_path / "in")
    (tmp_path / "in" / "cat" / "0.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(BadInput, match=r"cat/0\.png"):
        convert_folder(tmp_path / "in", tmp_path / "out")


def test_samples_of_different_sizes_are_refused_where_the_size_is_to_be_kept(tmp_path):
    npy_folder(tmp_path / "in")
    np.save(tmp_path / "in" / "dog" / "3.npy", np.zeros((3, 5), np.uint8))
    with pytest.raises(BadInput, match=r"2 sizes: 2x5 \(9\), 3x5 \(1\)"):
        convert_folder(tmp_path / "in", tmp_path / "out", {"size": "keep"})


def test_an_array_of_objects_is_never_loaded(tmp_path):
    npy_folder(tmp_path / "in")
    np.save(tmp_path / "in" / "dog" / "3.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(BadInput, match=r"dog/3\.npy"):
        convert_folder(tmp_path / "in", tmp_path / "out")


def test_an_empty_folder_and_another_file_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no class folders"):
        load_stream(tmp_path)
    (tmp_path / "data.txt").write_text("hello")
    with pytest.raises(BadInput, match="neither"):
        load_stream(tmp_path / "data.txt")
