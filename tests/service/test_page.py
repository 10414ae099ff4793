"""The page in a real browser: teach from the camera, from files, from the pool; watch; no markup, no foreign page."""

from __future__ import annotations

import numpy as np
import pytest
from chrome import needed
from daemons import until
from pages import NAME, SCENES, TOKEN, browser, teachable

from edgecl.service.pages import OWN

pytestmark = pytest.mark.browser
SCENE = """() => {
  const video = document.querySelector('#view video');
  if (!video || !video.videoWidth) return null;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return r > 180 ? 'red' : b > 180 ? 'blue' : g > 180 || g > r + b ? 'green' : 'none';
}"""


def scene(page, name):
    """Wait until the camera shows it."""
    until(lambda: page.evaluate(SCENE) == name, 20)


def add(page, *names):
    for name in names:
        page.fill("#new-class", name)
        page.press("#new-class", "Enter")
    page.evaluate("document.activeElement.blur()")


def teach(page, name, key, hold=500):
    """Hold the key of a class while the camera shows it."""
    scene(page, name)
    page.keyboard.down(key)
    page.wait_for_timeout(hold)
    page.keyboard.up(key)


def best(page):
    return page.evaluate("document.querySelector('#seen .best span')?.textContent ?? null")


def says(page, id_, text):
    """Wait until an element says so; the page's policy forbids Playwright's own way of waiting."""
    until(lambda: text in page.evaluate("(id) => document.getElementById(id).textContent", id_), 20)


def ask(page, text):
    page.fill("#ask-value", text)
    page.click("#ask-yes")


def violations(page) -> list[str]:
    """What axe-core finds wrong with what is shown."""
    axe = needed("axe_playwright_python.sync_playwright")
    return [found["id"] for found in axe.Axe().run(page).response["violations"]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A daemon that was taught three classes through the page, and how that went."""
    folder = tmp_path_factory.mktemp("page")
    daemon, address = teachable(folder)
    with browser(folder) as page:
        page.goto(address)
        assert page.evaluate("location.hash") == ""  # the token is no longer to be read
        add(page, *SCENES)
        for _ in range(2):
            for key, name in enumerate(SCENES, 1):
                teach(page, name, str(key))
        right = {}
        for name in SCENES:
            scene(page, name)
            until(lambda name=name: best(page) == name, 40)
            right[name] = best(page)
        said = page.said
    yield daemon, address, right, said
    daemon.end()


def test_three_classes_are_taught_from_the_camera_over_https_under_a_name(taught):
    daemon, _, right, said = taught
    assert right == {name: name for name in SCENES} and not said
    with daemon.client() as client:
        assert set(client.ask("GET", "/v1/status")["labels"]) == set(SCENES)
        assert client.counters["stored"] >= 6  # of six times that a key was held


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1400])
def test_it_is_whole_at_two_widths_and_accessible(taught, tmp_path, width, dark):
    _, address, _, _ = taught
    with browser(tmp_path, width, dark) as page:
        page.goto(address)
        page.wait_for_selector("#seen .best")
        for view in ("teach", "watch"):
            page.click(f"#go-{view}")
            page.wait_for_timeout(1500)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(page) == []
        assert not page.said


def test_a_key_that_is_pressed_while_a_sample_is_on_its_way_is_not_lost(taught, tmp_path):
    _, address, _, _ = taught
    with browser(tmp_path) as page:
        page.goto(address)
        page.wait_for_selector("#seen .best")
        page.route("**/v1/observe*", lambda route: (page.wait_for_timeout(1200), route.continue_()))
        for key in "12":  # each let go of before the first is there
            page.keyboard.down(key)
            page.wait_for_timeout(50)
            page.keyboard.up(key)
        counts = lambda: [page.inner_text(f"#classes li:nth-child({k}) small").split()[0] for k in (1, 2)]  # noqa: E731
        until(lambda: counts() == ["1", "1"], 20)


def test_files_are_dropped_and_named_one_by_one(tmp_path):
    image = pytest.importorskip("PIL.Image")
    daemon, address = teachable(tmp_path, tls=False)
    paths = []
    for k, name in enumerate(["one", "<b>two</b>"] * 4):
        path = tmp_path / f"{k} <i>{name[:3]}.png".replace("/", "")
        x = np.full((24, 24, 3), 30 + 190 * (k % 2), np.uint8)
        image.fromarray(x).save(path)
        paths.append(str(path))
    try:
        with browser(tmp_path) as page:
            page.goto(address)
            add(page, "one", "<b>two</b>")
            page.check("[value=files]")
            page.set_input_files("#pick", paths)
            for k in range(8):
                says(page, "source-note", f"Picture {k + 1} of")
                page.keyboard.press(str(1 + k % 2))
                until(lambda k=k: page.evaluate("document.getElementById('taught').children.length") == k + 1)
            says(page, "source-note", "No picture is left.")
            assert page.evaluate("document.querySelectorAll('#teach b, #taught b').length") == 0  # names are text
            with daemon.client() as client:
                until(lambda: set(client.ask("GET", "/v1/status")["labels"]) == {"one", "<b>two</b>"})
                stored = client.counters["stored"]
            page.click("#undo")
            says(page, "undo-what", "taken back")
            with daemon.client() as client:
                assert client.counters["stored"] == stored - 1
            page.click("#taught li:last-child button >> nth=0")
            ask(page, "<b>two</b>")
            until(lambda: page.inner_text("#taught li:last-child button >> nth=0") == "<b>two</b>")
            page.click("#classes li:nth-child(1) button:has-text('Rename')")
            ask(page, "<b>two</b>")  # a name that is there: the two are one
            with daemon.client() as client:
                until(lambda: client.ask("GET", "/v1/status")["labels"] == ["<b>two</b>"])
            assert not page.said
    finally:
        daemon.end()


def test_samples_of_the_pool_get_their_label_by_a_key(taught, tmp_path):
    daemon, address, _, _ = taught
    with daemon.client() as client:
        x = np.full((3, 3, 16, 16), 128, np.uint8)
        client.request("POST", "/v1/predict", x.tobytes(), "application/octet-stream", keep=1)
        assert client.ask("GET", "/v1/pool")["waiting"] == 3  # what the page shows it does not keep
        before = client.counters["stored"]
        with browser(tmp_path) as page:
            page.goto(address)
            page.wait_for_selector("#classes li")
            page.check("[value=pool]")
            for left in (3, 2, 1):
                says(page, "source-note", f"{left} wait")
                page.keyboard.press("1")
            says(page, "view", "No sample waits")
            assert not page.said
        until(lambda: client.counters["stored"] == before + 3)


def test_the_curve_moves_within_two_seconds_of_a_sample(taught, tmp_path):
    daemon, address, _, _ = taught
    with daemon.client() as client, browser(tmp_path) as page:
        page.goto(address)
        page.keyboard.press("w")
        page.wait_for_selector("#curve[aria-label]")
        curve = lambda: page.get_attribute("#curve", "aria-label")  # noqa: E731
        pixels = lambda: page.evaluate("document.querySelector('#curve canvas').toDataURL()")  # noqa: E731
        for light, label in ((255, "a new class"), (0, "green")):  # which it does not expect
            before, drawn = curve(), pixels()
            client.observe(np.full((6, 3, 16, 16), light, np.uint8), [label] * 6)
            until(lambda before=before: curve() != before, 2.0)
            assert pixels() != drawn
        assert not page.said


def test_the_page_is_small(taught):
    daemon, _, _, _ = taught
    with daemon.client() as client:
        sizes = [len(client.request("GET", f"/page/{name}")[1]) for name in OWN]
        index = client.request("GET", "/")[1]
    assert min(sizes) > 0 and sum(sizes) + len(index) <= 150_000
    assert b"https://" not in index and b"http://" not in index  # nothing of anybody else's


def test_watching_shows_curves_decisions_and_a_receipt(taught, tmp_path):
    daemon, address, _, _ = taught
    with daemon.client() as client, browser(tmp_path) as page:
        page.goto(address)
        page.keyboard.press("w")
        page.wait_for_selector("#tiles .tile")
        before = page.evaluate("document.querySelectorAll('#decisions tbody tr').length")
        x = np.full((4, 3, 16, 16), 200, np.uint8)
        client.observe(x, ["bright"] * 4, subject=7).wait()
        until(lambda: page.evaluate("document.querySelectorAll('#decisions tbody tr').length") > before, 10)
        assert page.evaluate("document.querySelectorAll('#watch canvas').length") == 2
        page.fill("#subject", "7")
        with page.expect_download() as loading:
            page.click("#forget button")
            page.click("#ask-yes")
        assert loading.value.suggested_filename == "forgotten-7.json"
        says(page, "done", "Subject 7 forgotten")
        assert "bright" not in client.ask("GET", "/v1/status")["labels"]  # only this subject had it
        page.click("#actions button >> nth=0")
        says(page, "state", "paused")
        page.click("#actions button >> nth=0")
        assert not page.said


def test_without_a_token_the_page_asks_for_one_and_a_foreign_page_reaches_nothing(taught, tmp_path):
    _, address, _, _ = taught
    plain = address.partition("#")[0]
    with browser(tmp_path) as page:
        answer = page.goto(plain)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        page.wait_for_selector("#gate:not([hidden])")
        page.fill("#token", TOKEN)
        page.press("#token", "Enter")
        page.wait_for_selector("#gate", state="hidden")
        page.goto("about:blank")
        told = page.evaluate(
            "([url, token]) => fetch(url + 'v1/status', {headers: {Authorization: 'Bearer ' + token}})"
            ".then(() => 'read', () => 'refused')", [plain, TOKEN],
        )  # fmt: skip
        assert told == "refused"
        other = page.request.get(plain.replace(NAME, "127.0.0.1") + "v1/status", headers={"Host": "evil.test"})
        assert other.status == 421
