"""The page that compares runs, in a real browser."""

import pytest
from page_streams import stream_of

from edgecl.report.compare_page import compare_page
from edgecl.report.groups import grouped
from edgecl.run import run

pytestmark = pytest.mark.browser


def test_two_methods_with_two_seeds_each(tmp_path, measure):
    stream = str(stream_of(tmp_path, 3))
    runs = []
    for method in ("naive", "er"):
        for seed in ("0", "1"):
            options = {"stream": stream, "network": "mlp", "method": method, "seed": seed, "epochs": "2"}
            runs.append((f"{method}-{seed}/run.json", run(options)))
    found = measure(compare_page(grouped(runs)), 800)
    assert found["charts"] == found["inked"] == 1 and found["overlaps"] == [] == found["requests"] == found["beyond"]
