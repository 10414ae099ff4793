"""Options that had another name once: old files and programs go on working."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """What an option is called now. values : old value -> present one;  warns : whether its use is worth a word"""

    now: str
    values: Mapping[str, str] = MappingProxyType({})
    warns: bool = True


FORMER: Mapping[str, Renamed] = {
    "model": Renamed("network", warns=False),
    "mask": Renamed("sparsity_policy"),
    "sparcl": Renamed("sparse_schedule"),
    "carousel": Renamed("late_swaps", {"exact": "wait", "live": "drop"}),
}
ELSEWHERE: Mapping[str, str] = {  # what other libraries call our options, for the hint at a wrong name
    "learning_rate": "lr", "batch_size": "batch", "num_epochs": "epochs", "n_epochs": "epochs",
    "memory_size": "memory", "mem_size": "memory", "buffer_size": "memory", "replay_size": "memory",
    "replay_buffer": "memory", "minibatch_size": "replay_batch", "num_threads": "threads", "n_threads": "threads",
    "random_state": "seed", "random_seed": "seed", "architecture": "network", "backbone": "network", "net": "network",
    "dataset": "stream", "data": "stream", "strategy": "method", "optim": "optimizer", "optim_wd": "weight_decay",
    "wd": "weight_decay", "scheduler": "lr_schedule", "augmentation": "augment", "density": "sparsity",
    "max_memory": "ram", "image_size": "size", "resize": "size", "save_dir": "out", "output": "out",
}  # fmt: skip
_said: set[str] = set()


def present_names(options: Mapping[str, Any], *, warn: bool = False) -> dict[str, Any]:
    """``options`` by their present names and values; a present name wins over the former one.

    ``-`` in a name counts as ``_``. ``warn``: say once a process that a name is a former one; what our own files hold
    is read without a word.
    """
    given = {str(name).replace("-", "_"): value for name, value in options.items()}
    found = {}
    for name, value in given.items():
        renamed = FORMER.get(name)
        if renamed is None:
            found[name] = value
            continue
        value = renamed.values.get(value, value) if isinstance(value, str) else value
        if given.get(renamed.now) is None:
            found[renamed.now] = value
        if warn and renamed.warns and value is not None and name not in _said:
            _said.add(name)
            warnings.warn(f"The option '{name}' is called '{renamed.now}' now{_now(renamed, value)}.", FutureWarning, 3)
    return found


def _now(renamed: Renamed, value: Any) -> str:
    return f", its value '{value}'" if value in renamed.values.values() else ""
