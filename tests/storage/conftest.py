import numpy as np
import pytest
from store_samples import logits_of, sample_of


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
