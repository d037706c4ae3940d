"""The only place that reads a clock, so that tests and the simulator can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings: one for people and stored stamps, one for durations."""

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go backwards, for durations."""
        ...


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one allowed reading

    def monotonic_s(self) -> float:
        """Return seconds that never go backwards, for durations."""
        return time.monotonic()


class ManualClock:
    """A clock for tests and the simulator; it moves only when told to.

    Parameters
    ----------
    start
        First wall-clock reading; aware, in UTC.
    """

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        """Return the wall-clock time, in UTC."""
        return datetime.fromtimestamp(self._start.timestamp() + self._elapsed_s, UTC)

    def monotonic_s(self) -> float:
        """Return the seconds that this clock was advanced."""
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Parameters
        ----------
        seconds
            By how much, in seconds; not negative.
        """
        if seconds < 0:
            raise ValueError("a clock cannot go backwards")
        self._elapsed_s += seconds
