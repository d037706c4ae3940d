"""Holds the planning process: asks it, bounds it, replaces it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING

from coral_operator.planning.messages import LENGTH_BYTES, PlanningAnswer, PlanningFault
from coral_solver.domain.errors import CoralError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_operator.planning.messages import PlanningRequest

ENDING_S = 5.0
"""Time that a process gets to end after it has closed its output."""

WORKER_COMMAND = (sys.executable, "-m", "coral_operator.planning.worker")


class WorkerCrashedError(CoralError):
    """The planning process ended in the middle of a plan; the next plan gets a new one."""

    reason = "WorkerCrashed"


class PlanTimedOutError(CoralError):
    """The planning process did not answer in time and was ended."""

    reason = "PlanTimedOut"


class PlanningProcess:
    """One process that plans, kept warm between plans.

    Parameters
    ----------
    command
        What to start.
    """

    def __init__(self, command: Sequence[str] = WORKER_COMMAND) -> None:
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id, while there is a process."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process unless it runs; its imports then happen before the first plan."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # What the linear algebra libraries start would compete with the operator.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    async def plan(self, request: PlanningRequest, *, limit_s: float) -> PlanningAnswer:
        """Plan in the process.

        Parameters
        ----------
        request
            What to plan.
        limit_s
            When to give the process up: well above the solver's own limit.

        Raises
        ------
        WorkerCrashedError, PlanTimedOutError
            If there is no answer.
        CoralError
            If planning failed in the process; with the reason and the message of its fault.
        """
        await self.start()
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._exchange(pickle.dumps(request))
        except TimeoutError:
            await self.stop()
            raise PlanTimedOutError(
                f"planning took more than {limit_s:.0f} s and was ended; lower "
                "solveTimeLimitSeconds in the PlanningPolicy or give the operator more CPU"
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._ended()
            raise WorkerCrashedError(
                f"the planning process ended with status {code} before it answered; if it was "
                "killed for memory, raise the operator's memory limit"
            ) from None
        except asyncio.CancelledError:
            # An answer would still arrive and be taken for that to the next question.
            await self.stop()
            raise
        if isinstance(answer, PlanningFault):
            raise CoralError(answer.message, reason=answer.reason)
        if not isinstance(answer, PlanningAnswer):
            raise WorkerCrashedError(f"the planning process answered with {type(answer).__name__}")
        return answer

    async def stop(self) -> int | None:
        """End the process; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.returncode is None:
            # Not process.kill(): it may collect the child itself, and asyncio then knows no status.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return await process.wait()

    async def _ended(self) -> int | None:
        """Return the exit status of a process that has closed its end: it is ending by itself."""
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENDING_S):
                    await self._process.wait()
        return await self.stop()

    async def _exchange(self, request: bytes) -> object:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ConnectionError
        process.stdin.write(len(request).to_bytes(LENGTH_BYTES, "big") + request)
        await process.stdin.drain()
        head = await process.stdout.readexactly(LENGTH_BYTES)
        data = await process.stdout.readexactly(int.from_bytes(head, "big"))
        return pickle.loads(data)  # noqa: S301 - written by our own process
