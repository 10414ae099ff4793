"""The page at /: plain files of ours, given to anyone whom the socket lets in; what they ask for needs a token."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .access import ANYONE
from .reading import check_query
from .refusals import Refused
from .service import Service
from .verb import Verb

# by the ends of their names
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address held a token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
OWN = ("page.css", "app.js", "api.js", "words.js", "dom.js", "watch.js", "teach.js", "classes.js", "sources.js",
       "device.js", "signals.js", "ear.js", "kept.js", "icon.svg")  # fmt: skip
SHARED = ("uPlot.iife.min.js", "uPlot.min.css")  # of the report


def page_file(name: str) -> bytes:
    """A file of the page. Raises `Refused` (404) for any other name."""
    folder: Any = files(__package__) / "page"
    if name in SHARED:
        folder = files("edgecl.report") / "assets"
    elif name not in (*OWN, "index.html"):
        raise Refused(404, f"The page has no '{name[:64]}'.", "See /.")
    found: bytes = (folder / name).read_bytes()
    return found


def _answer(name: str) -> Response:
    return Response(page_file(name), 200, HEADERS, KINDS[name.rpartition(".")[2]])


async def index(service: Service, request: Request) -> Response:
    check_query(request, {})
    return _answer("index.html")


async def asset(service: Service, request: Request) -> Response:
    check_query(request, {})
    return _answer(request.path_params["name"])


PAGE_VERBS = (
    Verb("GET", "/", ANYONE, "page", "The page: teach, and watch.", index, (200, "a page"), returns="text/html"),
    Verb("GET", "/page/{name}", ANYONE, "page_file", "A file of the page.", asset, (200, "the file"), returns="*/*"),
)
