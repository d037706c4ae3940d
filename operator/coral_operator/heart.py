"""Whether the loop still turns: what the liveness probe asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.domain.errors import CoralError

if TYPE_CHECKING:
    from coral_solver.domain.clock import Clock


class LoopStuckError(CoralError):
    """The loop has not finished a step for too long; the probe fails and the pod restarts."""

    reason = "LoopStuck"


class Heart:
    """The time of the loop's last finished step.

    Parameters
    ----------
    clock
        Durations.
    limit_s
        Longest time between two beats of a sound loop, a solve and a step's writes included.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._beat_at_s = clock.monotonic_s()

    def beat(self) -> None:
        """Note that the loop goes on: a step ended, or it waits for its turn."""
        self._beat_at_s = self._clock.monotonic_s()

    def check(self) -> None:
        """Do nothing if the loop is sound.

        Raises
        ------
        LoopStuckError
            If the last beat is too long ago.
        """
        silent_s = self._clock.monotonic_s() - self._beat_at_s
        if silent_s > self._limit_s:
            raise LoopStuckError(
                f"the loop has been silent for {silent_s:.0f} s, {self._limit_s:.0f} s are allowed"
            )
