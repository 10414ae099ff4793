"""Three people teach, one leaves: their samples go from the flash, what was learned of them from the weights.

A store with a key forgets at once, by dropping a key; `retrain_without` learns anew what the others taught.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgecl.storage import KeyFile

from edgecl import Learner

PEOPLE = {"anna": 1, "ben": 2, "cleo": 3}


def spoken(person: int, count: int) -> tuple[np.ndarray, list[str]]:
    """uint8 [count, 1, 12, 12] of two words as one person says them, and the words."""
    rng = np.random.default_rng(person)
    y = np.arange(count) % 2
    x = rng.integers(0, 90, (count, 1, 12, 12)) + 15 * person
    x[y == 1, 0, person : person + 4] += 90
    return x.astype(np.uint8), ["yes" if k else "no" for k in y]


def main(folder: Path) -> None:
    with Learner("mlp", input_shape=(1, 12, 12), method="er", memory=60, batch=8, store=str(folder / "store"),
                 root_key=KeyFile(folder / "root.key"), path=str(folder / "saved")) as learner:  # fmt: skip
        for person in PEOPLE.values():
            learner.observe(*spoken(person, 30), subject=person).wait()
            learner.learn(epochs=3)
            learner.end_task()
        learner.save()
        receipt = learner.forget(PEOPLE["ben"])
        report = learner.retrain_without(PEOPLE["ben"])
        left = learner.predict(spoken(PEOPLE["anna"], 10)[0])
    print(f"{len(receipt.ids)} samples of Ben's are gone: {receipt.holds}")
    print(f"learned anew from {report.samples} samples in {report.steps} steps")
    print(f"Anna is still understood: {sum(a == b for a, b in zip(left, spoken(1, 10)[1]))} of 10")


if __name__ == "__main__":
    here = Path("forgetting")
    here.mkdir(exist_ok=True)
    main(here)
