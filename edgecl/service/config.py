"""ServiceConfig: the sections of edgecl.toml, checked before anything is opened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import parsing as p
from ..errors import BadInput, unknown_name
from ..fleet.quantise import FORMATS
from ..storage.bounded import read_table


def _option(default: Any, parser: p.Parser, about: str) -> Any:
    return field(default=default, metadata={"parse": parser, "about": about})


def _listen(name: str, raw: Any) -> str:
    """HOST:PORT; the host is an address or a name, an IPv6 address stands in brackets."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", str(raw))
    if found is None or int(found[2]) > 65535:
        raise BadInput(f"{name} is '{raw}'.", "Write it like 127.0.0.1:8470.")
    return str(raw)


def _when(name: str, raw: Any) -> str:
    """``samples:N``, ``idle``, ``manual`` or ``HH:MM-HH:MM``."""
    text = str(raw)
    if text in ("idle", "manual") or (re.fullmatch(r"samples:\d+", text) and int(text[8:]) >= 1):
        return text
    found = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text)
    if found is None or max(int(found[1]), int(found[3])) > 23 or max(int(found[2]), int(found[4])) > 59:
        raise BadInput(f"{name} is '{raw}'.", "Write samples:64, idle, manual, or hours such as 22:00-06:00.")
    return text


def _hours(name: str, raw: Any) -> str:
    """``HH:MM-HH:MM``."""
    if "-" not in str(raw):
        raise BadInput(f"{name} is '{raw}'.", "Write hours such as 22:00-06:00.")
    return _when(name, raw)


def _labels(name: str, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, (list, tuple)) or not all(isinstance(v, str) and 0 < len(v) <= 128 for v in raw):
        raise BadInput(f"{name} is {raw!r}.", 'Give a list of labels, such as ["cat"].')
    return tuple(raw)


def _hosts(name: str, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, (list, tuple)) or not all(isinstance(h, str) and h for h in raw):
        raise BadInput(f"{name} is {raw!r}.", 'Give a list of names, such as ["pi.local"].')
    return tuple(h.lower() for h in raw)


@dataclass(frozen=True)
class Serve:
    """Where it keeps its state, where it listens, and its limits."""

    state: str = _option("/var/lib/edgecl", p.text, "folder of store, saved states, slots and journal")
    run: str = _option("/run/edgecl", p.text, "folder of the two sockets")
    use_group: str | None = _option(None, p.text, "group that may use api.sock")
    admin_group: str | None = _option(None, p.text, "group that may use admin.sock")
    listen: str | None = _option(None, _listen, "also serve on HOST:PORT, with a token")
    hosts: tuple[str, ...] = _option((), _hosts, "names by which clients call us, beside localhost and HOST")
    tokens: str | None = _option(None, p.text, "file of 'role name sha256(token)' lines; needed by listen")
    tls: bool = _option(False, p.flag, "TLS on listen, with a certificate of our own where none is named")
    certificate: str | None = _option(None, p.text, "TLS certificate (PEM)")
    key: str | None = _option(None, p.text, "its private key (PEM)")
    root_key: str | None = _option(None, p.text, "file of the root key that encrypts store and saved states")
    connections: int = _option(64, p.count(1, 4096), "connections at once on a socket")
    max_body: int = _option(8_000_000, p.size, "bytes of a request's body at most")
    waiting_rows: int = _option(256, p.count(1), "samples that may wait for a prediction")
    unsure_below: float | None = _option(
        None, p.fraction(), "answer null, and keep the sample for a label, where the best probability is lower"
    )
    switch_interval: float = _option(0.001, p.duration, "the interpreter's, in seconds")
    stall: float | None = _option(None, p.duration, "without a step for so long, training counts as hung")
    healthy: float = _option(60.0, p.duration, "seconds after which a start counts as well")
    reserve: int | None = _option(None, p.size, "bytes kept free for a last save; default: of a saved state")
    log: str = _option("info", p.choice(("debug", "info", "warning", "error")), "least level that is logged")


@dataclass(frozen=True)
class Learn:
    """When it learns."""

    when: str = _option("samples:64", _when, "samples:N new ones, idle, manual, or hours such as 22:00-06:00")
    slice: float = _option(10.0, p.duration, "seconds of training at a time")
    checkpoint_every: float = _option(600.0, p.duration, "seconds between saved states while there is something new")
    end_task: str = _option(
        "task", p.choice(("never", "command", "task")), "who ends a task: nobody, a command, or a new task's name"
    )


@dataclass(frozen=True)
class Holdout:
    """What is kept out of training to judge it, and what is done about a model that got worse."""

    share: float = _option(0.05, p.fraction(high_open=True), "share of every label's samples; 0: none")
    most: int = _option(128, p.count(8, 4096), "samples at most, as many of each label")
    least: int = _option(40, p.count(8), "samples below which nothing is rolled back")
    worse: float = _option(3.0, p.real(0.0), "points of accuracy lost that count")
    p: float = _option(0.01, p.fraction(True), "level of the exact one-sided McNemar test")


@dataclass(frozen=True)
class Pool:
    """Samples that wait for a label."""

    samples: int = _option(256, p.count(1), "at most")
    bytes: int = _option(4_000_000, p.size, "in RAM at most")
    age: float = _option(86400.0, p.duration, "seconds that a sample waits at most")


@dataclass(frozen=True)
class Watch:
    """A folder whose files become samples."""

    folder: str | None = _option(None, p.text, "NAME/*.jpg|png|npy are samples of NAME, _unlabelled/* wait for a label")
    every: float = _option(1.0, p.duration, "seconds between looks; a file that stood still in between is taken")


def _name(name: str, raw: Any) -> str:
    """Part of a topic."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(raw)):
        raise BadInput(f"{name} is '{raw}'.", "Use letters, digits, - and _.")
    return str(raw)


@dataclass(frozen=True)
class Mqtt:
    """A broker that samples come from and predictions go to."""

    host: str | None = _option(None, p.text, "of the broker")
    port: int = _option(1883, p.count(1, 65535), "of the broker")
    name: str = _option("device", _name, "of this device, in topics: edgecl/NAME/observe ...")
    username: str | None = _option(None, p.text, "at the broker")
    password_file: str | None = _option(None, p.text, "file of the password")
    tls: bool = _option(False, p.flag, "encrypt, and check the broker's certificate")
    authority: str | None = _option(None, p.text, "file of the authority that signed it (PEM)")
    commands: bool = _option(False, p.flag, "hear edgecl/NAME/cmd: learn, stop, pause, resume, save")
    discovery: bool = _option(True, p.flag, "tell Home Assistant of the device")
    every: float = _option(60.0, p.duration, "seconds between states")


@dataclass(frozen=True)
class Fleet:
    """Whether and when the device learns together with others, and what that may take."""

    join: bool = _option(False, p.flag, "take part in rounds")
    name: str | None = _option(None, _name, "of this device in the fleet; default: drawn once, kept in the state")
    form: str = _option("f16", p.choice(FORMATS), "of what is sent")
    steps: int = _option(200, p.count(1), "of training in a round at most")
    least: int = _option(32, p.count(1), "samples below which it takes no part")
    hours: str | None = _option(None, _hours, "only then, such as 22:00-06:00")
    bytes_per_day: int | None = _option(None, p.size, "sent and received in 24 hours at most")
    on_battery: bool = _option(False, p.flag, "also while a battery discharges")
    bn: str = _option("local", p.choice(("local", "mean")), "running statistics stay here, or travel")
    wanted: tuple[str, ...] = _option((), _labels, "labels whose rows it is sent before it has a sample of them")


SECTIONS: Mapping[str, type] = {
    "serve": Serve, "learn": Learn, "holdout": Holdout, "pool": Pool, "watch": Watch, "mqtt": Mqtt, "fleet": Fleet,
}  # fmt: skip
# what SIGHUP may change in a running daemon
RELOADABLE = frozenset({"serve.log", "serve.unsure_below", "serve.tokens", "learn.when", "learn.slice",
                        "learn.checkpoint_every", "holdout.worse", "holdout.p", "holdout.least"})  # fmt: skip


@dataclass(frozen=True)
class ServiceConfig:
    """All sections. ``learner`` and ``budget`` hold what `Learner` and `Budget` take, checked by them."""

    learner: Mapping[str, Any]
    budget: Mapping[str, Any] = field(default_factory=dict)
    serve: Serve = field(default_factory=Serve)
    learn: Learn = field(default_factory=Learn)
    holdout: Holdout = field(default_factory=Holdout)
    pool: Pool = field(default_factory=Pool)
    watch: Watch = field(default_factory=Watch)
    mqtt: Mqtt = field(default_factory=Mqtt)
    fleet: Fleet = field(default_factory=Fleet)

    @property
    def state(self) -> Path:
        return Path(self.serve.state)

    def flat(self) -> dict[str, Any]:
        """Values of the service's own sections by ``section.name``."""
        return {
            f"{section}.{f.name}": getattr(getattr(self, section), f.name)
            for section in SECTIONS
            for f in dataclasses.fields(SECTIONS[section])
        }


def make_config(tables: Mapping[str, Any]) -> ServiceConfig:
    """Checked sections. Raises `BadInput` with the nearest known name for an unknown one."""
    for name, table in tables.items():
        if name not in ("learner", "budget", *SECTIONS):
            raise unknown_name("section", name, ["learner", "budget", *SECTIONS])
        if not isinstance(table, Mapping):
            raise BadInput(f"[{name}] is {table!r}.", "Write it as a table.")
    sections = {name: _section(name, kind, tables.get(name, {})) for name, kind in SECTIONS.items()}
    learner, budget = dict(tables.get("learner", {})), dict(tables.get("budget", {}))
    if "input_shape" not in learner:
        raise BadInput("[learner] does not say what a sample looks like.", "Add input_shape = [1, 28, 28], or yours.")
    for name, owner in (("path", "serve.state"), ("store", "serve.state"), ("root_key", "serve.root_key"),
                        ("budget", "[budget]"), ("use", "edgecl serve --use")):  # fmt: skip
        if name in learner:
            raise BadInput(f"[learner] names '{name}'.", f"Use {owner} instead.")
    _check_budget(budget)
    config = ServiceConfig(learner, budget, **sections)
    if config.serve.listen is not None and config.serve.tokens is None:
        raise BadInput("serve.listen opens a port without tokens.", "Add serve.tokens = FILE; see edgecl ctl token.")
    if (config.serve.certificate is None) != (config.serve.key is None):
        raise BadInput("A certificate goes with a key.", "Give both serve.certificate and serve.key.")
    return config


def _check_budget(budget: Mapping[str, Any]) -> None:
    from ..budget import Budget

    known = [f.name for f in dataclasses.fields(Budget)]
    for name in budget:
        if name not in known:
            raise unknown_name("option of [budget]", name, known)
    Budget(**budget)


def _section(name: str, kind: type, table: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in dataclasses.fields(kind)}
    values = {}
    for key, raw in table.items():
        if key not in known:
            raise unknown_name(f"option of [{name}]", key, known)
        values[key] = known[key].metadata["parse"](f"{name}.{key}", raw)
    return kind(**values)


def read_config(path: str | Path | None, given: Mapping[str, Any]) -> ServiceConfig:
    """The file's tables with ``given`` (by ``section.name``) over them."""
    tables: dict[str, Any] = {}
    if path is not None:
        try:
            tables = read_table(path, 1 << 20)
        except OSError as error:
            raise BadInput(f"'{path}' cannot be read: {error.strerror}.", "Check the path.") from error
        except ValueError as error:
            raise BadInput(f"'{path}' is not valid: {error}.", "Repair it; .toml or .json.") from error
        if not isinstance(tables, dict):
            raise BadInput(f"'{path}' is no table of sections.", "Write [learner], [serve] ...")
    tables = {name: dict(t) if isinstance(t, Mapping) else t for name, t in tables.items()}
    for name, value in given.items():
        section, dot, key = name.partition(".")
        if not dot:
            raise BadInput(f"--set {name} names no section.", "Write --set serve.listen=127.0.0.1:8470.")
        tables.setdefault(section, {})[key] = value
    return make_config(tables)
