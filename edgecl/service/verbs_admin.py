"""Verbs of the admin socket: learn, save, forget, correct, export, hold and go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..errors import BadInput
from .bodies import check_label, json_object, whole_number
from .exporting import model_file, samples_file
from .reading import check_query, content_type, declared_length, read_body
from .service import Service
from .verb import Verb
from .work import Job

JSON = ("application/json",)
MOST = 1 << 20
SUBJECT = {"type": "object", "required": ["subject"], "properties": {"subject": {"type": "integer"}}}


async def rollback(service: Service, request: Request) -> Response:
    await _asked(request, ())
    service.check_learns()
    return _accepted(service.work.submit("rollback", service.watching.rollback))


async def _asked(request: Request, names: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a body, which may be empty."""
    check_query(request, {})
    if declared_length(request, MOST) != 0:
        content_type(request, JSON)
    return json_object(await read_body(request, MOST), names)


def _accepted(job: Job) -> Response:
    return JSONResponse({"job": job.id, "kind": job.kind}, 202, {"Location": f"/v1/jobs/{job.id}"})


async def learn(service: Service, request: Request) -> Response:
    return _accepted(service.learn(**await _asked(request, ("steps", "epochs", "seconds"))))


async def stop(service: Service, request: Request) -> Response:
    await _asked(request, ())
    service.held.stop()
    return JSONResponse({"stopped": True})


async def pause(service: Service, request: Request) -> Response:
    await _asked(request, ())
    service.pause()
    return JSONResponse({"paused": True})


async def resume(service: Service, request: Request) -> Response:
    await _asked(request, ())
    service.resume()
    return JSONResponse({"paused": False})


async def end_task(service: Service, request: Request) -> Response:
    await _asked(request, ())
    return _accepted(service.job("end-task", service.held.end_task))


async def finish(service: Service, request: Request) -> Response:
    await _asked(request, ())
    return _accepted(service.job("finish", service.held.finish))


async def checkpoint(service: Service, request: Request) -> Response:
    await _asked(request, ())
    return _accepted(service.work.submit("checkpoint", service.checkpoint))


async def reload(service: Service, request: Request) -> Response:
    await _asked(request, ())
    return JSONResponse({"needs_a_restart": service.reload()})


def _subject(asked: dict[str, Any]) -> int:
    if "subject" not in asked:
        raise BadInput("No subject was named.", 'Send {"subject": N}.')
    return whole_number("subject", asked["subject"])


async def forget(service: Service, request: Request) -> Response:
    return _accepted(service.forget(_subject(await _asked(request, ("subject",)))))


async def retrain(service: Service, request: Request) -> Response:
    subject = _subject(await _asked(request, ("subject",)))
    return _accepted(service.job("retrain", lambda: service.held.retrain_without(subject)))


def _ids(asked: dict[str, Any]) -> list[int]:
    ids = asked.get("ids")
    if not isinstance(ids, list) or not all(type(i) is int for i in ids):
        raise BadInput("ids is no list of whole numbers.", "Send ids as observe answered them.")
    return ids


async def relabel(service: Service, request: Request) -> Response:
    asked = await _asked(request, ("ids", "labels"))
    ids, labels = _ids(asked), asked.get("labels")
    for label in labels if isinstance(labels, list) else [labels]:
        check_label(label)
    return _accepted(service.job("relabel", lambda: service.corrections.relabel(ids, labels)))


async def remove(service: Service, request: Request) -> Response:
    asked = await _asked(request, ("ids", "label"))
    if len(asked) != 1:
        raise BadInput("remove takes ids or a label.", "Send one of them.")
    if "label" in asked:
        check_label(asked["label"])
        return _accepted(service.job("remove", lambda: service.corrections.remove(None, asked["label"])))
    ids = _ids(asked)
    return _accepted(service.job("remove", lambda: service.corrections.remove(ids, None)))


async def classes(service: Service, request: Request) -> Response:
    asked = await _asked(request, ("rename", "merge", "into"))
    if set(asked) not in ({"rename", "into"}, {"merge", "into"}):
        raise BadInput("classes takes rename and into, or merge and into.", 'Send {"rename": "cat", "into": "dog"}.')
    verb = "rename" if "rename" in asked else "merge"
    for label in (asked[verb], asked["into"]):
        check_label(label)
    return _accepted(service.job(verb, lambda: service.corrections.rename(asked[verb], asked["into"])))


async def backup(service: Service, request: Request) -> Response:
    await _asked(request, ())
    return _accepted(service.job("backup", service.corrections.backup))


async def export(service: Service, request: Request) -> Response:
    query = check_query(request, EXPORT.query)
    what = query.get("what", "model")
    if what not in ("model", "samples"):
        raise BadInput(f"what is '{what[:64]}'.", "Use model or samples.")
    if what == "model":
        network = await asyncio.wrap_future(service.work.submit("export", service.held.network).future)
        path = await asyncio.to_thread(model_file, service.config, network)
    else:
        path = await asyncio.to_thread(samples_file, service.config)
    size = path.stat().st_size
    name = "model.edgecl" if what == "model" else "samples.tar"
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_and_remove(path), 200, headers, "application/octet-stream")


def _and_remove(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        with contextlib.suppress(OSError):
            path.unlink()
        while part := file.read(1 << 16):
            yield part


def _verb(path: str, name: str, about: str, handler: Any, answer: tuple[int, str], body: Any = None) -> Verb:
    return Verb("POST", path, "admin", name, about, handler, answer, JSON, body=body or {"type": "object"})


_JOB = (202, "a job")
_NUMBERS = {"type": "object", "properties": {
    "steps": {"type": "integer"}, "epochs": {"type": "integer"}, "seconds": {"type": "number"}}}  # fmt: skip
_LABEL = {"type": ["string", "integer"]}
_IDS = {"type": "array", "items": {"type": "integer"}}
EXPORT = Verb("GET", "/v1/export", "admin", "export", "The model, or the samples, to take away.", export,
              (200, "a file"), query={"what": "model or samples"}, returns="application/octet-stream")  # fmt: skip
ADMIN_VERBS = (
    _verb("/v1/learn", "learn", "Train now; another verb ends it early.", learn, _JOB, _NUMBERS),
    _verb("/v1/stop", "stop", "End what trains after its present step.", stop, (200, "told")),
    _verb("/v1/pause", "pause", "Learn nothing of its own accord until resume.", pause, (200, "paused")),
    _verb("/v1/resume", "resume", "Learn again, also after safe mode.", resume, (200, "resumed")),
    _verb("/v1/reload", "reload", "Read the configuration again.", reload, (200, "what needs a restart")),
    _verb("/v1/end-task", "end_task", "The present task is over.", end_task, _JOB),
    _verb("/v1/finish", "finish", "The last task is over.", finish, _JOB),
    _verb("/v1/checkpoint", "checkpoint", "Save the state.", checkpoint, _JOB),
    _verb("/v1/rollback", "rollback", "Go back to the model before the last good one.", rollback, _JOB),
    _verb("/v1/forget", "forget", "Forget a subject; the job's result is the receipt.", forget, _JOB, SUBJECT),
    _verb("/v1/retrain", "retrain", "Forget a subject and make the weights again without it.", retrain, _JOB, SUBJECT),
    _verb("/v1/relabel", "relabel", "Other labels for stored samples.", relabel, _JOB,
          {"type": "object", "properties": {"ids": _IDS, "labels": {"anyOf": [_LABEL, {"type": "array"}]}}}),
    _verb("/v1/remove", "remove", "Take samples out, by ids or by label.", remove, _JOB,
          {"type": "object", "properties": {"ids": _IDS, "label": _LABEL}}),
    _verb("/v1/classes", "classes", "Rename a label, or merge it into another.", classes, _JOB,
          {"type": "object", "properties": {"rename": _LABEL, "merge": _LABEL, "into": _LABEL}}),
    _verb("/v1/backup", "backup", "Write store and state to the backup folder.", backup, _JOB),
    EXPORT,
)  # fmt: skip
