"""Verbs of the admin socket by which a fleet reaches the device: what it has, a round, its update."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .bodies import RAW, whole_number
from .reading import check_query, content_type, declared_length, read_body
from .service import Service
from .verb import Verb

STEPS = {"steps": "of training, at most what the device allows"}


async def about(service: Service, request: Request) -> Response:
    check_query(request, {})
    job = service.work.submit("fleet-about", service.fleet.about)
    return JSONResponse(await asyncio.wrap_future(job.future))


async def begin(service: Service, request: Request) -> Response:
    query = check_query(request, STEPS)
    steps = whole_number("steps", query.get("steps", "20"))
    most = service.config.serve.max_body
    declared_length(request, most)
    content_type(request, (RAW,))
    message = await read_body(request, most)
    service.check_learns()
    job = service.work.submit("fleet", lambda: service.fleet.begin(message, max(1, steps)))
    return JSONResponse({"job": job.id, "kind": job.kind}, 202, {"Location": f"/v1/jobs/{job.id}"})


async def update(service: Service, request: Request) -> Response:
    check_query(request, {})
    return Response(await asyncio.to_thread(service.fleet.update), media_type=RAW)


FLEET_VERBS = (
    Verb("GET", "/v1/fleet", "admin", "fleet", "What a fleet's server has to know before a round.", about,
         (200, "name, labels, digests, and why it takes no part, or null")),
    Verb("POST", "/v1/fleet/begin", "admin", "fleet_begin", "Take a model, learn on it, judge it.", begin,
         (202, "a job"), (RAW,), STEPS),
    Verb("GET", "/v1/fleet/update", "admin", "fleet_update", "What the last round answers.", update,
         (200, "an edgecl-update 1"), returns=RAW),
)  # fmt: skip
