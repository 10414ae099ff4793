"""Verbs of the use socket: predict, observe, label, and what there is to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..errors import BadInput
from .bodies import KINDS, MOST_SAMPLES, RAW, check_length, json_object, read_samples, whole_number
from .pictures import png
from .predicting import Answer
from .reading import check_query, content_type, declared_length, read_body, truth
from .refusals import Refused
from .service import Service
from .verb import Verb

LABELLED = {"label": "of all samples; digits are a whole number", "subject": "whose samples they are",
            "task": "a change of it ends the task before"}  # fmt: skip


async def predict(service: Service, request: Request) -> Response:
    query = check_query(request, PREDICT.query)
    proba, keep = truth(query, "proba"), truth(query, "keep") if "keep" in query else None
    spec, most = service.held.spec, service.config.serve.max_body
    length = declared_length(request, most)
    kind = content_type(request, KINDS)
    if length is not None:
        check_length(kind, length, spec)
    rows = max(1, (length or 0) // spec.bytes)
    service.predicting.check_room(rows)
    body, began = await read_body(request, most), time.monotonic()
    rows = max(1, len(body) // spec.bytes) if kind == RAW else rows
    answer = await service.predicting.answer(lambda: read_samples(kind, body, spec, {}), rows)
    seconds = time.monotonic() - began
    request.state.metrics.predicted(len(answer.labels), seconds, service.held.learning)
    return JSONResponse(_answer(service, answer, proba, keep))


def _answer(service: Service, answer: Answer, proba: bool, keep: bool | None) -> dict[str, Any]:
    best = answer.shares.max(axis=1)
    labels, least = list(answer.labels), service.config.serve.unsure_below
    unsure = [] if least is None else [i for i, p in enumerate(best) if p < least]
    kept = list(range(len(labels))) if keep else unsure if keep is None else []
    found: dict[str, Any] = {"labels": labels, "confidence": [round(float(p), 6) for p in best],
                             "model": {"slot": answer.slot, "steps": answer.steps}}  # fmt: skip
    if kept:
        found["ids"] = service.keep(answer, kept)
    for i in unsure:
        labels[i] = None
    if proba:
        found["classes"], found["probabilities"] = list(answer.known), answer.shares.tolist()
    return found


async def observe(service: Service, request: Request) -> Response:
    query = check_query(request, OBSERVE.query)
    durable = truth({"wait": {"durable": "1"}.get(query.get("wait", "0"), query.get("wait", "0"))}, "wait")
    spec, most = service.held.spec, service.config.serve.max_body
    service.check_learns()
    length = declared_length(request, most)
    kind = content_type(request, KINDS)
    if length is not None:
        check_length(kind, length, spec)
    key = service.repeats.checked(request.headers.get("idempotency-key"))
    service.intake.check_room(length or 0)
    body = await read_body(request, most)
    future = service.observe(lambda: read_samples(kind, body, spec, query), len(body), durable, key)
    answer = await asyncio.wrap_future(future)
    request.state.metrics.observed(answer["taken"], "http")
    return JSONResponse({**answer, "durable": durable and service.held.durable}, 202)


async def labels(service: Service, request: Request) -> Response:
    query = check_query(request, LABELS.query)
    durable = query.get("wait") == "durable"
    declared_length(request, service.config.serve.max_body)
    content_type(request, LABELS.takes)
    body = await read_body(request, service.config.serve.max_body)
    given = json_object(b'{"labels":' + (body or b"[]") + b"}", ("labels",))["labels"]
    if not isinstance(given, list):
        raise BadInput("The labels are no list.", 'Send [{"id": ..., "label": ...}].')
    if len(given) > MOST_SAMPLES:
        raise Refused(413, f"{len(given)} labels came at once.", f"Send at most {MOST_SAMPLES}.")
    rows = await asyncio.wrap_future(service.label([_labelled(row) for row in given], durable))
    request.state.metrics.labelled(sum(row["status"] == 202 for row in rows))
    return JSONResponse({"labels": rows, "durable": durable and service.held.durable}, 202)


def _labelled(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping) or set(row) - {"id", "label", "subject"} or not {"id", "label"} <= set(row):
        raise BadInput("A label is no object of id, label and perhaps subject.", 'Send {"id": ..., "label": ...}.')
    if not isinstance(row["id"], str) or isinstance(row["label"], bool) or not isinstance(row["label"], (str, int)):
        raise BadInput("An id is no text, or a label neither text nor a whole number.", "Send what predict answered.")
    subject = row.get("subject")
    return {**row, "subject": None if subject is None else whole_number("subject", subject)}


async def pool(service: Service, request: Request) -> Response:
    query = check_query(request, POOL.query)
    count = whole_number("count", query.get("count", "64"))
    if not 1 <= count <= 1024:
        raise BadInput(f"count is {count}.", "Give 1 to 1024.")
    return JSONResponse({"samples": service.pool.rows(query.get("by", "newest"), count), "waiting": len(service.pool)})


async def pool_sample(service: Service, request: Request) -> Response:
    check_query(request, {})
    waiting = service.pool.get(request.path_params["id"])
    return Response(await asyncio.to_thread(png, waiting.x), media_type="image/png")


async def status(service: Service, request: Request) -> Response:
    check_query(request, {})
    return JSONResponse(service.status())


async def job(service: Service, request: Request) -> Response:
    query = check_query(request, JOB.query)
    found = service.work.job(request.path_params["id"])
    seconds = min(30, max(0, whole_number("wait", query.get("wait", "0"))))
    if seconds and not found.future.done():
        await asyncio.wait([asyncio.wrap_future(found.future)], timeout=seconds)
    return JSONResponse(found.to_json())


async def decisions(service: Service, request: Request) -> Response:
    query = check_query(request, DECISIONS.query)
    return JSONResponse({"decisions": service.journal.since(whole_number("since", query.get("since", "0")))})


async def events(service: Service, request: Request) -> Response:
    check_query(request, {})
    return StreamingResponse(service.events.listen(), media_type="text/event-stream",
                             headers={"Cache-Control": "no-store"})  # fmt: skip


async def livez(service: Service, request: Request) -> Response:
    return JSONResponse({"live": True})


async def readyz(service: Service, request: Request) -> Response:
    reason = service.not_ready
    if reason is not None:
        raise Refused(503, f"Not ready: {reason}.", "See /v1/status.")
    return JSONResponse({"ready": True})


PREDICT = Verb(
    "POST", "/v1/predict", "use", "predict", "Labels of samples, with the confidence of each.", predict,
    (200, "labels, in the order of the samples"), KINDS,
    {"proba": "1: also the probability of every class",
     "keep": "1: the samples wait for a label; 0: not even unsure ones"},
)  # fmt: skip
OBSERVE = Verb(
    "POST", "/v1/observe", "use", "observe", "Take labelled samples.", observe, (202, "taken"), KINDS,
    {"wait": "durable: answer when they are on flash", **LABELLED},
)  # fmt: skip
LABELS = Verb(
    "POST", "/v1/labels", "use", "label", "Labels for samples that wait.", labels, (202, "a status for each"),
    ("application/json",), {"wait": "durable: answer when they are on flash"},
    {"type": "array", "items": {"type": "object", "required": ["id", "label"], "properties": {
        "id": {"type": "string"}, "label": {"type": ["string", "integer"]}, "subject": {"type": "integer"}}}},
)  # fmt: skip
POOL = Verb("GET", "/v1/pool", "use", "pool", "Samples that wait for a label.", pool, (200, "ids and guesses"),
            query={"by": "newest, or margin: least certain first", "count": "at most so many"})  # fmt: skip
POOL_SAMPLE = Verb("GET", "/v1/pool/{id}", "use", "pool_sample", "One of them, to look at.", pool_sample,
                   (200, "a picture"), returns="image/png")  # fmt: skip
JOB = Verb("GET", "/v1/jobs/{id}", "use", "job", "How far a job is.", job, (200, "its state, and its result"),
           query={"wait": "seconds to wait for its end, at most 30"})  # fmt: skip
STATUS = Verb("GET", "/v1/status", "use", "status", "Everything there is to know.", status, (200, "one object"))
DECISIONS = Verb("GET", "/v1/decisions", "use", "decisions", "What the service decided.", decisions,
                 (200, "the latest 512"), query={"since": "only those with a higher number"})  # fmt: skip
EVENTS = Verb("GET", "/v1/events", "use", "events", "What happens, as it happens.", events, (200, "events"),
              returns="text/event-stream")  # fmt: skip
LIVEZ = Verb("GET", "/livez", "metrics", "livez", "Whether the loop answers.", livez, (200, "it does"))
READYZ = Verb("GET", "/readyz", "metrics", "readyz", "Whether it learns and predicts.", readyz, (200, "it does"))
USE_VERBS = (PREDICT, OBSERVE, LABELS, POOL, POOL_SAMPLE, JOB, STATUS, DECISIONS, EVENTS, LIVEZ, READYZ)
