"""The application: verbs as Starlette routes, with roles, request ids and problem documents around them."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from .access import ANYONE, GRANTS, Gate
from .metrics import Metrics
from .pages import PAGE_VERBS
from .reading import drop_body
from .refusals import Refused, problem, status_of
from .service import Service
from .verb import Verb
from .verbs_admin import ADMIN_VERBS
from .verbs_feed import FEED_VERBS
from .verbs_fleet import FLEET_VERBS
from .verbs_use import USE_VERBS

LOG = logging.getLogger("edgecl.service")
_PROCESS, _NUMBERS = secrets.token_hex(4), itertools.count()  # of the requests that bring no id of their own
Roles = Callable[[Request], frozenset[str]]  # what a request may; raises `Refused`
DOCUMENT = Path(__file__).with_name("openapi.json")


async def openapi(service: Service, request: Request) -> Response:
    return Response(DOCUMENT.read_bytes(), media_type="application/json")


async def metrics(service: Service, request: Request) -> Response:
    return Response(request.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


METRICS = Verb("GET", "/metrics", "metrics", "metrics", "Counters, as Prometheus reads them.", metrics,
               (200, "text format 0.0.4"), returns="text/plain")  # fmt: skip
OPENAPI = Verb("GET", "/v1/openapi.json", "metrics", "openapi", "This document.", openapi, (200, "OpenAPI 3.1"))
VERBS: tuple[Verb, ...] = (
    *USE_VERBS, *FEED_VERBS, *ADMIN_VERBS, *FLEET_VERBS, METRICS, OPENAPI, *PAGE_VERBS,
)  # fmt: skip


def make_app(service: Service, metrics: Metrics, role: str | None, gate: Gate | None = None) -> Router:
    """The application of one socket. ``role``: of whoever reaches it; None: what ``gate`` says of each request."""

    def roles(request: Request) -> frozenset[str]:
        if role is not None:
            return GRANTS[role]
        assert gate is not None
        return gate.roles(request.headers.get("authorization"), request.headers.get("host"))

    def check_host(request: Request) -> frozenset[str]:
        if gate is not None:
            gate.check_host(request.headers.get("host"))
        return frozenset({ANYONE})

    by_path: dict[str, dict[str, Verb]] = {}
    for verb in VERBS:
        by_path.setdefault(verb.path, {})[verb.method] = verb
    routes = [Route(path, _Endpoint(service, metrics, verbs, roles, check_host)) for path, verbs in by_path.items()]
    nothing = _Endpoint(service, metrics, {}, roles, check_host)
    return Router(routes, redirect_slashes=False, default=nothing)


class _Endpoint:
    """The verbs of one path as an ASGI application; without verbs, what answers where there is no path.

    Whatever goes wrong becomes a problem document here, so that no layer of exception handlers lies around a request.
    """

    def __init__(
        self, service: Service, metrics: Metrics, verbs: Mapping[str, Verb], roles: Roles, check_host: Roles
    ) -> None:
        self._service, self._metrics = service, metrics
        self._roles, self._check_host = roles, check_host
        self._verbs = {**verbs, "HEAD": verbs["GET"]} if "GET" in verbs else dict(verbs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        request.state.metrics = self._metrics
        name = _request_id(request)
        verb = self._verbs.get(scope["method"])
        if verb is None:
            response = self._nothing(request, name)
        else:
            response = await self._answer(request, verb, name)
            self._metrics.answered(verb.name, response.status_code)
        await response(scope, receive, send)

    async def _answer(self, request: Request, verb: Verb, name: str) -> Response:
        try:
            roles = self._check_host(request) if verb.role == ANYONE else self._roles(request)
            if verb.role not in roles:
                raise Refused(403, f"This socket or token may not {verb.name}.", f"It needs the role {verb.role}.")
            response = await verb.handler(self._service, request)
            response.raw_headers.append((b"x-request-id", name.encode()))
            return response
        except Exception as error:
            if status_of(error) == 500:
                LOG.exception("%s failed", verb.name, extra={"event": "failure"})
            return _refusal(error, name, None if await drop_body(request) else {"Connection": "close"})

    def _nothing(self, request: Request, name: str) -> Response:
        """404 or 405, but a stranger learns nothing of what there is."""
        try:
            self._roles(request)
        except Refused as stranger:
            return _refusal(stranger, name)
        status, what = (405, "Method Not Allowed") if self._verbs else (404, "Not Found")
        allow = {"Allow": ", ".join(self._verbs)} if self._verbs else None
        return _refusal(Refused(status, f"{what}.", "See /v1/openapi.json."), name, allow)


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id")
    if given is not None and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given):
        return given
    return f"{_PROCESS}{next(_NUMBERS):08x}"


def _refusal(error: BaseException, name: str, headers: Any = None) -> Response:
    document = problem(error)
    more = {"X-Request-Id": name, **dict(headers or {})}
    if document.get("retry_after") is not None:
        more["Retry-After"] = str(max(1, round(document["retry_after"])))
    if document["status"] == 401:
        more["WWW-Authenticate"] = "Bearer"
    return JSONResponse(document, document["status"], more, "application/problem+json")


# -- the document


def document() -> dict[str, Any]:
    """The OpenAPI document of all verbs."""
    paths: dict[str, Any] = {}
    for verb in VERBS:
        paths.setdefault(verb.path, {})[verb.method.lower()] = _operation(verb)
    refused = {"description": "refused", "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgecl", "version": "1", "description": "A device that keeps learning, behind a socket."},
        "paths": paths,
        "components": {
            "responses": {"refused": refused},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(verb: Verb) -> dict[str, Any]:
    named = re.findall(r"\{(\w+)\}", verb.path)
    found: dict[str, Any] = {"operationId": verb.name, "summary": verb.about, "x-role": verb.role}
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in named]
    for name, about in verb.query.items():
        parameters.append({"name": name, "in": "query", "description": about, "schema": {"type": "string"}})
    if parameters:
        found["parameters"] = parameters
    if verb.takes:
        kinds = {kind: {"schema": dict(verb.body)} if kind == "application/json" else {} for kind in verb.takes}
        found["requestBody"] = {"content": kinds}
    status, about = verb.answers
    found["responses"] = {
        str(status): {"description": about, "content": {verb.returns: {}}},
        "default": {"$ref": "#/components/responses/refused"},
    }
    return found


def document_text() -> str:
    """The document as it is shipped."""
    return json.dumps(document(), indent=1) + "\n"
