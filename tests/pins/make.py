"""Writes the pinned files again: python tests/pins/make.py. Only for a version whose files all later ones must open;
what is pinned was written by 0.1.0, before the training core was rebuilt."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import stories
from edgecl.storage import KeyFile

import edgecl
from edgecl.run import run

HERE = Path(__file__).parent


def pack(folder: Path, name: str) -> None:
    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != "lock":
                archive.add(path, path.relative_to(folder))


def go_on(learner: edgecl.Learner, x: np.ndarray, steps: int) -> dict[str, object]:
    """What it says of ``x`` when it is opened, and after so many steps more."""
    found = {"labels": list(learner.labels), "counters": {k: learner.counters[k] for k in ("steps", "flops", "stored")}}
    found["opened"] = learner.predict(x, proba=True).tolist()
    learner.learn(steps=steps)
    found["later"] = learner.predict(x, proba=True).tolist()
    learner.close()
    return found


def main() -> None:
    expected: dict[str, object] = {}
    for name in ("learner", "learner_encrypted", "learner_in_ram", "run", "run_encrypted"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            os.environ["EDGECL_CACHE"] = str(folder / "cache")
            work = folder / "work"
            work.mkdir()
            here = os.getcwd()
            os.chdir(work)  # saved states name the store as it was given
            if name.startswith("learner"):
                key = KeyFile(folder / "work/key") if name == "learner_encrypted" else None
                if name == "learner_in_ram":
                    stories.in_ram(Path("."))
                    x = np.concatenate([stories.signals(u, 3, 7) for u in range(3)])
                else:
                    stories.with_store(Path("."), key)
                    x = np.concatenate([stories.samples(u, 3, 7) for u in range(6)])
                pack(work, name)
                learner = edgecl.Learner.open("saved", root_key=key)
                expected[name] = go_on(learner, x, 7)
            else:
                stories.make_stream(Path("stream.npz"))
                more = {"root_key_file": "key"} if name == "run_encrypted" else {}
                if more:
                    KeyFile(folder / "work/key")
                stories.cut_run(Path("."), 23, **more)
                pack(work, name)
                record = run({}, resume="out")
                whole = {k: record[k] for k in ("accuracy_matrix", "task_il_accuracy_matrix", "steps", "flops")}
                expected[name] = {**whole, "sparsity": record["sparsity"]["mask"], "record": record}
            os.chdir(here)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
