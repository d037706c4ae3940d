"""What compiled code shares: numba's decorators with types, and a few constants.

numba's disk cache of a kernel is renewed when the kernel's own file changes, not when a function
that it calls does: a ``part`` must stay in the file of the kernels that call it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])

FIRST, MIDDLE, LAST, ONLY = 0, 1, 2, 3
"""Values of ``StageRole``: compiled code takes plain integers."""

BOUND_SLACK = 1e-12
"""Rounding room that is given to bounds before they may discard anything."""


def part(function: _Function) -> _Function:
    """Compile a function that kernels of the same file call; it becomes part of them."""
    return cast("_Function", njit(nogil=True)(function))
