"""Seeded augmentations of a batch, in numpy, by name. Each returns a new array of equal shape and dtype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import BadInput, unknown_name

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
JITTER = 0.05  # standard deviation of added noise, in units of the sample's own standard deviation
SCALING = 0.1  # standard deviation of the factor per sample and channel


def get_augmentation(name: str, kind: str, shape: tuple[int, ...]) -> Augmentation:
    """The augmentation ``name`` for samples of ``shape`` (C, H, W) and ``kind`` 'image' or 'signal'.

    The result maps (x [B, C, H, W], rng) to a new array of the same shape and dtype.
    """
    if name not in AUGMENTATIONS:
        raise unknown_name("augmentation", name, AUGMENTATIONS)
    fits, build = AUGMENTATIONS[name]
    if fits not in (kind, "any"):
        usable = [n for n, (k, _) in AUGMENTATIONS.items() if k in (kind, "any")]
        raise BadInput(
            f"The augmentation '{name}' is for {fits}s, the stream holds {kind}s.",
            f"Use {', '.join(usable)}.",
        )
    return build(shape)


def crop_padding(shape: tuple[int, ...]) -> int:
    """Padding of the random crop: an eighth of the side, so 4 at 32; 2 at 28, which has little border."""
    side = min(shape[1], shape[2])
    return 2 if side == 28 else max(1, side // 8)


def _none(shape: tuple[int, ...]) -> Augmentation:
    return lambda x, rng: x.copy()


def _crop(shape: tuple[int, ...]) -> Augmentation:
    pad = crop_padding(shape)

    def crop(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, _, h, w = x.shape
        shifts = rng.integers(0, 2 * pad + 1, (len(x), 2))
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        out = np.empty_like(x)
        for i, (top, left) in enumerate(shifts.tolist()):
            out[i] = padded[i, :, top : top + h, left : left + w]
        return out

    return crop


def _flip(shape: tuple[int, ...]) -> Augmentation:
    def flip(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = x.copy()
        chosen = rng.random(len(x)) < 0.5
        out[chosen] = x[chosen, :, :, ::-1]
        return out

    return flip


def _jitter(shape: tuple[int, ...]) -> Augmentation:
    def jitter(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        scale = JITTER * x.std(axis=(2, 3), keepdims=True, dtype=np.float32)
        return _like(x, x + scale * rng.standard_normal(x.shape, np.float32))

    return jitter


def _scaling(shape: tuple[int, ...]) -> Augmentation:
    def scaling(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        factor = 1 + SCALING * rng.standard_normal((len(x), x.shape[1], 1, 1), np.float32)
        return _like(x, x * factor)

    return scaling


def _like(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``y`` in the dtype of ``x``, rounded and clipped for integers."""
    if x.dtype == np.uint8:
        return np.clip(np.rint(y), 0, 255).astype(np.uint8)
    return y.astype(x.dtype, copy=False)


def _both(first: Callable, second: Callable) -> Callable[[tuple[int, ...]], Augmentation]:
    def build(shape: tuple[int, ...]) -> Augmentation:
        a, b = first(shape), second(shape)
        return lambda x, rng: b(a(x, rng), rng)

    return build


# name -> (kind of sample it fits, builder for a sample shape)
AUGMENTATIONS: dict[str, tuple[str, Callable[[tuple[int, ...]], Augmentation]]] = {
    "none": ("any", _none),
    "crop": ("image", _crop),
    "flip": ("image", _flip),
    "crop-flip": ("image", _both(_crop, _flip)),
    "jitter": ("signal", _jitter),
    "scaling": ("signal", _scaling),
    "jitter-scaling": ("signal", _both(_jitter, _scaling)),
}
