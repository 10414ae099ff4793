"""Samples that follow from their id, so that a mix-up shows."""

import numpy as np
from edgecl.storage import FieldSpec, StreamSchema

SCHEMA = StreamSchema((1, 6, 6), "uint8", {"logits": FieldSpec("float16", 12), "weight": FieldSpec("float32", 1)})


def sample_of(ids, schema=SCHEMA):
    """A sample that follows from its id, so that a mix-up shows."""
    ids = np.atleast_1d(np.asarray(ids))
    flat = np.random.default_rng(7).integers(0, 256, int(np.prod(schema.sample_shape)))
    rows = (flat[None] + ids[:, None] * 31 + ids[:, None] // 7) % 256
    return rows.astype(schema.sample_dtype).reshape(len(ids), *schema.sample_shape)


def logits_of(ids, width=4):
    ids = np.atleast_1d(np.asarray(ids))
    return (ids[:, None] % 97 + np.arange(width) / 8).astype(np.float16)
