"""Glyph stream: classes per script, no twins, an unseen face tests. Needs the fonts or the set; else it is skipped."""

import numpy as np
import pytest

from edgecl.data import load_stream
from edgecl.data.glyphs import SCRIPTS, SIDE, Face, letters
from edgecl.errors import BadInput, EdgeclError


@pytest.fixture(scope="module")
def stream():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGECL_CACHE", raising=False)
        try:
            found = load_stream("noto-glyphs", fetch=False)
        except EdgeclError as error:
            pytest.skip(error.cause)
    yield found
    found.close()


@pytest.fixture(scope="module")
def face():
    """A face that travels with matplotlib."""
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    return Face(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")


def test_letters_of_a_script_are_its_letters_and_digits_without_compatibility_forms():
    assert "".join(letters("Greek")).startswith("ͰͱͲͳͶͷͻͼͽ")
    latin = list(letters("Latin"))
    assert latin[:2] == ["A", "B"] and "a" in latin and "Ａ" not in latin and "é" not in latin
    assert latin == sorted(latin)


def test_a_missing_letter_and_an_empty_one_are_told_from_a_drawn_one(face):
    assert face.has("A") and not face.has(" ") and not face.has("ꬁ")


def test_a_letter_is_whole_and_grey_on_black(face):
    for letter in "AgÅ|_":
        picture = face.draw(letter)
        assert picture.shape == (1, SIDE, SIDE) and picture.dtype == np.uint8
        assert picture.max() > 128 and picture.mean() < 90
        assert not picture[0, :, [0, -1]].any() or letter == "_"


def test_renderings_follow_the_generator_and_differ_from_the_plain_one(face):
    a, b = (face.draw("R", np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a, b) and not np.array_equal(a, face.draw("R"))


def test_a_file_that_is_no_font_is_refused(tmp_path):
    pytest.importorskip("PIL")
    (tmp_path / "NotoSans-Regular.ttf").write_bytes(b"no font")
    with pytest.raises(BadInput, match="NotoSans-Regular"):
        Face(tmp_path / "NotoSans-Regular.ttf")


def test_a_script_is_a_task_and_there_are_more_than_a_thousand_classes(stream):
    assert [t.name for t in stream.tasks] == list(SCRIPTS)
    assert stream.class_count >= 1000 and len(stream.tasks) >= 20
    assert [c for t in stream.tasks for c in t.classes] == list(range(stream.class_count))
    assert all(str(stream.labels[c]).startswith(t.name) for t in stream.tasks for c in t.classes)


def test_every_class_has_samples_of_two_or_three_faces_to_train_and_of_one_to_test(stream):
    for task in stream.tasks:
        faces = len(SCRIPTS[task.name]) - 1
        for source, each in ((task.train, 5 * faces), (task.test, 3)):
            assert dict(zip(*np.unique(source.labels, return_counts=True))) == dict.fromkeys(task.classes, each)


def test_no_two_classes_share_a_plain_picture(stream):
    seen = {}
    for task in stream.tasks:
        plain = np.arange(0, len(task.train), 5)  # the first rendering of a class in a face has no jitter
        for picture, label in zip(task.train.read(plain), task.train.labels[plain].tolist()):
            assert seen.setdefault(picture.tobytes(), label) == label
