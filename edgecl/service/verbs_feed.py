"""Verbs of feeds: a feeder shows what it sees or hears, the page looks at it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import BadInput
from .bodies import PICTURES, RAW, whole_number
from .feeds import MOST_BYTES
from .reading import check_query, content_type, declared_length, read_body
from .service import Service
from .verb import Verb

SECONDS = 5.0  # that a look waits for something newer
SHOWN = (*PICTURES, RAW)


async def show(service: Service, request: Request) -> Response:
    check_query(request, {})
    most = min(MOST_BYTES, service.config.serve.max_body)
    declared_length(request, most)
    kind = content_type(request, SHOWN)
    body = await read_body(request, most)
    one = service.held.spec.bytes
    if not body or (kind == RAW and len(body) != one):
        raise BadInput(f"{len(body)} bytes are not one sample of {one} bytes.", "Show one raw sample, or a picture.")
    return JSONResponse(service.feeds.show(request.path_params["name"], body, kind))


async def feeds(service: Service, request: Request) -> Response:
    check_query(request, {})
    return JSONResponse({"feeds": service.feeds.rows()})


async def look(service: Service, request: Request) -> Response:
    query = check_query(request, LOOK.query)
    after = whole_number("after", query.get("after", "0"))
    found = await service.feeds.newer(request.path_params["name"], after, SECONDS)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if found is None:
        return Response(status_code=204, headers=headers)
    return Response(found.body, headers={**headers, "X-Feed-Number": str(found.number)}, media_type=found.kind)


SHOW = Verb("POST", "/v1/feeds/{name}", "use", "show", "What the device's camera, microphone or sensor has now.", show,
            (200, "its number, and whether anybody looks"), SHOWN)  # fmt: skip
FEEDS = Verb("GET", "/v1/feeds", "use", "feeds", "What of the device is shown.", feeds, (200, "names and kinds"))
LOOK = Verb("GET", "/v1/feeds/{name}", "use", "look", "The latest of it; 204: nothing new within 5 s.", look,
            (200, "a picture, or a raw sample"), query={"after": "a number: wait for another one"},
            returns="*/*")  # fmt: skip
FEED_VERBS = (SHOW, FEEDS, LOOK)
