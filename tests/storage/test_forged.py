"""Files from elsewhere cannot hurt: a slice of the campaign of bench/campaigns.py."""

import pytest
from forged_campaign import MOST_GROWTH, forged


def test_no_forged_number_or_byte_kills_or_bloats_a_process(tmp_path):
    row = forged(tmp_path, 300, 1)
    assert row["points"] > 160 and not row["failures"] and row["growth_bytes"] <= MOST_GROWTH


@pytest.mark.campaign
def test_every_forged_number(tmp_path):
    row = forged(tmp_path, 1, 1)
    assert row["numbers"] > 1000 and not row["failures"]
