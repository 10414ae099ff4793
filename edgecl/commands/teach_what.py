"""What `edgecl teach` teaches: a pretrained backbone where its weights are here, else a small network; as it began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..backbones import BACKBONES, backbone_name, weights_file
from ..errors import BadInput
from ..storage.whole import write_whole

USUAL, CUT, SIDE = "efficientnet_lite0", "pooled", 96  # pixels
SMALL, SMALL_SIDE = "cnn", 32
RATE = 16000  # of sound
LEARN = {"when": "samples:2", "slice": "1s", "checkpoint_every": "60s", "end_task": "never"}


class Asked(NamedTuple):
    """Options as they were given; None where nothing was said."""

    sound: bool
    backbone: str | None
    size: int | None
    network: str | None


class Taught(NamedTuple):
    """What is said of it before it begins, and the learner's options."""

    told: str
    learner: dict[str, Any]


def settings(folder: Path, asked: Asked) -> tuple[str, Path]:
    """What is said, and the file of settings, which `edgecl serve --config` takes too. A folder that holds a learner
    keeps those that it began with. Raises `BadInput` where others are asked for.
    """
    path = folder / "edgecl.json"
    if (folder / "state" / "learner").exists() and path.exists():
        if any(asked):
            raise BadInput(f"'{folder}' was begun before: what it teaches stays.", "Give another --state for another.")
        return "It goes on with what it was taught.", path
    taught = _chosen(asked)
    options = {**taught.learner, "batch": 16, "memory": 500}
    write_whole(path, json.dumps({"learner": options, "learn": LEARN}, indent=1).encode())
    return taught.told, path


def check(asked: Asked) -> None:
    """Raise `BadInput` for options that do not go together."""
    if asked.size is not None and not 8 <= asked.size <= 224:
        raise BadInput(f"--size is {asked.size}.", "Use 8 to 224 pixels.")
    if asked.sound and (asked.backbone or asked.size):
        raise BadInput("--sound goes with no --backbone or --size.", "Leave them out.")
    if asked.network is not None and asked.backbone not in (None, "none"):
        raise BadInput("--network goes with --backbone none.", "Leave it out: a backbone's own end learns.")
    if asked.backbone not in (None, "none"):
        backbone_name("--backbone", asked.backbone)


def _chosen(asked: Asked) -> Taught:
    if asked.sound:
        sound = {"input_shape": [1, 1, RATE], "dtype": "float32", "front": "logmel"}
        return Taught("It teaches a small network sounds of a second.", {**sound, "network": asked.network or "cnn1d"})
    wanted, why = _backbone(asked)
    if wanted is None:
        side = asked.size or SMALL_SIDE
        told = f"It teaches a small network from nothing, on pictures of {side} pixels{why}."
        return Taught(told, {"input_shape": [3, side, side], "network": asked.network or SMALL})
    side = asked.size or SIDE
    cut = {"cut": CUT} if wanted in BACKBONES and CUT in BACKBONES.get(wanted).cuts else {}  # a file says it itself
    options = {"input_shape": [3, side, side], "network": "tail", "backbone": wanted, "executor": "native", **cut}
    return Taught(f"It teaches {wanted}, which is pretrained: a few pictures of a class are enough.", options)


def _backbone(asked: Asked) -> tuple[str | None, str]:
    """Its name or file; or None, and why there is none where nobody asked for that."""
    if asked.backbone == "none":
        return None, ""
    if asked.backbone is not None:
        return backbone_name("--backbone", asked.backbone), ""
    if asked.network is not None or (asked.size is not None and asked.size < SIDE):
        return None, ""  # these ask for a small one
    if weights_file(USUAL).is_file():
        return USUAL, ""
    known = BACKBONES.get(USUAL)
    return None, (
        f": the weights of {USUAL}, which needs fewer pictures, are not here. Fetch them (edgecl models get {USUAL}: "
        f"{known.download / 1e6:.0f} MB, {known.licence}) and give another --state"
    )
