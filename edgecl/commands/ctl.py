"""`edgecl ctl`: the verbs of a running daemon."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from .show import print_table

if TYPE_CHECKING:
    from ..service.client import Client

app = typer.Typer(help="Speak with a running `edgecl serve`.", no_args_is_help=True)
ADDRESS = typer.Option(
    "unix:/run/edgecl/admin.sock", "--address", metavar="ADDRESS", help="unix:PATH or http://HOST:PORT"
)
TOKEN = typer.Option(None, "--token-file", metavar="FILE", help="file of the token, over TCP")
JSON = typer.Option(False, "--json", help="print JSON")
SUBJECT = typer.Option(None, "--subject", metavar="N", help="whose samples they are")
FILES = typer.Argument(..., metavar="FILE..", help=".npy, .png, .jpg or raw samples")
_KINDS = {".npy": "application/x-npy", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def _client(address: str, token: str | None) -> Client:
    from ..service.client import Client
    from ..service.wire import token_in

    return Client(address, token=token_in(token))


def _show(found: Any, as_json: bool) -> int:
    if as_json or not isinstance(found, dict):
        print(json.dumps(found, indent=1))
        return 0
    print_table(["what", "value"], [[k, v if isinstance(v, str) else json.dumps(v)] for k, v in found.items()])
    return 0


@app.command("status", help="Everything there is to know; --ready: exit status 1 where it is not ready.")
def status(
    ready: bool = typer.Option(False, "--ready", help="only whether it is ready"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        found = client.status()
    if ready:
        about = {"ready": found["ready"], "reason": found["reason"]}
        print(json.dumps(about) if as_json else found["reason"] or "ready")
        return 0 if found["ready"] else 1
    return _show(found, as_json)


@app.command("predict", help="Labels of files.")
def predict(
    files: list[str] = FILES,
    keep: bool = typer.Option(False, "--keep", help="the samples wait for a label"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    found = {}
    with _client(address, token) as client:
        for name in files:
            found[name] = _send(client, "/v1/predict", name, **({"keep": 1} if keep else {}))
    if as_json:
        return _show(found, True)
    rows = []
    for name, f in found.items():
        ids = f.get("ids", [""] * len(f["labels"]))
        rows += [[name, *row] for row in zip(f["labels"], f["confidence"], ids)]
    print_table(["file", "label", "confidence", "id"], rows)
    return 0


@app.command("observe", help="Take files as samples of a label.")
def observe(
    files: list[str] = FILES,
    label: str = typer.Option(..., "--label", metavar="LABEL", help="of all; digits are a whole number"),
    subject: int = SUBJECT,
    task: str = typer.Option(None, "--task", metavar="NAME", help="a change of it ends the task before"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    about = {"label": label, "subject": subject, "task": task, "wait": "durable"}
    found = []
    with _client(address, token) as client:
        for name in files:
            found.append({"file": name, **_send(client, "/v1/observe", name, **about)})
    return _show(found, as_json) if as_json else _show({f["file"]: f"{f['taken']} taken" for f in found}, False)


def _send(client: Client, path: str, name: str, **query: Any) -> Any:
    kind = _KINDS.get(Path(name).suffix.lower(), "application/octet-stream")
    status, body, _ = client.request("POST", path, Path(name).read_bytes(), kind, **query)
    return client.answer(status, body)


@app.command("label", help="A label for a sample that waits.")
def label(
    sample: str = typer.Argument(..., metavar="ID"),
    name: str = typer.Argument(..., metavar="LABEL", help="digits are a whole number"),
    subject: int = SUBJECT,
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    from ..service.bodies import label_of

    row = {"id": sample, "label": label_of(name)} | ({} if subject is None else {"subject": subject})
    with _client(address, token) as client:
        found = client.label([row])[0]
    _show(found, as_json)
    return 0 if found["status"] == 202 else 1


@app.command("learn", help="Train now.")
def learn(
    steps: int = typer.Option(None, "--steps", metavar="N", help="so many steps"),
    epochs: int = typer.Option(None, "--epochs", metavar="N", help="so many epochs"),
    seconds: float = typer.Option(None, "--seconds", metavar="S", help="so many seconds"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        return _show(client.learn(steps=steps, epochs=epochs, seconds=seconds), as_json)


@app.command("forget", help="Forget a subject; --retrain: and make the weights again without it.")
def forget(
    subject: int = typer.Option(..., "--subject", metavar="N", help="whole number kept with the samples"),
    retrain: bool = typer.Option(False, "--retrain", help="also the weights"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        return _show(client.retrain_without(subject) if retrain else client.forget(subject), as_json)


@app.command("decisions", help="What the service decided.")
def decisions(
    since: int = typer.Option(0, "--since", metavar="N", help="only those with a higher number"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        found = client.decisions(since)
    if as_json:
        return _show(found, True)
    own = ("number", "kind", "step", "time", "boot")
    rows = []
    for d in found:
        about = {k: v for k, v in d.items() if k not in own}
        rows.append([d["number"], d["step"], d["kind"], json.dumps(about)])
    print_table(["number", "step", "decision", "about"], rows)
    return 0


@app.command("export", help="Write the model, or the samples, to a file.")
def export(
    to: str = typer.Argument(..., metavar="FILE"),
    what: str = typer.Option("model", "--what", metavar="model|samples", help="which"),
    address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        data = client.export(what)
    Path(to).write_bytes(data)
    return _show({"file": to, "bytes": len(data)}, as_json)


@app.command("metrics", help="Counters as Prometheus reads them; --textfile: to a file, for node_exporter.")
def metrics(
    textfile: str = typer.Option(None, "--textfile", metavar="FILE", help="replaced whole; best in /run"),
    address: str = ADDRESS, token: str = TOKEN,
) -> int:  # fmt: skip
    with _client(address, token) as client:
        text = client.metrics()
    if textfile is None:
        print(text, end="")
    else:
        from ..storage.whole import write_whole

        write_whole(Path(textfile), text.encode(), 0o644)
    return 0


@app.command("token", help="Make a token: prints it, and the line for the tokens file on stderr.")
def token_(
    name: str = typer.Argument(..., metavar="NAME", help="for people: whose it is"),
    role: str = typer.Option("use", "--role", metavar="use|admin|metrics", help="what it may do"),
) -> int:
    if role not in ("use", "admin", "metrics"):
        raise BadInput(f"The role is '{role}'.", "Use use, admin or metrics.")
    made = secrets.token_urlsafe(32)
    print(made)
    print(f"{role} {name} {hashlib.sha256(made.encode()).hexdigest()}", file=sys.stderr)
    return 0


def _plain(name: str, verb: str, about: str) -> None:
    def command(address: str = ADDRESS, token: str = TOKEN, as_json: bool = JSON) -> int:
        with _client(address, token) as client:
            return _show(client.verb(verb), as_json)

    app.command(name, help=about)(command)


for _name, _verb, _about in (
    ("end-task", "end-task", "The present task is over."),
    ("checkpoint", "checkpoint", "Save the state."),
    ("rollback", "rollback", "Go back to the model before the present one."),
    ("backup", "backup", "Write store and state to the backup folder."),
    ("pause", "pause", "Learn nothing of its own accord until resume."),
    ("resume", "resume", "Learn again, also after safe mode."),
    ("reload", "reload", "Read the configuration again."),
):
    _plain(_name, _verb, _about)
