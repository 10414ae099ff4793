"""Class folders as people and their systems leave them."""

import unicodedata

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
from PIL import Image

RNG = np.random.default_rng(0)


def pictures(folder, n=3, ending="png", start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        Image.fromarray(RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(folder / f"{i}.{ending}")


def plain(root):
    for name in ("a", "b"):
        pictures(root / name)


def numbered(root):
    for name in ("class 10", "class 2", "class 1"):
        pictures(root / name)


def two_spellings(root):
    pictures(root / unicodedata.normalize("NFC", "café"), 2)
    pictures(root / unicodedata.normalize("NFD", "café"), 2, start=2)
    pictures(root / "tea", 2)
    pictures(root / "tea ", 2, start=2)


def capitals(root):
    for name in ("Cat", "cat", "dog"):
        pictures(root / name)


def system_folders(root):
    plain(root)
    for name in (".thumbnails", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"):
        pictures(root / name, 1)


def system_folders_within(root):
    plain(root)
    pictures(root / "a" / "@eaDir" / "0.png", 1)


def system_files(root):
    plain(root)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "0.png.part"):
        (root / "a" / name).write_bytes(b"x")


def notes_beside(root):
    plain(root)
    (root / "a" / "about.txt").write_text("taken in May")
    (root / "b" / "boxes.xml").write_text("<x/>")
    (root / "a" / "meta.csv").write_text("file,place\n0.png,here\n")


def notes_folder(root):
    plain(root)
    (root / "labels").mkdir()
    (root / "labels" / "0.txt").write_text("0 0.5 0.5 1 1")


def empty_folder(root):
    plain(root)
    (root / "c").mkdir()


def splits(train, test):
    def make(root):
        for part, n in ((train, 3), (test, 2)):
            for name in ("a", "b"):
                pictures(root / part / name, n)

    return make


def three_parts(root):
    splits("train", "test")(root)
    pictures(root / "val" / "a", 2)
    pictures(root / "val" / "b", 2)


def class_then_split(root):
    for name in ("a", "b"):
        pictures(root / name / "train", 3)
        pictures(root / name / "test", 2)


def classes_named_like_splits(root):
    for name in ("train", "test", "bus"):
        pictures(root / name)


def lone_train(root):
    for name in ("a", "b", "c"):
        pictures(root / "train" / name)


def wrapped(root):
    for name in ("a", "b"):
        pictures(root / "dataset" / name)


def nested(*groups):
    def make(root):
        for name in ("a", "b"):
            for group in groups:
                pictures(root / name / group, 2)

    return make


def by_subject(root):
    for subject in ("Subject 1", "Subject 2"):
        for name in ("walk", "sit"):
            pictures(root / subject / name, 2)


def domains(root):
    for domain in ("Art", "Photo", "Sketch"):
        for name in ("cat", "dog"):
            pictures(root / domain / name, 2)


def odd_endings(root):
    pictures(root / "a", 2, "png")
    pictures(root / "b", 2, "png")
    (root / "a" / "0.png").rename(root / "a" / "0.PNG")
    (root / "a" / "1.png").rename(root / "a" / "1")  # none at all
    (root / "b" / "0.png").rename(root / "b" / "0.jpg")  # a PNG that says JPEG


def an_html_error(root):
    plain(root)
    (root / "a" / "9.jpg").write_text("<html>403 Forbidden</html>")


def only_pictures(root):
    pictures(root)


def one_class(root):
    pictures(root / "a")


def only_movies(root):
    plain(root)
    (root / "c").mkdir()
    (root / "c" / "0.mp4").write_bytes(b"x")


HABITS = {
    "plain": (plain, {}, {"samples": 6, "classes": 2, "left_out": {}}),
    "numbers in names": (numbered, {}, {"labels": ("class 1", "class 2", "class 10")}),
    "two spellings": (two_spellings, {}, {"labels": ("café", "tea"), "samples": 8}),
    "capital letters": (capitals, {}, {"classes": 3, "warnings": ["differ by capital letters"]}),
    "system folders": (system_folders, {}, {"classes": 2, "samples": 6, "left_out": {"in a system folder": 6}}),
    "system folders within": (system_folders_within, {}, {"samples": 6, "left_out": {"in a system folder": 1}}),
    "system files": (system_files, {}, {"samples": 6, "left_out": {"a system's file": 5}}),
    "notes beside": (notes_beside, {}, {"samples": 6, "left_out": {
        "no sample (.txt)": 1, "no sample (.xml)": 1, "no sample (.csv)": 1}}),
    "a folder of notes": (notes_folder, {}, {"classes": 2, "warnings": ["'labels' holds no samples"]}),
    "an empty folder": (empty_folder, {}, {"classes": 2, "warnings": ["'c' holds no samples"]}),
    "train, test": (splits("train", "test"), {}, {"samples": 10, "split": "own test part", "tests": 4}),
    "training, testing": (splits("Training", "Testing"), {}, {"samples": 10, "tests": 4}),
    "train, val": (splits("train", "val"), {}, {"samples": 10, "tests": 4}),
    "train, validation": (splits("train", "validation"), {}, {"samples": 10, "tests": 4}),
    "train, valid": (splits("TRAIN", "valid"), {}, {"samples": 10, "tests": 4}),
    "train, dev": (splits("train", "dev"), {}, {"samples": 10, "tests": 4}),
    "train, val, test": (three_parts, {}, {"samples": 10, "tests": 4, "left_out": {"of the validation part": 4}}),
    "splits within classes": (class_then_split, {}, {"samples": 10, "tests": 4}),
    "a share asked for": (splits("train", "test"), {"test_split": "0.4"}, {"tests": 4, "split": "last 40 %"}),
    "classes named like splits": (classes_named_like_splits, {}, {"labels": ("bus", "test", "train")}),
    "train alone": (lone_train, {}, {"classes": 3, "notes": ["folder 'train' within"]}),
    "one folder around": (wrapped, {}, {"classes": 2, "notes": ["folder 'dataset' within"]}),
    "folders within classes": (nested("2024-05-01", "2024-05-02"), {}, {"samples": 8, "labels": ("a", "b")}),
    "either level": (nested("monday", "tuesday"), {}, {"refused": r"which are the classes.*domain/class"}),
    "the outer level": (nested("monday", "tuesday"), {"folders": "class/group"}, {"labels": ("a", "b")}),
    "subjects within classes": (nested("s01", "s02"), {}, {"labels": ("a", "b"), "subjects": ["s01", "s02"]}),
    "classes within subjects": (by_subject, {}, {"labels": ("sit", "walk"), "subjects": ["Subject 1", "Subject 2"],
                                                 "notes": ["2 subjects"]}),
    "domains": (domains, {"folders": "domain/class"}, {
        "samples": 12, "labels": ("cat", "dog"), "notes": ["3 domains: Art, Photo, Sketch"]}),
    "odd endings": (odd_endings, {}, {"samples": 4}),
    "an error page": (an_html_error, {}, {"refused": r"a/9\.jpg \(damaged, or no picture\)"}),
    "an error page, skipped": (an_html_error, {"skip_broken": True}, {
        "samples": 6, "left_out": {"damaged, or no picture": 1}, "warnings": ["'a' lost 1 of 4"]}),
    "no class folders": (only_pictures, {}, {"refused": "no class folders"}),
    "one class": (one_class, {}, {"refused": r"label \['a'\]"}),
    "a class of films": (only_movies, {}, {"refused": r"no reader for \.mp4.*Class 'c' would lose all"}),
}  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_has_its_reading(tmp_path, agrees, habit):
    make, options, expected = HABITS[habit]
    make(tmp_path / "in")
    got = agrees(tmp_path / "in", options, expected)
    if "labels" in expected:
        assert got.data.labels == expected["labels"]
    if "subjects" in expected:
        assert got.data.names("subjects") == expected["subjects"]
    if "tests" in expected:
        assert got.data.test.sum() == expected["tests"]


def test_domains_are_kept_with_their_samples(tmp_path, read):
    domains(tmp_path / "in")
    data = read(tmp_path / "in", folders="domain/class").data
    assert data.names("domains") == ["Art", "Photo", "Sketch"] and np.bincount(data.domains).tolist() == [4, 4, 4]


def test_a_folder_without_pillow_says_what_to_install(tmp_path, read, monkeypatch):
    import importlib

    from edgecl.errors import MissingExtra

    plain(tmp_path / "in")
    real = importlib.import_module

    def missing(name, *rest):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"edgecl\[codecs\]"):
        read(tmp_path / "in")


DECODERS = [("pillow_heif", "heic", "heic"), ("soundfile", "flac", "sound")]


@pytest.mark.parametrize(("module", "ending", "extra"), DECODERS)
def test_a_missing_decoder_is_named_with_what_installs_it(tmp_path, read, monkeypatch, module, ending, extra):
    import importlib

    from edgecl.data.gate import Refused

    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / f"0.{ending}").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    real = importlib.import_module

    def missing(name, *rest):
        if name == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Refused, match=rf"no decoder for \.{ending}") as error:
        read(tmp_path / "in")
    assert f"pip install 'edgecl[{extra}]'" in error.value.remedy
