"""Who may do what: two sockets, and tokens over TCP."""

from __future__ import annotations

import hashlib
import re
import socket

import pytest
from daemons import Daemon

from edgecl.service import Client
from edgecl.service.access import read_tokens
from edgecl.service.app import VERBS

RANK = {"metrics": 0, "use": 1, "admin": 2}
TOKENS = {role: f"the token of {role}" for role in RANK}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def open_to_the_net(tmp_path_factory):
    pytest.importorskip("cryptography")
    made = Daemon(tmp_path_factory.mktemp("tcp"))
    tokens = made.folder / "tokens"
    lines = [f"{role} {role}-name {hashlib.sha256(text.encode()).hexdigest()}\n" for role, text in TOKENS.items()]
    tokens.write_text("# who\n" + "".join(lines))
    tokens.chmod(0o600)
    made.port = free_port()
    made.arguments = ["--listen", f"127.0.0.1:{made.port}", "--tokens", str(tokens), "--tls"]
    made.start()
    yield made
    made.end()


def over_tcp(daemon, token: str | None) -> Client:
    certificate = daemon.folder / "state" / "tls" / "certificate.pem"
    return Client(f"https://127.0.0.1:{daemon.port}", token=token, certificate=certificate)


def ask_everything(client: Client) -> dict[str, int]:
    """The status of every verb, asked with a query that no verb takes: whoever may not do it is told before."""
    with client:
        return {v.name: client.request(v.method, re.sub(r"\{\w+\}", "x", v.path), nonsense="1")[0] for v in VERBS
                if v.name not in ("stop", "events")}  # fmt: skip


def test_each_role_may_do_what_the_document_says(open_to_the_net):
    daemon = open_to_the_net
    asked = {
        "use": [daemon.client(admin=False), over_tcp(daemon, TOKENS["use"])],
        "admin": [daemon.client(), over_tcp(daemon, TOKENS["admin"])],
        "metrics": [over_tcp(daemon, TOKENS["metrics"])],
    }
    for role, clients in asked.items():
        for client in clients:
            for name, status in ask_everything(client).items():
                verb = next(v for v in VERBS if v.name == name)
                assert (status == 403) == (RANK.get(verb.role, -1) > RANK[role]), (role, name, status)
                assert status != 401


@pytest.mark.parametrize("token", [None, "", "wrong", "the token of admi", "the token of admin "])
def test_without_a_good_token_nothing_is_told_but_the_empty_page(open_to_the_net, token):
    right = token is not None and token.strip() in TOKENS.values()
    with over_tcp(open_to_the_net, token) as client:
        for verb in VERBS:
            if verb.name != "events":
                status = client.request(verb.method, verb.path, nonsense="1")[0]
                assert (status == 401) != (right or verb.role == "anyone"), verb.name
        assert (client.request("GET", "/nowhere")[0] == 401) != right


def test_another_name_for_us_is_refused(open_to_the_net):
    with over_tcp(open_to_the_net, TOKENS["use"]) as client:
        connection = client._open()
        connection.request("GET", "/v1/status", headers={"Host": "evil.example", "Authorization": "Bearer x"})
        assert connection.getresponse().status == 421
        connection.close()


def test_the_fingerprint_is_told_and_another_certificate_is_not_ours(open_to_the_net):
    from edgecl.service.certificate import fingerprint

    print_ = fingerprint(open_to_the_net.folder / "state" / "tls" / "certificate.pem")
    assert print_ in open_to_the_net.text
    with pytest.raises(Exception, match="does not answer"):
        Client(f"https://127.0.0.1:{open_to_the_net.port}", token=TOKENS["use"]).status()


def test_tokens_that_everybody_may_read_or_that_are_none_are_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"use me {'0' * 64}\n")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="Everybody may read"):
        read_tokens(path)
    path.chmod(0o600)
    assert [t.name for t in read_tokens(path)] == ["me"]
    path.write_text("root me secret\n")
    with pytest.raises(ValueError, match="Line 1"):
        read_tokens(path)


def test_a_port_without_tokens_is_refused(tmp_path):
    made = Daemon(tmp_path)
    made.arguments = ["--listen", "127.0.0.1:0"]
    made.launch()
    assert made.process.wait(60) == 2
    assert "without tokens" in made.text


def test_sockets_are_the_owners_and_the_groups_alone(open_to_the_net):
    for name in ("api.sock", "admin.sock"):
        assert (open_to_the_net.folder / "run" / name).stat().st_mode & 0o777 == 0o660
