"""Samples that a program holds become a stream: iterables, torch data sets, and what looks like Hugging Face's."""

import gc
from itertools import count

import numpy as np
import pytest

from edgecl.data import Cutting, load_stream
from edgecl.data.cache import cache_folder
from edgecl.data.objects import stream_of, write_dataset
from edgecl.errors import BadInput

RNG = np.random.default_rng(0)
X = RNG.integers(0, 255, (20, 3, 8, 8)).astype(np.uint8)
Y = np.arange(20) % 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))


def test_pairs_from_a_generator_become_a_stream():
    stream = stream_of((x, int(y)) for x, y in zip(X, Y))
    assert stream.labels == (0, 1, 2, 3) and stream.input_shape == (3, 8, 8) and stream.input_dtype == "uint8"
    task = stream.tasks[0]
    assert np.array_equal(task.train.read(np.arange(8)), X[np.isin(Y, (0, 1))][:8])


def test_what_the_stream_used_in_the_cache_goes_with_it():
    stream = stream_of(zip(X, Y))
    assert len(list((cache_folder() / "user").iterdir())) == 1
    stream.close()
    del stream
    gc.collect()
    assert list((cache_folder() / "user").iterdir()) == []


def test_a_written_folder_is_opened_as_it_stands(tmp_path):
    folder = write_dataset(zip(X, Y), tmp_path / "mine")
    assert load_stream(folder).train_size == 16
    assert not (cache_folder() / "user").exists()


def test_a_torch_data_set_is_read_by_index_with_its_class_names():
    torch = pytest.importorskip("torch")
    from torch.utils.data import Dataset, TensorDataset

    class Named(Dataset):
        classes = ("ant", "bee", "cat", "dog")

        def __len__(self):
            return 20

        def __getitem__(self, i):
            return torch.from_numpy(X[i]).float(), int(Y[i])

    assert stream_of(Named()).labels == ("ant", "bee", "cat", "dog")
    plain = stream_of(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))
    assert plain.labels == (0, 1, 2, 3) and plain.input_dtype == "uint8"


class Names:
    names = ("ant", "bee", "cat", "dog")


class Rows:
    """What a Hugging Face data set offers: rows as mappings, features with names of classes."""

    def __init__(self, first, last):
        self.first, self.last = first, last
        self.features = {"image": None, "label": Names}

    def __len__(self):
        return self.last - self.first

    def __getitem__(self, i):
        image = pytest.importorskip("PIL.Image")
        return {"image": image.fromarray(X[self.first + i].transpose(1, 2, 0)), "label": int(Y[self.first + i])}


def test_rows_with_pictures_and_splits_are_a_stream():
    stream = stream_of({"train": Rows(0, 12), "test": Rows(12, 20)})
    assert stream.labels == ("ant", "bee", "cat", "dog") and stream.input_shape == (3, 8, 8)
    assert (stream.train_size, stream.test_size) == (12, 8)
    assert np.array_equal(stream.tasks[0].train.read(np.array([0]))[0], X[0])


def test_rows_name_subjects_to_cut_by():
    rows = [{"x": x, "y": int(y), "subject": f"s{i % 5}"} for i, (x, y) in enumerate(zip(X, Y))]
    stream = stream_of(rows, cutting=Cutting(by="subject"))
    assert [t.name for t in stream.tasks] == ["subject s0", "subject s1", "subject s2", "subject s3"]


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "no samples"),
        (7, "no data set"),
        ([(X[0], 0), (X[1, :, :4], 1)], "sample 1 is uint8"),
        ([(X[0], 0), (X[1].astype(float), 1)], "sample 1 is float64"),
        ([(X[0], 0.5)], "label of sample 0 is a float"),
        ([X[0], X[1]], "no .x, label."),
        ([("text", 0)], "sample 0 is <U"),
        ([{"picture": X[0], "y": 0}], "has picture, y"),
        ({"all": [(X[0], 0)]}, "'train' and 'test'"),
        ([(X[0], 0), (X[1], 0)], "label"),
        ([{"x": X[0], "y": 0, "subject": 1}, {"x": X[1], "y": 1}], "others do not"),
        ([(np.full((3, 8, 8), np.nan), 0), (X[1] * 1.0, 1)], "NaN"),
    ],
)
def test_other_things_are_refused_and_nothing_is_left(tmp_path, samples, reason):
    with pytest.raises(BadInput, match=reason) as error:
        write_dataset(samples, tmp_path / "mine")
    assert error.value.remedy and list(tmp_path.glob("*mine*")) == []


def test_an_endless_iterable_is_bounded(tmp_path, monkeypatch):
    endless = ((X[i % 20], int(Y[i % 20])) for i in count())
    assert stream_of(endless, limit=40).train_size == 32
    monkeypatch.setattr("edgecl.data.objects.MOST", 100)
    with pytest.raises(BadInput, match="more than 100 samples"):
        write_dataset(((X[i % 20], int(Y[i % 20])) for i in count()), tmp_path / "mine")
