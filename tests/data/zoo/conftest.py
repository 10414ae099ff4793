"""The gate's reading of one input, made in the test's own process."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from edgecl.config import Config
from edgecl.data.cache import open_dataset
from edgecl.data.user import reader_of
from edgecl.errors import BadInput


@pytest.fixture
def read(tmp_path):
    """read(path, **options): the converted data and what the gate said of it."""

    def convert(path, **options):
        reading = Config.make({"stream": str(path), **options}).reading
        target = tmp_path / "converted"
        shutil.rmtree(target, ignore_errors=True)
        job, _ = reader_of(path)
        job(str(path), str(target), reading.to_json())
        data = open_dataset(target)
        return SimpleNamespace(data=data, facts=data.about["gate"], split=data.about["split"])

    return convert


@pytest.fixture
def agrees(read):
    """agrees(path, options, expected): the reading is as expected, or is refused with the text in 'refused'."""

    def check(path, options, expected):
        if "refused" in expected:
            with pytest.raises(BadInput, match=expected["refused"]) as error:
                read(path, **options)
            assert error.value.remedy
            return None
        got = read(path, **options)
        for name in ("kind", "samples", "classes", "left_out"):
            assert got.facts[name] == expected.get(name, got.facts[name]), name
        if "shape" in expected:
            assert tuple(got.facts["shape"]) == expected["shape"]
        if "dtype" in expected:
            assert got.data.samples.dtype == expected["dtype"]
        for text in expected.get("notes", ()):
            assert any(text in note for note in got.facts["notes"]), (text, got.facts["notes"])
        for text in expected.get("warnings", ()):
            assert any(text in warning for warning in got.facts["warnings"]), (text, got.facts["warnings"])
        if "warnings" not in expected:
            assert got.facts["warnings"] == []
        if "split" in expected:
            assert expected["split"] in got.split
        return got

    return check
