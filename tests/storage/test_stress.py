"""Two writers, a reader and a keeper on one store at once."""

import pytest
from stress_campaign import stress


def test_four_actors_at_once_for_a_moment(tmp_path):
    row = stress(tmp_path, 2, 1)
    assert not row["failures"] and row["samples read"] > 0 and row["compacted"] > 0


@pytest.mark.campaign
def test_four_actors_at_once_for_a_minute(tmp_path):
    assert not stress(tmp_path, 60, 2)["failures"]
