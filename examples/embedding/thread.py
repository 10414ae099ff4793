"""A program of one's own that holds a Learner: one thread learns, the others observe and predict.

No fork after the learner was made: a store raises `UseAfterFork` in a forked child. `multiprocessing` with the start
method `spawn` is fine; so is `subprocess`.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

from edgecl import Learner


def main(folder: str) -> int:
    """Learn in the background while samples come; the share of right answers in the end, in per cent."""
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 2, 400)
    x = (rng.integers(0, 80, (400, 1, 12, 12)) + 120 * bright[:, None, None, None]).astype(np.uint8)
    y = np.where(bright, "bright", "dark").tolist()
    ended = threading.Event()
    with Learner("mlp", input_shape=(1, 12, 12), classes=2, batch=8, store=f"{folder}/store") as learner:
        learner.observe(x[:32], y[:32])

        def keep_learning() -> None:
            while not ended.is_set():
                learner.learn(steps=20)

        thread = threading.Thread(target=keep_learning)
        thread.start()
        for i in range(32, 300, 8):  # from this thread, or from any other
            learner.observe(x[i : i + 8], y[i : i + 8])
        ended.set()
        learner.stop()  # ends the running call after its present step
        thread.join()
        learner.learn(epochs=2)
        found = learner.predict(x[300:])
        learner.save(f"{folder}/saved")
    return round(100 * sum(a == b for a, b in zip(found, y[300:])) / 100)


if __name__ == "__main__":
    print(f"{main(sys.argv[1] if len(sys.argv) > 1 else 'embedded')} % right")
