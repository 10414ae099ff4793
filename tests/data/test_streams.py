"""Registered streams: fixed splits, limits, validation. Real data where it can be fetched."""

import numpy as np
import pytest

from edgecl.data import fetch_stream_data, list_streams, load_stream
from edgecl.data.datasets import dataset_folder, last_part_of_each
from edgecl.data.streams import STREAMS
from edgecl.errors import BadInput, EdgeclError


def real(name, **options):
    """The stream, or a skip with the reason its data cannot be had here."""
    try:
        return load_stream(name, **options)
    except EdgeclError as error:
        pytest.skip(f"{name}: {error.cause}")


def indices(source):
    return source.indices


@pytest.fixture
def mnist():
    stream = real("split-mnist5k")
    yield stream
    stream.close()


def test_split_mnist5k_is_five_tasks_of_two_digits_400_to_train_and_100_to_test_each(mnist):
    assert [t.classes for t in mnist.tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert mnist.labels == tuple(range(10)) and mnist.input_shape == (1, 28, 28) and mnist.input_dtype == "uint8"
    for task in mnist.tasks:
        for source, each in ((task.train, 400), (task.test, 100)):
            assert dict(zip(*np.unique(source.labels, return_counts=True))) == dict.fromkeys(task.classes, each)


def test_training_and_test_samples_never_overlap(mnist):
    train = np.concatenate([indices(t.train) for t in mnist.tasks])
    test = np.concatenate([indices(t.test) for t in mnist.tasks])
    assert len(np.union1d(train, test)) == len(train) + len(test) == 5000


def test_the_first_samples_of_a_class_train_and_the_last_test(mnist):
    for task in mnist.tasks:
        for c in task.classes:
            assert indices(task.train)[task.train.labels == c].max() < indices(task.test)[task.test.labels == c].min()


def test_the_stated_mean_and_std_are_those_of_the_training_part(mnist):
    x = np.concatenate([b.copy() for t in mnist.tasks for b, _ in t.train.batches(500)]).astype(float)
    assert mnist.mean[0] == pytest.approx(x.mean(), rel=1e-5)
    assert mnist.std[0] == pytest.approx(x.std(), rel=1e-5)


def test_the_pixels_are_digits_and_not_noise(mnist):
    """A nearest class mean learned on the training part recognises most of the test part."""

    def part(name):
        pairs = [(b.copy(), y) for t in mnist.tasks for b, y in getattr(t, name).batches(200)]
        x, y = (np.concatenate(a) for a in zip(*pairs))
        return x.reshape(len(x), -1).astype(float), y

    x, y = part("train")
    means = np.stack([x[y == c].mean(0) for c in range(10)])
    x, y = part("test")
    nearest = ((x[:, None] - means) ** 2).sum(2).argmin(1)
    assert 0.75 < (nearest == y).mean() < 0.95


def test_limit_train_takes_the_first_samples_of_each_class():
    full, few = real("split-mnist5k"), real("split-mnist5k", limit_train=205)
    for a, b in zip(full.tasks, few.tasks):
        assert len(b.test) == len(a.test)
        for c in a.classes:
            assert np.array_equal(indices(b.train)[b.train.labels == c], indices(a.train)[a.train.labels == c][:20])


def test_limit_tasks_cuts_the_stream_and_keeps_the_head(mnist):
    few = real("split-mnist5k", limit_train=400, limit_tasks=2)
    assert [t.name for t in few.tasks] == [t.name for t in mnist.tasks[:2]]
    assert [len(t.train) for t in few.tasks] == [200, 200]
    assert few.class_count == mnist.class_count and few.identity == mnist.identity


def test_validation_holds_out_training_samples_and_hides_the_test_set(mnist):
    tuned = real("split-mnist5k", validation=0.1)
    for a, b in zip(mnist.tasks, tuned.tasks):
        assert len(b.train) == 720 and len(b.test) == 80
        assert set(indices(b.train)) | set(indices(b.test)) == set(indices(a.train))
        assert not set(indices(b.test)) & set(indices(a.test))


def test_identity_tells_streams_apart_and_ignores_limits(mnist):
    assert mnist.identity == real("split-mnist5k", limit_train=100).identity
    assert mnist.identity != real("split-digits").identity


def test_split_digits_keeps_80_of_100_in_file_order():
    stream = real("split-digits")
    assert stream.input_shape == (1, 8, 8) and stream.class_count == 10
    for task in stream.tasks:
        for c in task.classes:
            train, test = (
                indices(task.train)[task.train.labels == c],
                indices(task.test)[task.test.labels == c],
            )
            assert train.max() < test.min()
            assert len(test) == round(0.2 * (len(train) + len(test)))


def test_the_listing_agrees_with_the_streams_that_are_here():
    infos = {i.name: i for i in list_streams()}
    assert set(infos) == set(STREAMS)
    for name in ("split-mnist5k", "split-digits"):
        stream, info = real(name), infos[name]
        assert (info.tasks, info.train_size, info.test_size, info.input_shape) == (
            len(stream.tasks), stream.train_size, stream.test_size, stream.input_shape,
        )  # fmt: skip
        assert info.licence and info.download_bytes > 0


@pytest.mark.parametrize("name", ["split-minst5k", "split-fashon"])
def test_an_unknown_stream_names_the_closest(name):
    with pytest.raises(BadInput) as error:
        load_stream(name)
    assert "Did you mean 'split-" in error.value.remedy


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train": 0},
        {"limit_train": 9},
        {"validation": 0.0},
        {"validation": 1.0},
        {"validation": float("nan")},
    ],
)
def test_unusable_limits_and_fractions_are_refused(options):
    real("split-mnist5k").close()
    with pytest.raises(BadInput):
        load_stream("split-mnist5k", **options)


def test_a_missing_path_says_so():
    with pytest.raises(BadInput, match="no file or folder"):
        load_stream("/no/such/data.npz")


def test_without_fetching_a_missing_data_set_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match="not in the cache") as error:
        load_stream("split-mnist5k", fetch=False)
    assert "edgecl data get" in error.value.remedy


def test_fetching_again_does_nothing_when_the_data_is_here():
    real("split-mnist5k").close()
    before = (dataset_folder("mnist5k") / "meta.json").stat().st_mtime_ns
    assert fetch_stream_data("split-mnist5k") == dataset_folder("mnist5k")
    assert (dataset_folder("mnist5k") / "meta.json").stat().st_mtime_ns == before


def test_the_last_part_of_each_group_leaves_something_on_both_sides():
    groups = np.array([0, 1, 0, 1, 1, 0, 2, 2])
    chosen = last_part_of_each(groups, 0.2)
    assert chosen.tolist() == [False, False, False, False, True, True, False, True]
    assert not last_part_of_each(np.array([3]), 0.5).any()
