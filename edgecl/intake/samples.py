"""What a user gives as samples, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BadInput
from .spec import SampleSpec


def as_samples(x: Any, spec: SampleSpec) -> np.ndarray:
    """``x`` as a batch of ``spec``'s shape and dtype. Refuses by index what does not fit."""
    shape, dtype = spec.shape, np.dtype(spec.dtype)
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise BadInput("The samples have different shapes.", f"Give arrays of shape {shape}.") from error
    if x.shape == shape:
        x = x[None]
    if x.shape[1:] != shape or x.dtype.kind not in "uif":
        raise BadInput(
            f"The samples are {x.dtype} {x.shape}, this learner takes {dtype} {shape} or many of them.",
            "Reshape them, or make the Learner with their input_shape.",
        )
    if x.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        if bad.size:
            raise BadInput(
                f"Sample {bad[0]} holds NaN or infinity" + (f" ({bad.size} such)." if bad.size > 1 else "."),
                "Repair or leave out these samples.",
            )
    if dtype.kind in "iu" and x.dtype != dtype:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        wrong = (x < least) | (x > most) | (x != np.floor(x))
        bad = np.flatnonzero(wrong.reshape(len(x), -1).any(axis=1))
        if bad.size:
            raise BadInput(
                f"Sample {bad[0]} holds values that are not whole numbers from {least} to {most}.",
                "Make the Learner with dtype='float32', or scale the samples.",
            )
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(x, dtype)
    if x.dtype.kind == "f" and x.dtype.itemsize > dtype.itemsize == 4:
        bad = np.flatnonzero(~np.isfinite(converted).reshape(len(x), -1).all(axis=1))
        if bad.size:
            raise BadInput(f"Sample {bad[0]} holds values that are too large for float32.", "Scale the samples.")
    return converted


def as_subject(subject: Any) -> int:
    """A subject's number. Refuses what is none, fractions and truth values included."""
    whole = isinstance(subject, (int, np.integer)) and not isinstance(subject, bool)
    if not whole or not 0 <= subject < 2**31:
        raise BadInput(f"{subject} is no subject.", "Subjects are whole numbers from 0.")
    return int(subject)
