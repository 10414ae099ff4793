"""The page of a run in a real browser: drawn, nothing over anything else, nothing fetched; wide, narrow and dark."""

import pytest
from page_streams import stream_of

from edgecl.report.page import record_in, run_page
from edgecl.run import run

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("tasks", "width", "dark"), [(1, 1200, False), (10, 1200, True), (10, 390, False),
     pytest.param(100, 1200, False, marks=pytest.mark.campaign)]
)
def test_a_page_is_drawn_without_overlaps_and_without_requests(tasks, width, dark, pages, measure):
    found = measure(pages(tasks), width, dark)
    assert found["drawn"] == "yes" and found["texts"] > 50
    assert found["charts"] == found["canvases"] == found["inked"] == (3 if tasks == 1 else 6)
    assert found["overlaps"] == []
    assert found["beyond"] == [] and found["wide"] <= found["width"]  # nothing makes the page scroll sideways
    assert found["requests"] == []
    light = sum(map(int, found["paper"][4:-1].split(","))) > 3 * 128
    assert light != dark


def test_what_is_measured_would_show(measure):
    """The measuring script finds overlaps where there are some."""
    text = "<!doctype html><html><head><title></title></head><body><p style='margin:0'>first words here</p>" \
        "<p style='margin:-1.1em 0 0'>second words</p><p style='width:9000px;text-align:right'>far</p></body></html>"
    found = measure(text)
    assert found["overlaps"] and found["beyond"] == ["far"] and found["drawn"] == "no"


def test_names_that_mean_something_in_html_are_shown_as_they_are(tmp_path, measure):
    evil = ["</script><script>document.title='x'</script>", "<b>bold</b>", "a&amp;b", "'quoted\"", *"efgh"]
    record = run({"stream": str(stream_of(tmp_path, 4, evil)), "network": "mlp", "method": "naive", "epochs": 1})
    text = run_page(record)
    found = measure(text)
    assert found["drawn"] == "yes" and found["overlaps"] == []
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    assert record_in(tmp_path / "report.html")["stream"]["labels"] == record["stream"]["labels"]
