"""Turn a burst of changes into one step of the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coral_solver.domain.clock import Clock

IDLE_S = 0.2
"""A burst is over when nothing has changed for so long."""

BURST_S = 1.0
"""A burst that does not end is cut here."""


class Nudge:
    """A flag that is raised by changes and waited for by the loop.

    Parameters
    ----------
    clock
        Durations.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def __call__(self) -> None:
        """Say that something changed."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a burst of changes to end, or for the timeout.

        Parameters
        ----------
        timeout_s
            Longest wait for the first change, in seconds.

        Returns
        -------
        bool
            Whether anything changed.
        """
        if not await self._changed_within(timeout_s):
            return False
        start_s = self._clock.monotonic_s()
        while self._clock.monotonic_s() - start_s < BURST_S:
            self._event.clear()
            if not await self._changed_within(IDLE_S):
                break
        self._event.clear()
        return True

    async def _changed_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True
