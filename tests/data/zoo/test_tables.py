"""Tables of any dialect: rows as samples, and steps of recordings cut into windows."""

import gzip

import numpy as np
import pytest

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(24, 3)), 3)
LABELS = ["ant", "bee", "cat"] * 8


def rows(head="a,b,c,label", sep=",", labels=LABELS, end="", x=X):
    lines = [sep.join([*map(str, row), str(label)]) + end for row, label in zip(x, labels)]
    return "\n".join(([head] if head else []) + lines) + "\n"


def lines(*columns, head):
    return "\n".join([head, *(",".join(map(str, row)) for row in zip(*columns))]) + "\n"


def recording(subjects=("s1", "s2", "s3", "s4"), steps=200, time=True, rate=50, gap_at=None):
    """Two activities a subject, each ``steps`` long, with a column of seconds."""
    out, t = [], 0.0
    for subject in subjects:
        for activity, hz in (("sit", 0.1), ("walk", 2.0)):
            for i in range(steps):
                out.append([f"{t:.4f}"] * time + [f"{np.sin(hz * i / 8):.4f}", f"{np.cos(hz * i / 8):.4f}"])
                out[-1] += [activity, subject]
                t += 1 / rate + (5 if gap_at == i else 0)
    head = ["time"] * time + ["ax", "ay", "activity", "subject"]
    return "\n".join([",".join(head), *(",".join(row) for row in out)]) + "\n"


LAST = ["taken as the label"]
ROWS = {"samples": 24, "classes": 3, "shape": (3, 1, 1), "kind": "features"}
DIALECTS = {
    "comma": (rows(), {}, ROWS),
    "semicolon": (rows(head="a;b;c;label", sep=";"), {}, ROWS),
    "tab": (rows(head="a\tb\tc\tlabel", sep="\t"), {}, ROWS),
    "bar": (rows(head="a|b|c|label", sep="|"), {}, ROWS),
    "spaces": (rows(head="a  b   c label", sep="   "), {}, ROWS),
    "decimal comma": (rows(head="a;b;c;label", sep=";").replace(".", ","), {}, ROWS),
    "quoted": (rows(head='"a","b","c","label"', labels=[f'"{n}"' for n in LABELS]), {}, ROWS),
    "byte order mark": ("\ufeff" + rows(), {}, ROWS),
    "utf-16": (rows().encode("utf-16"), {}, {**ROWS, "notes": ["utf-16"]}),
    "latin-1": (rows(labels=["käfer", "bee", "cat"] * 8).encode("latin-1"), {}, {**ROWS, "notes": ["latin-1"]}),
    "windows line ends": (rows().replace("\n", "\r\n"), {}, ROWS),
    "a comma at the end": (rows(head="a,b,c,label", end=","), {}, ROWS),
    "comments first": ("# sensor 7\n# calibrated\n" + rows(), {}, ROWS),
    "no names": (rows(head=""), {}, {**ROWS, "notes": ["numbered from 1", *LAST]}),
    "label by content": (rows(head="a,b,c,kind"), {}, {**ROWS, "notes": LAST}),
    "label named": (lines(["x", "y"] * 12, *X.T, head="kind,a,b,c"), {"columns": "label=kind"}, {"samples": 24}),
    "label unclear": (lines(LABELS, *X.T, head="kind,a,b,c"), {}, {"refused": r"--columns label=NAME"}),
    "a label that is a measure": (rows(labels=X[:, 0]), {}, {"refused": "holds measures"}),
    "columns chosen": (rows(), {"columns": "x=a+c"}, {**ROWS, "shape": (2, 1, 1)}),
    "no such column": (rows(), {"columns": "label=kind"}, {"refused": "no column 'kind'"}),
    "text beside": (lines(["here"] * 24, *X.T, LABELS, head="place,a,b,c,label"), {}, {
        **ROWS, "warnings": ["Columns of text are not used: place"]}),
    "counter beside": (lines(range(24), *X.T, LABELS, head=",a,b,c,label"), {}, {**ROWS, "notes": ["counters"]}),
    "bytes": (rows(x=(np.abs(X) * 9).astype(int)), {}, {**ROWS, "dtype": "uint8"}),
    "missing cells": (rows().replace(str(X[4, 1]), "", 1).replace(str(X[9, 2]), "NA", 1), {}, {
        "refused": r"2 of 24 .*row 5 of the data .*row 10 of the data"}),
    "missing cells, skipped": (rows().replace(str(X[4, 1]), "?", 1), {"skip_broken": True}, {
        "samples": 23, "left_out": {"a cell is missing or no finite number": 1}}),
    "a row cut short": (rows() + "1.0,2.0\n", {}, {"refused": r"row 26 \(2 cells of 4\)"}),
    "splits named": (lines(*X.T, LABELS, ["train"] * 15 + ["test"] * 9, head="a,b,c,label,split"), {}, {
        **ROWS, "split": "own test part"}),
    "splits by a flag": (lines(*X.T, LABELS, [0] * 15 + [1] * 9, head="a,b,c,label,is_test"), {}, {
        **ROWS, "split": "own test part"}),
    "three splits": (lines(*X.T, LABELS, ["train"] * 12 + ["val"] * 6 + ["test"] * 6, head="a,b,c,label,split"), {}, {
        "samples": 18, "left_out": {"of the validation part": 6}}),
    "subjects": (lines(*X.T, LABELS, ["p1", "p2", "p3", "p4"] * 6, head="a,b,c,label,subject"), {}, {
        **ROWS, "split": "tested on 1 unseen subject (p4)"}),
    "tasks": (lines(*X.T, LABELS, [1] * 12 + [2] * 12, head="a,b,c,label,task"), {}, ROWS),
    "two names alike": (rows(head="a,a,c,label"), {}, {"refused": "two columns 'a'"}),
    "nothing": ("", {}, {"refused": "empty"}),
    "names alone": ("a,b,label\n", {}, {"refused": "no rows"}),
    "no text": (bytes(range(256)) * 9, {}, {"refused": "no text"}),
    "one class": (rows(labels=["ant"] * 24), {}, {"refused": "label"}),
}  # fmt: skip
WINDOWS = {"kind": "windows", "shape": (2, 1, 128), "classes": 2, "split": "unseen subject (s4)"}
RECORDINGS = {
    "seconds": (recording(), {}, {**WINDOWS, "samples": 16, "notes": ["128 steps (2.56 s at 50 Hz), one every 64"]}),
    "a window asked for": (recording(), {"window": "1s", "hop": "100%"}, {"shape": (2, 1, 50), "samples": 32}),
    "steps without times": (recording(time=False), {}, {
        "kind": "features", "samples": 1600, "warnings": ["if they are steps of recordings, give --window"]}),
    "steps without times, cut": (recording(time=False), {"window": "100"}, {"shape": (2, 1, 100), "samples": 24}),
    "seconds asked, no times": (recording(time=False), {"window": "1s"}, {"refused": "--sample-rate"}),
    "rate said": (recording(time=False), {"window": "1s", "sample_rate": "20Hz"}, {"shape": (2, 1, 20)}),
    "no gap": (recording(), {"window": "120", "hop": "120"}, {"samples": 8}),
    "a gap": (recording(gap_at=99), {"window": "120", "hop": "120"}, {"refused": "shorter than a window of 120"}),
    "milliseconds": (recording(rate=0.05).replace("time", "time_ms"), {}, {
        **WINDOWS, "notes": ["128 steps (2.56 s at 50 Hz)"]}),
    "dates": (recording().replace("time", "when").replace("\n", "\n2024-05-01T10:00:", 1), {"columns": "time=when"}, {
        "kind": "features", "samples": 1600, "warnings": ["no times that can be read", "steps of recordings"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", [*DIALECTS, *RECORDINGS])
def test_every_table_has_its_reading(tmp_path, agrees, name):
    content, options, expected = {**DIALECTS, **RECORDINGS}[name]
    file = tmp_path / "in.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    got = agrees(file, options, expected)
    if got is not None and expected == ROWS and name != "bytes" and name != "subjects" and name != "tasks":
        x = got.data.samples.read(np.arange(24))[:, :, 0, 0]
        assert np.allclose(x, X, atol=1e-6)
        assert [got.data.labels[u] for u in got.data.samples.labels] == LABELS


def test_a_compressed_table_is_the_same_table(tmp_path, agrees):
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(rows().encode()))
    agrees(tmp_path / "in.csv.gz", {}, ROWS)


def test_a_parquet_table_is_the_same_table(tmp_path, agrees):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"a": X[:, 0], "b": X[:, 1].astype("float32"), "c": (X[:, 2] * 1000).astype(int), "label": LABELS}
    table = arrow.table(columns)
    parquet.write_table(table, tmp_path / "in.parquet")
    got = agrees(tmp_path / "in.parquet", {}, ROWS)
    assert np.allclose(got.data.samples.read(np.arange(24))[:, :2, 0, 0], X[:, :2])
    parquet.write_table(
        table.set_column(3, "label", table["label"].dictionary_encode()), tmp_path / "words.parquet"
    )
    agrees(tmp_path / "words.parquet", {}, ROWS)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "in.parquet").read_bytes()[:-20])
    agrees(tmp_path / "cut.parquet", {}, {"refused": "damaged"})


def test_interleaved_subjects_are_put_in_order_of_time_before_windows_are_cut(tmp_path, read):
    t = np.arange(300) / 50
    both = [[f"{at:.2f}", f"{s * 1000 + i}", "ab"[i >= 150], f"p{s}"] for i, at in enumerate(t) for s in (1, 2, 3)]
    (tmp_path / "in.csv").write_text("t,v,label,user\n" + "\n".join(",".join(row) for row in both) + "\n")
    got = read(tmp_path / "in.csv", window="50", hop="50")
    x = got.data.samples.read(np.arange(18))[:, 0, 0]
    assert (np.diff(x, axis=1) == 1).all() and got.facts["samples"] == 18
    assert np.allclose(got.data.times[:3], [0, 1, 2])


def test_class_folders_of_recordings_are_cut_file_by_file(tmp_path, agrees):
    for name in ("idle", "run"):
        for subject in (1, 2, 3):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            text = recording(["x"], 100).replace("activity", "note").replace("subject", "who")
            (tmp_path / "in" / name / f"user_{subject}.csv").write_text(text)
    expected = {"samples": 24, "classes": 2, "split": "unseen subject (user3)", "warnings": ["not used: note, who"]}
    agrees(tmp_path / "in", {"window": "50", "hop": "50"}, expected)


def test_a_flat_folder_of_recordings_takes_its_labels_from_a_column(tmp_path, agrees):
    (tmp_path / "in").mkdir()
    for subject in range(4):
        text = recording([f"s{subject}"], 200)
        (tmp_path / "in" / f"rec{subject}.csv").write_text(text)
    agrees(tmp_path / "in", {}, {"samples": 16, "classes": 2, "split": "unseen subject (s3)"})


def test_tables_of_other_columns_are_named(tmp_path, agrees):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "in" / name / f"{i}.csv").write_text(rows(head="x1,x2,x3,label"))
    (tmp_path / "in" / "b" / "1.csv").write_text(rows(head="x1,x2,other,label"))
    agrees(tmp_path / "in", {}, {"refused": r"b/1\.csv \(other columns than 0\.csv: other, x3\)"})


def test_a_column_that_turns_to_text_late_is_text_from_its_first_row(tmp_path, read, monkeypatch):
    monkeypatch.setattr("edgecl.data.readers.csvfile.CHUNK", 4)
    codes = [str(i % 3) for i in range(20)] + ["x3"] * 4
    (tmp_path / "in.csv").write_text(lines(*X.T, codes, head="a,b,c,label"))
    got = read(tmp_path / "in.csv")
    assert got.data.labels == ("0", "1", "2", "x3")
    assert np.allclose(got.data.samples.read(np.arange(24))[:, :, 0, 0], X)
