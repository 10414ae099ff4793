"""Parts: what a trainer drives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..data.augment import Augmentation
from ..engine.base import Engine
from ..intake.front import FrontInUse
from ..methods import Method
from ..sparsity import SparseTraining
from ..storage import Carousel, EpisodicMemory, SampleStore
from .ledger import Ledger
from .randomness import Randomness


@dataclass
class Parts:
    """What a trainer drives; `build_parts` makes them from a configuration."""

    config: Config
    engine: Engine
    method: Method
    sparse: SparseTraining
    random: Randomness
    ledger: Ledger
    augment: Augmentation | None = None
    memory: EpisodicMemory | None = None
    policy: Any = None
    store: SampleStore | None = None
    carousel: Carousel | None = None
    front: FrontInUse | None = None
