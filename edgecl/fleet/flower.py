"""A fleet on Flower: the two apps that `flwr run` carries. Flower brings bytes to devices and back; what they mean is
`edgecl.fleet.rounds` (server) and the daemon (device), which the client app asks through its admin socket.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from ..errors import EdgeclError
from ..service.client import Client
from ..service.wire import token_in

SOCKET = "unix:/run/edgecl/admin.sock"
ASKED = 1.3  # devices asked for each that is wanted


def client_app() -> ClientApp:
    """What a SuperNode starts for each message. Of the node's configuration it reads ``edgecl-address`` (default: the
    admin socket) and ``edgecl-token-file``. It imports no engine: the daemon learns.
    """
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return _answered(message, context, lambda client: {"known": json.dumps(client.fleet())})

    @app.train()
    def train(message: Message, context: Context) -> Message:
        asked = message.content["edgecl"]

        def work(client: Client) -> dict[str, Any]:
            update, found = client.fleet_round(bytes(asked["message"]), int(asked["steps"]))  # type: ignore[index]
            return {"update": update, "found": json.dumps(found)}

        return _answered(message, context, work)

    return app


def _answered(message: Message, context: Context, work: Any) -> Message:
    """A refusal of the daemon, or its silence, is an answer: nobody has to wait for a deadline."""
    node = context.node_config
    token = node.get("edgecl-token-file")
    try:
        address, given = str(node.get("edgecl-address", SOCKET)), token_in(None if token is None else str(token))
        with Client(address, token=given, timeout=120.0) as client:
            found = work(client)
    except (EdgeclError, OSError) as error:
        found = {"refused": getattr(error, "cause", str(error))}
    return Message(RecordDict({"edgecl": ConfigRecord(found)}), reply_to=message)


def server_app() -> ServerApp:
    """The server's part. The run's configuration says ``state`` (a folder that `edgecl fleet new` wrote), ``rounds``,
    ``steps``, ``wanted`` devices, ``deadline`` in seconds. A line of JSON a round goes to ``state``/rounds.jsonl.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        from .serving import Serving

        config = context.run_config
        serving = Serving(Path(str(config["state"])))
        rng = np.random.default_rng([serving.rounds.rules.seed, serving.rounds.round])
        for _ in range(int(config["rounds"])):
            _round(grid, serving, config, rng)

    return app


def _round(grid: Grid, serving: Any, config: Any, rng: np.random.Generator) -> None:
    """Ask who is there, send the model to some of those that want it, close with what came by the deadline."""
    from .refusals import BadUpdate

    wanted, deadline = int(config["wanted"]), float(config["deadline"])
    began, number, why = time.monotonic(), serving.rounds.round, list[str]()
    nodes = _nodes(grid, wanted, deadline)
    asked = [_message(n, MessageType.QUERY, {"round": number}, number, deadline) for n in nodes]
    willing = []
    for node, found in _replies(grid, asked, deadline / 2, why):
        about = json.loads(str(found.get("known", "{}")))
        reason = found.get("refused") or about.get("refused")
        if reason is None:
            willing.append((node, about))
        else:
            why.append(str(reason))
    chosen = sorted(willing, key=lambda w: w[1]["device"])
    few = min(len(chosen), math.ceil(ASKED * wanted))
    chosen = [chosen[i] for i in sorted(rng.choice(len(chosen), few, replace=False))] if chosen else []
    sent = []
    for node, about in chosen:
        try:
            body = {"message": serving.message(about), "steps": int(config["steps"])}
            sent.append(_message(node, MessageType.TRAIN, body, number, deadline))
        except BadUpdate as error:
            why.append(error.cause)
    for _, found in _replies(grid, sent, max(1.0, deadline - (time.monotonic() - began)), why):
        if "update" not in found:
            why.append(str(found.get("refused")))
            continue
        try:
            serving.take(bytes(found["update"]))
        except BadUpdate as error:
            why.append(f"{error.name}: {error.cause}")
    serving.close(nodes=len(nodes), asked=len(sent), seconds=round(time.monotonic() - began, 2), refusals=why)


def _nodes(grid: Grid, wanted: int, deadline: float) -> list[int]:
    """Nodes that are there; up to half of the deadline is waited for as many as are wanted."""
    limit = time.monotonic() + deadline / 2
    while len(found := sorted(grid.get_node_ids())) < wanted and time.monotonic() < limit:
        time.sleep(0.5)
    return found


def _message(node: int, kind: str, body: dict[str, Any], number: int, ttl: float) -> Message:
    return Message(RecordDict({"edgecl": ConfigRecord(body)}), dst_node_id=node, message_type=kind,
                   group_id=str(number), ttl=ttl)  # fmt: skip


def _replies(grid: Grid, asked: Sequence[Message], seconds: float, why: list[str]) -> list[tuple[int, Any]]:
    """(node, its record) of those that answered in time; errors go to ``why``. None at all is an answer, too."""
    found = []
    for reply in grid.send_and_receive(asked, timeout=seconds) if asked else ():
        if reply.has_error():
            why.append(f"node: {reply.error.reason}")
        else:
            found.append((reply.metadata.src_node_id, reply.content["edgecl"]))
    return found
