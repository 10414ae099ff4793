"""The document that is served says what the routes are."""

from __future__ import annotations

import json
import re

from edgecl.service.app import DOCUMENT, VERBS, document_text


def test_the_shipped_document_is_made_from_the_verbs():
    assert DOCUMENT.read_text() == document_text()


def test_it_is_served_and_every_operation_is_a_route(running):
    with running.client() as client:
        found = client.ask("GET", "/v1/openapi.json")
        assert found == json.loads(DOCUMENT.read_text())
        for path, operations in found["paths"].items():
            for method in operations:
                status, body, headers = client.request(method.upper(), re.sub(r"\{\w+\}", "x", path), nonsense="1")
                document = json.loads(body) if "json" in headers.get("content-type", "") else {}
                assert status != 405, (method, path)
                assert "cause" not in document or document["title"] != "Not Found" or "{" in path, (method, path)


def test_what_is_no_route_is_refused_as_a_problem(running):
    with running.client() as client:
        status, body, headers = client.request("GET", "/v2/nothing")
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert json.loads(body)["remedy"]
        assert client.request("DELETE", "/v1/status")[0] == 405


def test_names_of_operations_are_unique():
    names = [v.name for v in VERBS]
    assert len(names) == len(set(names))
