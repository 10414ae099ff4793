"""Errors a user can cause. Each says what was wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable


class EdgeclError(Exception):
    """A user's mistake or an unmet condition: ``cause`` (what was wrong, where) and ``remedy`` (what to do).

    The command line prints both, one line each, and exits with 2.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause} {remedy}".strip())
        self.cause = cause
        self.remedy = remedy


class BadInput(EdgeclError, ValueError):
    """A value that cannot be used: a name, a size, a fraction, a sample, a label."""


class NothingLearned(BadInput):
    """A prediction was asked of a learner that has not learned anything yet."""


class InfeasibleBudget(EdgeclError):
    """No plan fits the budget; the cause names what does not fit, the remedy the nearest budget that would."""


class CannotRetrain(EdgeclError):
    """Training anew without a subject is not possible; the cause names what it would need and is not there."""


class MissingExtra(EdgeclError, ImportError):
    """A feature needs an optional dependency that is not installed."""


def unknown_name(kind: str, name: str, known: Iterable[str], meant: str | None = None) -> BadInput:
    """A `BadInput` that lists the known names, the closest match first. ``meant``: the one that is known to be meant.

    >>> unknown_name("method", "derp", ["er", "der++"]).remedy
    "Did you mean 'der++'? Known: der++, er."
    """
    import difflib  # 17 ms and 1 MB that a program without a typing error need not pay

    names = sorted(known)
    close = [meant] if meant is not None else difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return BadInput(f"Unknown {kind} '{name}'.", f"{hint}Known: {', '.join(names)}.")


def require(module: str, extra: str):
    """Import an optional module or say which extra provides it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"This needs the package '{module}', which is not installed.",
            f"Install it with: pip install 'edgecl[{extra}]'",
        ) from error
