"""Backbone: the frozen first part of a pretrained network, whose latents are stored, replayed and learned from."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import BACKBONES, backbone_name, network_of
from ..checksums import checksum
from ..compiler.flops import weight_costs
from ..errors import BadInput
from ..graph import Graph, GraphBuilder
from ..graph.cut import check_cut, cut_points, prefix_of, tail_of
from ..graph.fold import fold_norms
from ..graph.importers.finish import fresh_head
from ..graph.registry import operator
from ..graph.widen import head_parameters
from ..network import Network
from ..options import option
from ..parsing import choice, count, text
from .base import Front
from .executors.choosing import Chosen, chosen
from .executors.registry import AUTO, EXECUTORS, executor_name
from .latents import FORMATS, Latents, chosen_format, scaled
from .resizing import Resizing

Array = np.ndarray
SATURATED = 0.01  # share of values outside their range that is worth a warning
ENOUGH = 100_000  # values that a share is judged from


class Backbone(Front):
    """Samples to latents of a frozen prefix: what makes the tensor ``cut`` of a network, batch norms folded.

    model : a name that `edgecl models` lists, a ``.edgecl`` file, or a `Network`, which then travels in saved states
    cut : a tensor that every way to the logits passes, or a name of the backbone's own, such as ``pooled``
    latent : ``uint8``, ``int8`` (scales per channel), ``float16``; default: uint8 behind a ReLU, else int8
    executor : who runs it: ``native``, ``onnxruntime``, a plugin's; default ``auto``: by a trial
        (`executors.choosing`)
    size : samples are pictures that are brought to so many pixels first

    Once `placed`: ``chosen`` says who runs it and why, ``bytes_apart`` its bytes.
    """

    name = "backbone"
    costly = True

    model: str | None = option(None, backbone_name, "a pretrained network", run="backbone")
    cut: str | None = option(None, text, "the tensor that is kept", run="cut")
    latent: str | None = option(None, choice(FORMATS), "how it is kept", run="latent")
    executor: str | None = option(None, executor_name, "who runs the prefix", run="executor")
    size: int | None = option(None, count(8, 4096), "bring pictures to this size first; grey ones get three channels")

    def __init__(self, **given: Any) -> None:
        self.network: Network | None = None
        if isinstance(given.get("model"), Network):
            self.network = given["model"]
            given["model"] = self.network.label
        super().__init__(**given)
        self._said: dict[str, Array] = {}  # of a saved state: scales and executor, which stay what they were
        self._values = self._outside = 0

    # -- made for raw samples

    def prepare(self, shape: tuple[int, ...], dtype: str) -> None:
        from ..give_back import trim

        self._resizing = Resizing(self.size, shape, dtype)
        network = self._read(lambda graph, tensor: prefix_of(graph, tensor).parameters)
        graph, tensor = network.graph, self._tensor(network.graph, network.about)
        form = chosen_format(graph, tensor, self.latent)
        self._latents = self._scales(network, tensor, form)
        prefix = folded_prefix(network, tensor, consume=self.network is None)
        del network
        trim()
        self._backbone = prefix.digest
        self.chosen = self._executor(prefix)
        self._run, graph = self.chosen.executor, prefix.graph
        self._run.open(prefix)
        del prefix
        trim()
        self.shape, self.dtype = graph.shapes[graph.logits], self._latents.dtype
        self.mean, self.std = self._latents.normalisation(self.shape[0])
        self.flops = prefix_flops(graph) + self._resizing.flops
        trial = self.chosen.trials.get(self._run.name) if self._run.measured else None
        own = self._resizing.bytes + 16 * int(np.prod(self.shape)) + 4 * self.shape[0]
        self.bytes_apart = dict(self._run.parts) if trial is None else {"measured": trial.bytes}
        self.bytes = own + sum(self.bytes_apart.values())

    def _read(self, needed: Callable[[Graph, str], Iterable[str]]) -> Network:
        """The backbone for samples as they are after resizing, with the weights that are ``needed`` of its graph and
        the tensor to cut at. Raises `BadInput`.
        """
        if self.model is None:
            known = "|".join(BACKBONES)
            raise BadInput("The front 'backbone' has no backbone.", f"Give --backbone {known}|FILE.edgecl.")
        shape, dtype = self._resizing.shape, self._resizing.dtype

        def names(graph: Graph, about: Mapping[str, Any]) -> set[str]:
            taken = graph.input_shape, graph.input_dtype
            if taken != (shape, dtype):
                raise BadInput(
                    f"The backbone '{self.model}' takes {taken[1]} samples of shape {taken[0]}, not {dtype} {shape}.",
                    "Give such samples, or pictures and --backbone-size.",
                )
            return set(needed(graph, self._tensor(graph, about)))

        network = self.network or network_of(self.model, shape, dtype, names)
        if missing := sorted(names(network.graph, network.about) - set(network.weights)):
            raise BadInput(
                f"The backbone '{self.model}' has no weights '{missing[0]}'.", "Give one with all its weights."
            )
        return network

    def _tensor(self, graph: Graph, about: Mapping[str, Any]) -> str:
        """The tensor to cut at, by its own name or the backbone's."""
        name = self.model or ""
        known = BACKBONES.get(name).cuts if name in BACKBONES else {}
        wanted = self.cut or about.get("cut")
        if not isinstance(wanted, str):
            names = ", ".join(known) or ", ".join(cut_points(graph)[-3:])
            raise BadInput(f"Nobody says where '{self.model}' is cut.", f"Give --cut, such as: {names}.")
        tensor = known.get(wanted, wanted)
        check_cut(graph, tensor)
        return tensor

    def _scales(self, network: Network, tensor: str, form: str) -> Latents:
        """As in the saved state, else from calibration or the graph."""
        if "scale" not in self._said:
            found = network.about.get("latents")
            calibration = found.get(tensor) if isinstance(found, Mapping) else None
            return scaled(network.graph, network.weights, tensor, form, calibration)
        scale = np.asarray(self._said["scale"])
        channels = 0 if form == "float16" else network.graph.shapes[tensor][0]
        if scale.dtype != np.float32 or scale.shape != (channels,) or not (np.isfinite(scale) & (scale > 0)).all():
            raise BadInput("The scales of the saved latents are not those of this cut.", "The state is damaged.")
        return Latents(form, scale)

    def _executor(self, prefix: Network) -> Chosen:
        if "executor" not in self._said:
            return chosen(self.executor or AUTO, prefix, self.budget_room)
        name = bytes(np.asarray(self._said["executor"], np.uint8)).decode("utf-8", "replace").partition(" ")[0]
        if self.executor not in (None, AUTO, name):
            raise BadInput(
                f"These latents were made by the executor '{name}', not by '{self.executor}'.",
                f"Use executor='{name}': latents of different executors are not mixed.",
            )
        if name not in EXECUTORS:
            raise BadInput(
                f"These latents were made by the executor '{name}', which is not here.",
                "Install what brings it; latents of different executors are not mixed.",
            )
        return chosen(name, prefix, self.budget_room)._replace(reason="as it began")

    def warm(self) -> None:
        """The code that a backbone is read, cut and run by."""
        _warm()

    # -- at work

    def __call__(self, x: Array) -> Array:
        out, outside = np.empty((len(x), *self.shape), self.dtype), 0
        for row, one in zip(out, x):
            values = self._run(self._resizing(one)[None])
            encoded, beyond = self._latents.encoded(values)
            row[...] = encoded[0]
            outside += beyond
        self._count(out.size, outside)
        return out

    def _count(self, values: int, outside: int) -> None:
        """Say once where more than a hundredth lies outside."""
        before, self._values, self._outside = self._values, self._values + values, self._outside + outside
        if before < ENOUGH <= self._values and self._outside > SATURATED * self._values:
            share = self._outside / self._values
            warnings.warn(
                f"{share:.1%} of the latents of '{self.cut}' lie outside their range: calibrate the cut on samples of "
                "yours (edgecl import --calibrate), or use latent='float16'.",
                stacklevel=2,
            )

    # -- what follows the cut

    def tail(self, classes: int) -> Network:
        """What follows the cut, with a fresh head for ``classes``: its input is the latents. Raises `BadInput`."""
        network = self._read(lambda graph, tensor: self._behind(graph, tensor, classes)[1])
        tail, needed = self._behind(network.graph, self._tensor(network.graph, network.about), classes)
        source = network.about.get("source")
        about = source if isinstance(source, Mapping) else {"name": network.graph.name}
        about = {"source": {**about, "prefix_sha256": self._backbone}}
        return Network(tail, {n: network.weights[n] for n in needed}, about)

    def _behind(self, graph: Graph, tensor: str, classes: int) -> tuple[Graph, list[str]]:
        """The graph behind the cut, and which of its weights are the backbone's: all but the head's."""
        mean, std = self._latents.normalisation(self.shape[0])
        fed = "float32" if self.dtype == "float16" else self.dtype
        tail, _ = fresh_head(tail_of(graph, tensor, fed, mean, std), {}, classes)
        head = head_parameters(tail)
        return tail, [n for n in tail.parameters if n not in head]

    # -- known by, saved

    @property
    def digest(self) -> str:
        """sha256 over what it is and its scales; the same whatever path the backbone came by."""
        return checksum(json.dumps(self._facts(), sort_keys=True), {"scale": self._latents.scale})

    def _facts(self) -> dict[str, Any]:
        facts = super()._facts()
        told = {"cut": self.cut, "latent": self._latents.format, "size": self.size}
        return {**facts, "options": told, "backbone": self._backbone, "executor": self._run.identity()}

    def state(self) -> dict[str, Array]:
        said = {"scale": self._latents.scale, "executor": _bytes(self._run.identity())}
        if self.network is None:
            return said
        about = _bytes(json.dumps({"graph": self.network.graph.to_json(), "about": dict(self.network.about)}))
        return {**said, "network": about, **{f"weight {n}": w for n, w in self.network.weights.items()}}

    def load(self, state: Mapping[str, Array]) -> None:
        self._said = {k: v for k, v in state.items() if k in ("scale", "executor")}
        if "network" in state:
            weights = {k.partition(" ")[2]: v for k, v in state.items() if k.startswith("weight ")}
            try:
                found = dict(json.loads(bytes(np.asarray(state["network"], np.uint8))))
            except (TypeError, ValueError) as error:
                raise BadInput("The backbone of the saved state cannot be read.", "The state is damaged.") from error
            self.network = Network.from_state({**found, "weights": weights})

    def choices(self) -> tuple[str, ...]:
        if self.executor not in (None, AUTO):
            return ()
        return (f"the backbone runs on {self._run.identity()}: {self.chosen.reason}",)

    def facts(self) -> dict[str, Any]:
        trials = {n: {"bytes": t.bytes, "milliseconds": t.milliseconds} for n, t in self.chosen.trials.items()}
        return {
            "chosen_because": self.chosen.reason, "trials": trials, "parts": dict(self.bytes_apart),
            "bytes_measured_in_a_trial": self._run.measured, "saturated": self._outside / max(1, self._values),
        }  # fmt: skip


@cache
def _warm() -> None:
    """Once: a tiny network out of a file, cut, run on our kernels."""
    from ..engine.warm import warm

    warm()
    g = GraphBuilder("tiny", (3, 8, 8), "uint8")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 3, std=[1.0] * 3)
    x = g.add("conv2d", [x], name="conv", out=4, kernel=[3, 3], padding=[1, 1])
    x = g.add("add", [x, g.add("batch_norm", [x], name="norm")], name="sum")
    x = g.add("global_avg_pool", [g.add("relu6", [x], name="act")], name="pooled")
    graph = g.build(g.add("linear", [x], name="logits", out=2, bias=True))
    weights = {n: np.ones(p.shape, np.float32) for n, p in graph.parameters.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Network(graph, weights).save(Path(folder) / "tiny.edgecl")
        front = Backbone(model=str(path), cut="pooled", executor="native", size=8).placed((1, 9, 9), "uint8")
        front(np.zeros((1, 1, 9, 9), np.uint8))
        front.tail(2)
        assert front.digest


def folded_prefix(network: Network, tensor: str, consume: bool = False) -> Network:
    """What makes ``tensor`` as a network of its own: frozen, batch norms folded; ``consume``: in its own arrays."""
    graph, weights = fold_norms(prefix_of(network.graph, tensor), network.weights, consume)
    return Network(replace(graph, name=network.graph.name), weights)


def prefix_flops(graph: Graph) -> int:
    """FLOPs of a sample, dense."""
    other = (operator(n.op, n.name).macs([graph.shapes[i] for i in n.inputs], n.attributes) for n in graph.nodes)
    return sum(c.forward(graph.parameters[c.name].size, 1) for c in weight_costs(graph, ())) + 2 * sum(other)


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8).copy()
