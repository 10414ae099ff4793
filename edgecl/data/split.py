"""Which samples test, where the data does not say so itself: by share, by subject, or by file."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput
from .naming import natural_key

SHARE = 0.2
FEWEST_SUBJECTS = 3  # from so many on, unseen subjects are the test unless another was asked for


def last_part_of_each(groups: np.ndarray, fraction: float) -> np.ndarray:
    """bool [n]: the last ``fraction`` (rounded, at least one of two or more) of every group in file order."""
    chosen = np.zeros(groups.size, bool)
    for group in np.unique(groups):
        where = np.flatnonzero(groups == group)
        k = min(max(1, round(fraction * where.size)), where.size - 1)
        chosen[where[where.size - k :]] = True
    return chosen


def choose_test(
    units: np.ndarray,
    *,
    asked: str | None,
    subjects: np.ndarray | None = None,
    subject_names: list[str] | None = None,
    files: np.ndarray | None = None,
    tasks: np.ndarray | None = None,
) -> tuple[np.ndarray, str]:
    """(bool [n]: the test part, how it was chosen in words) for samples of classes ``units`` [n].

    Not ``asked`` for: unseen subjects where three or more are named and every class stays in training; else unseen
    files where files give several samples; else the last fifth of every class (of a task).
    """
    kind, _, rest = (asked or "").partition(":")
    if kind == "subject":
        return _by_subject(units, subjects, subject_names, rest)
    if kind == "file":
        if files is None:
            raise BadInput("The data names no files to test on.", "Give --test-split a share, such as 0.2.")
        return _by_file(units, files, _share(rest)), "tested on unseen files"
    if asked is None:
        if subjects is not None and np.unique(subjects).size >= FEWEST_SUBJECTS:
            test, said = _by_subject(units, subjects, subject_names, "")
            if _teaches_all(units, test):
                return test, said
        if files is not None and np.unique(files).size < units.size:
            test = _by_file(units, files, SHARE)
            if _teaches_all(units, test) and _tests_all(units, test):
                return test, "tested on unseen files"
    share = float(kind) if kind else SHARE
    groups = units if tasks is None else np.unique(np.stack([units, tasks]), axis=1, return_inverse=True)[1].ravel()
    return last_part_of_each(groups, share), f"tested on the last {100 * share:g} % of every class"


def _teaches_all(units: np.ndarray, test: np.ndarray) -> bool:
    return np.unique(units[~test]).size == np.unique(units).size


def _tests_all(units: np.ndarray, test: np.ndarray) -> bool:
    return np.unique(units[test]).size == np.unique(units).size


def _share(text: str) -> float:
    try:
        share = float(text or SHARE)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise BadInput(f"The share '{text}' cannot be read.", "Give a fraction between 0 and 1, such as 0.2.")
    return share


def _by_subject(
    units: np.ndarray, subjects: np.ndarray | None, names: list[str] | None, rest: str
) -> tuple[np.ndarray, str]:
    """The named subjects, or the last share of them in natural order."""
    if subjects is None or np.unique(subjects).size < 2:
        raise BadInput("The data does not name two subjects.", "Give --test-split a share, such as 0.2.")
    known = {str(s if names is None else names[s]): int(s) for s in np.unique(subjects)}
    order = sorted(known, key=natural_key)
    if (rest and not _is_number(rest)) or rest in known:
        chosen = [part.strip() for part in rest.split(",")]
        if unknown := [name for name in chosen if name not in known]:
            raise BadInput(f"There is no subject '{unknown[0]}'.", f"Known: {', '.join(order)}.")
        if len(set(chosen)) == len(order):
            raise BadInput("All subjects would test, none would train.", "Name fewer.")
    else:
        share = _share(rest)
        chosen = order[len(order) - min(max(1, round(share * len(order))), len(order) - 1) :]
    test = np.isin(subjects, [known[name] for name in chosen])
    shown = ", ".join(chosen[:6]) + (f" and {len(chosen) - 6} more" if len(chosen) > 6 else "")
    return test, f"tested on {len(chosen)} unseen subject{'s' * (len(chosen) > 1)} ({shown})"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_file(units: np.ndarray, files: np.ndarray, share: float) -> np.ndarray:
    """The last share of every class's files; a file that holds several classes tests or trains as a whole."""
    test = np.zeros(units.size, bool)
    taken: dict[int, bool] = {}
    for unit in np.unique(units):
        own = np.unique(files[units == unit])
        k = min(max(1, round(share * own.size)), own.size - 1)
        for place, file in enumerate(own.tolist()):
            taken.setdefault(file, place >= own.size - k)
    chosen = [file for file, tests in taken.items() if tests]
    test[np.isin(files, chosen)] = True
    return test
