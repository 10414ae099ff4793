import os
import subprocess

import numpy as np
import pytest
from edgecl.storage import opening
from failing_card import Card
from store_samples import logits_of, sample_of


@pytest.fixture(autouse=True)
def segments_of_the_usual_size():
    """Lives and campaigns make them small, for the process: the next test finds them as they were."""
    usual = opening.FILE_BYTES
    yield
    opening.FILE_BYTES = usual


@pytest.fixture
def fill():
    """fill(store, classes, **more): appends one sample per class entry, continuing the ids."""

    def run(store, classes, chunk=50, logits=False, **more):
        ticket = None
        for at in range(0, len(classes), chunk):
            part = np.asarray(classes[at : at + chunk])
            ids = store.next_id + np.arange(len(part))
            fields = {"logits": logits_of(ids)} if logits else None
            ticket = store.append(sample_of(ids), part, fields=fields, **more)
        return ticket

    return run


@pytest.fixture
def card(tmp_path):
    """A card of 8 MB that can be made to fail."""
    if os.getuid() != 0:
        pytest.skip("a card of its own needs root (loop device)")
    try:
        made = Card(tmp_path / "card")
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"no loop device with ext4 here: {error}")
    yield made
    made.off()
