"""A stream is cut by class, subject, time, file or domain; its test part by share, subject or file."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecl.config import Config
from edgecl.data import Cutting, Reading, configured_stream, load_stream
from edgecl.data.split import choose_test
from edgecl.errors import BadInput

N = 120
RNG = np.random.default_rng(0)
WORDS = np.array(["ant", "bee", "cat", "dog", "eel"])[RNG.permutation(np.arange(N) % 5)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def path(tmp_path):
    """120 rows of five classes by six people on four days from two devices."""
    arrays = {
        "x": np.arange(N * 4, dtype=np.float32).reshape(N, 4), "y": WORDS,
        "subject": np.array(["p10", "p2", "p1", "p3", "p4", "p5"])[np.arange(N) % 6],
        "time": RNG.permutation(N) * 60.0, "files": np.arange(N) // 4,
        "domain": np.array(["cam", "phone"])[np.arange(N) % 2],
    }  # fmt: skip
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def rows(stream, part="train"):
    """Sample numbers of every task."""
    return [getattr(t, part).read(np.arange(len(getattr(t, part))))[:, 0, 0, 0].astype(int) // 4 for t in stream.tasks]


def test_by_class_two_a_task_in_natural_order_tested_on_unseen_subjects(path):
    stream = load_stream(path)
    assert [t.name for t in stream.tasks] == ["ant/bee", "cat/dog/eel"]
    assert stream.about["cut"] == (
        "2 tasks of 2 to 3 classes, in natural order; tested on 1 unseen subject (p10)"
    )
    assert all((r % 6 == 0).all() for r in rows(stream, "test")) and all((r % 6 != 0).all() for r in rows(stream))


def test_classes_per_task(path):
    assert [len(t.classes) for t in load_stream(path, cutting=Cutting(classes_per_task=1)).tasks] == [1] * 5
    assert [len(t.classes) for t in load_stream(path, cutting=Cutting(classes_per_task=4)).tasks] == [5]


def test_orders_of_classes(path):
    given = load_stream(path, cutting=Cutting(classes_per_task=1, order="given"))
    seen = list(dict.fromkeys(WORDS.tolist()))
    assert [t.name for t in given.tasks] == seen

    def drawn_by(seed):
        return [t.name for t in load_stream(path, cutting=Cutting(None, 1, None, "random", seed)).tasks]

    drawn = [drawn_by(seed) for seed in range(5)]
    assert drawn[3] == drawn_by(3) and len({tuple(d) for d in drawn}) > 1
    assert all(sorted(d) == sorted(seen) for d in drawn)


def test_by_subject_trains_on_one_after_another_and_tests_on_who_was_never_seen(path):
    stream = load_stream(path, cutting=Cutting(by="subject"))
    assert [t.name for t in stream.tasks] == [f"subject p{i}" for i in (1, 2, 3, 4, 5)]
    assert all(t.classes == (0, 1, 2, 3, 4) for t in stream.tasks)
    assert all((r % 6 == 0).all() and r.size == 20 for r in rows(stream, "test"))
    assert "one a subject" in stream.about["cut"] and "unseen subject (p10)" in stream.about["cut"]


def test_by_subject_with_a_share_tests_each_on_its_own(path):
    stream = load_stream(path, reading=Reading(test_split="0.25"), cutting=Cutting(by="subject"))
    assert len(stream.tasks) == 6
    for train, test in zip(rows(stream), rows(stream, "test")):
        assert len(set(train % 6) | set(test % 6)) == 1 and not set(train) & set(test)


@pytest.mark.parametrize(("asked", "unseen"), [("subject:p3,p5", {"p3", "p5"}), ("subject:0.34", {"p5", "p10"})])
def test_unseen_subjects_are_named_or_a_share(path, asked, unseen):
    stream = load_stream(path, reading=Reading(test_split=asked), cutting=Cutting(by="subject"))
    trained = {"p1", "p2", "p3", "p4", "p5", "p10"} - unseen
    assert {t.name for t in stream.tasks} == {f"subject {s}" for s in trained}


def test_by_time_parts_follow_one_another(path):
    times = np.load(path)["time"]
    stream = load_stream(path, reading=Reading(test_split="0.2"), cutting=Cutting(by="time", task_count=4))
    spans = [(times[r].min(), times[r].max()) for r in rows(stream)]
    assert len(spans) == 4 and all(a[1] < b[0] for a, b in pairwise(spans))
    for (later, _), test in zip(spans[1:], rows(stream, "test")):
        assert (times[test] < later).all()


def test_by_file_and_by_domain(path):
    reading = Reading(test_split="file:0.3")
    by_file = load_stream(path, reading=reading, cutting=Cutting(by="file"))
    assert all(len(set(r // 4)) == 1 for r in rows(by_file))
    tested = {r // 4 for rs in rows(by_file, "test") for r in rs}
    assert not tested & {int(t.name.split()[1]) for t in by_file.tasks}
    by_domain = load_stream(path, reading=Reading(test_split="0.2"), cutting=Cutting(by="domain"))
    assert [t.name for t in by_domain.tasks] == ["domain cam", "domain phone"]
    assert [set(r % 2) for r in rows(by_domain, "test")] == [{0}, {1}]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"by": "task"}, "names no tasks"),
        ({"by": "subject", "classes_per_task": 2}, "Drop one of the two"),
        ({"by": "class", "task_count": 3}, "Drop one of the two"),
        ({"by": "time", "order": "random"}, "one order"),
        ({"test_split": "subject:p9"}, "no subject 'p9'.*Known: p1, p2"),
        ({"test_split": "1.5"}, "share"),
        ({"by": "weather"}, "weather"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(path, options, reason):
    with pytest.raises(BadInput, match=reason) as error:
        configured_stream(Config.make({"stream": str(path), **options}))
    assert error.value.remedy


def test_a_registered_stream_keeps_its_split_but_may_be_cut_anew():
    with pytest.raises(BadInput, match="read in one way"):
        load_stream("split-digits", reading=Reading(test_split="0.5"), fetch=False)


def test_samples_converted_for_one_split_are_not_taken_for_another(path):
    """Mean and deviation are of the training part: another part is another conversion."""
    a, b = load_stream(path), load_stream(path, reading=Reading(test_split="subject:p1"))
    assert a.mean != b.mean and a.train_size == b.train_size


@given(
    units=st.lists(st.integers(0, 3), min_size=8, max_size=60),
    kinds=st.sampled_from([None, "0.3", "subject", "file"]),
    seed=st.integers(0, 5),
)
def test_no_subject_or_file_is_on_both_sides(units, kinds, seed):
    units = np.array(units)
    rng = np.random.default_rng(seed)
    subjects, files = rng.integers(0, 5, units.size), np.arange(units.size) // 3
    subjects[:2] = 0, 1
    test, said = choose_test(units, asked=kinds, subjects=subjects, files=files)
    groups = subjects if "subject" in said else files if "files" in said else np.arange(units.size)
    assert test.shape == units.shape and not set(groups[test]) & set(groups[~test])
    if "subject" in said:
        assert test.any() and not test.all()


def test_the_options_of_data_survive_a_record():
    options = {
        "size": "96", "background": "#FF0000", "skip_broken": True, "axes": "HWC", "columns": "label=a, time=b",
        "window": "2.56 s", "hop": "50%", "sample_rate": "50Hz", "test_split": "subject:a,b", "by": "time",
        "task_count": 3, "order": "natural", "folders": "domain/class",
    }  # fmt: skip
    config = Config.make(options)
    assert Config.make(config.to_json()) == config
    assert (config.window, config.sample_rate, config.columns) == ("2.56s", 50.0, "label=a,time=b")


def test_a_cache_written_before_there_was_a_gate_still_opens(tmp_path):
    import json

    from edgecl.data.cache import open_dataset

    (tmp_path / "samples.raw").write_bytes(bytes(range(16)))
    np.save(tmp_path / "units.npy", np.array([0, 1, 0, 1], np.int32))
    np.save(tmp_path / "test.npy", np.array([False, False, True, True]))
    meta = {"format": 1, "shape": [1, 2, 2], "dtype": "uint8", "labels": ["a", "b"], "mean": [1.0], "std": [1.0]}
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "source": "here"}))
    data = open_dataset(tmp_path)
    assert data.labels == ("a", "b") and data.files is None and data.names("subjects") is None
    assert load_stream(tmp_path).train_size == 2


@pytest.mark.parametrize("option", [{"size": "96"}, {"by": "subject"}, {"skip-broken": True}])
def test_a_learner_which_is_handed_its_samples_has_no_options_of_data(option):
    from edgecl import Learner

    with pytest.raises(BadInput, match="not of a learner"):
        Learner("mlp", input_shape=(1, 8, 8), **option)
