"""Verb: one route of the service as data: what routes, roles, documents and metrics are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Any, Request], Awaitable[Response]]


@dataclass(frozen=True)
class Verb:
    """method, path : of the route, parameters in braces
    role : ``anyone``, ``metrics``, ``use`` or ``admin``;  name : of the operation;  about : one sentence
    takes : types of its body;  query : names of what the query may hold, with what they mean
    answers : status of success and what it means
    body : JSON schema of a JSON body
    """

    method: str
    path: str
    role: str
    name: str
    about: str
    handler: Handler
    answers: tuple[int, str]
    takes: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    returns: str = "application/json"
