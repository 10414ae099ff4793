"""Daemons for the tests of the service."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from daemons import Daemon, samples

if find_spec("uvicorn") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A daemon for all tests of a module that leave it as it was; it has learned four kinds."""
    made = Daemon(tmp_path_factory.mktemp("daemon"))
    made.start()
    with made.client() as client:
        client.observe(*samples(48)).wait()
        client.learn(steps=60)
    yield made
    made.end()
