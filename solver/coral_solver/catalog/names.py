"""Names as people write them."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SEPARATORS = re.compile(r"[^a-z0-9.+/]+")


def fold(name: str) -> str:
    """Return a name without the differences that mean nothing: case, blanks, hyphens."""
    return _SEPARATORS.sub("", name.casefold())


def did_you_mean(name: str, known: Iterable[str], *, listed: Iterable[str] | None = None) -> str:
    """Return what to say after an unknown name.

    Parameters
    ----------
    name
        What was asked for.
    known
        The names that exist.
    listed
        Names to list where none is near; None: all.

    Returns
    -------
    str
        ``did you mean L4 or L40?``, or the list of names where none is near.
    """
    by_fold = {fold(candidate): candidate for candidate in sorted(set(known), reverse=True)}
    near = difflib.get_close_matches(fold(name), by_fold, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(by_fold[candidate] for candidate in near)}?"
    return f"known are {', '.join(sorted(by_fold.values() if listed is None else listed))}."
