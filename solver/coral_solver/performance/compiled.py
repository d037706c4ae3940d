"""How kernels are compiled: without the interpreter lock, cached on disk where that is possible."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

_log = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function for the types that it is called with."""
    return _compile(function)


def compiled_as(signature: object) -> Callable[[_Function], _Function]:
    """Compile a function for one signature.

    The one signature keeps the compile time low, and makes a wrong argument type an error instead
    of a second compilation.

    Parameters
    ----------
    signature
        Types of the result and of the arguments, as numba writes them.
    """
    return lambda function: _compile(function, signature)


def _compile(function: _Function, signature: object = None) -> _Function:
    types = cast("str | None", signature)  # numba's own types do not cover its signature objects
    try:
        return cast("_Function", njit(types, cache=True, nogil=True)(function))
    except RuntimeError as fault:
        # A read-only image without a writable NUMBA_CACHE_DIR: slower to start, otherwise the same.
        _log.debug("compiled code of %s is not kept: %s", function.__name__, fault)
        return cast("_Function", njit(types, nogil=True)(function))
