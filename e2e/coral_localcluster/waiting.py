"""Bounded polling: the one place where this package waits for something."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from coral_localcluster.errors import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")


def poll_until(
    probe: Callable[[], ResultT | None],
    *,
    timeout_s: float,
    what: str,
    interval_s: float = 0.05,
    detail: Callable[[], str] | None = None,
) -> ResultT:
    """Call ``probe`` until its answer is true, and return that answer.

    Parameters
    ----------
    probe
        Asked at least once, and once more at the deadline. A false answer
        (``None``, ``False``, empty) means "not yet"; an exception is let through.
    timeout_s
        Longest time to wait, in seconds.
    what
        What is waited for; completes the sentence "timed out waiting for ...".
    interval_s
        Pause between two questions, in seconds.
    detail
        Called once, on a timeout, for what is known about why.

    Returns
    -------
    ResultT
        The first true answer.

    Raises
    ------
    WaitTimeoutError
        If the deadline passes first (``reason="WaitTimeout"``).
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        is_last_question = time.monotonic() >= deadline_s
        answer = probe()
        if answer:
            return answer
        if is_last_question:
            message = f"timed out after {timeout_s:g} s waiting for {what}"
            if detail is not None:
                message += f": {detail()}"
            raise WaitTimeoutError("WaitTimeout", message, what=what, timeout_s=timeout_s)
        time.sleep(max(0.0, min(interval_s, deadline_s - time.monotonic())))
