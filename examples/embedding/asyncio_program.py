"""An asyncio program that holds a Learner: every call that takes longer than a moment goes to a thread."""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from edgecl import Learner


async def main(folder: str) -> int:
    """Learn while the loop goes on; how often the loop came round meanwhile."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (64, 1, 12, 12)).astype(np.uint8), ["one", "two"] * 32
    rounds = 0
    with Learner("mlp", input_shape=(1, 12, 12), classes=2, batch=8, store=f"{folder}/store") as learner:
        ticket = await asyncio.to_thread(learner.observe, x, y)
        learning = asyncio.create_task(asyncio.to_thread(learner.learn, steps=100))
        await asyncio.to_thread(ticket.wait)
        while not learning.done():
            rounds += 1
            await asyncio.sleep(0.001)
        await asyncio.to_thread(learner.predict, x)
    return rounds


if __name__ == "__main__":
    print(f"the loop came round {asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else 'embedded'))} times")
