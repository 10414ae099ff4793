"""Look over the built site, ``python site.py FOLDER``: every link leads somewhere, no page asks another host."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    ("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("object", "data"),
}  # fmt: skip
IN_STYLE = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")
NOT_FETCHED = {"canonical", "alternate", "license"}  # of <link rel=...>


class Page(HTMLParser):
    """Links and anchors of a page.

    links : (address, whether the browser fetches it by itself);  anchors : ids and names
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.anchors |= {given[k] for k in ("id", "name") if given.get(k)}
        for key, value in given.items():
            if (tag, key) in FETCHED:
                self.links.append((value, given.get("rel", "") not in NOT_FETCHED))
            elif tag == "a" and key == "href":
                self.links.append((value, False))


def faults(folder: Path) -> list[str]:
    """What is wrong with a site, a line each."""
    folder = folder.resolve()
    pages = {f: Page(f.read_text(encoding="utf-8")) for f in sorted(folder.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for address, fetched in page.links:
            fault = _fault(file, address, fetched, pages)
            if fault:
                found.append(f"{file.relative_to(folder)}: {address}: {fault}")
    for file in sorted(folder.rglob("*.css")):
        for address in IN_STYLE.findall(file.read_text(encoding="utf-8")):
            found.append(f"{file.relative_to(folder)}: {address}: asks another host")
    return found


def _fault(file: Path, address: str, fetched: bool, pages: dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "asks another host" if fetched else ""
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return "is not there"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "has no such anchor"
    return ""


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print("\n".join(wrong) or "no broken link, no foreign request")
    sys.exit(bool(wrong))
