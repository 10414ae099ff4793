"""How many forks lie between this process and the one that loaded the package: threads do not survive one."""

from __future__ import annotations

import os

generation = 0


def _forked() -> None:
    global generation
    generation += 1


os.register_at_fork(after_in_child=_forked)
