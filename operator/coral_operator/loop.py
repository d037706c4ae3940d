"""The operator's one loop: waits for changes and for its turn, and does a step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coral_api.conditions import Reason
from coral_operator.planning.inputs import Problem
from coral_operator.status import metrics
from coral_solver.domain.errors import CoralError

if TYPE_CHECKING:
    from coral_operator.heart import Heart
    from coral_operator.kube.lease import Lease
    from coral_operator.nudge import Nudge
    from coral_operator.observe.audit import Audit
    from coral_operator.observe.store import Store
    from coral_operator.settings import Settings
    from coral_operator.status.metrics import Metrics
    from coral_operator.status.writer import StatusWriter
    from coral_operator.step import Step
    from coral_solver.domain.clock import Clock

log = logging.getLogger(__name__)

TURN_S = 1.0
"""How often an operator without the Lease, or with stale inputs, looks again."""

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 30.0
"""Wait after a step that failed: doubles from the first to the last."""

AUDIT_EVERY_S = 300.0
"""How often the indexes are compared with fresh lists when no stream was seen to be cut."""


class Loop:
    """Runs steps for as long as the operator lives.

    Parameters
    ----------
    clock, settings, store, audit, lease
        Time, settings, what the watches have and whether it can be believed, leadership.
    step, statuses, nudge, heart, counters
        The work, its memory of statuses, what wakes it, what the probe asks, metrics.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        settings: Settings,
        store: Store,
        audit: Audit,
        lease: Lease,
        step: Step,
        statuses: StatusWriter,
        nudge: Nudge,
        heart: Heart,
        counters: Metrics,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._store = store
        self._audit = audit
        self._lease = lease
        self._step = step
        self._statuses = statuses
        self._nudge = nudge
        self._heart = heart
        self._counters = counters
        self._backoff_s = FIRST_BACKOFF_S
        self._audited_at_s: float | None = None
        self._told_stale = False

    async def run(self) -> None:
        """Do steps for ever."""
        while True:
            wait_s = await self.turn()
            await self._nudge.wait(min(wait_s, self._settings.resync_s))

    async def turn(self) -> float:
        """Do one step if the operator may, and return how long to wait for the next at most.

        The heart does not beat where only a restart helps: after a fault that is a bug, and while
        the watches stay silent.
        """
        if not self._lease.is_held:
            self._heart.beat()
            self._counters.publish({metrics.LEADER: {(): 0.0}})
            return TURN_S
        if self._store.age_s is None:
            return TURN_S
        try:
            await self._look_again()
            problem = self._stale()
            if problem is not None:
                await self._report_stale(problem)
                return TURN_S
            self._told_stale = False
            wait_s = await self._step.run()
        except CoralError as error:
            self._counters.count(metrics.ERRORS, error.reason)
            log.warning("the step failed, again in %.0f s: %s", self._backoff_s, error)
            self._heart.beat()
            return self._back_off()
        except Exception:
            # A bug: what can be done is to try again, and to let the probe restart the process.
            self._counters.count(metrics.ERRORS, Reason.INTERNAL_ERROR.value)
            log.exception("the step failed by a fault in Coral, again in %.0f s", self._backoff_s)
            return self._back_off()
        self._backoff_s = FIRST_BACKOFF_S
        self._counters.count(metrics.STEPS)
        self._heart.beat()
        return self._settings.resync_s if wait_s is None else wait_s

    def _back_off(self) -> float:
        wait_s = self._backoff_s
        self._backoff_s = min(LAST_BACKOFF_S, 2 * self._backoff_s)
        return wait_s

    async def _look_again(self) -> None:
        """Compare the indexes with the API server when it is time, or a stream was cut."""
        now_s = self._clock.monotonic_s()
        is_due = self._audited_at_s is None or now_s - self._audited_at_s > AUDIT_EVERY_S
        if is_due or self._store.relisted:
            await self._audit.run()
            self._audited_at_s = now_s
            self._statuses.forget()

    def _stale(self) -> Problem | None:
        age_s = self._store.age_s
        if age_s is not None and age_s > self._settings.stale_after_s:
            text = f"no sign of life from the watches for {age_s:.0f} s; the last plan stays"
            return Problem(Reason.STALE_INPUT, text)
        if self._audit.unseen:
            text = f"the watches have not brought {self._audit.unseen} objects; the last plan stays"
            return Problem(Reason.STALE_INPUT, text)
        return None

    async def _report_stale(self, problem: Problem) -> None:
        if not self._told_stale:
            log.error("%s: %s", problem.reason, problem.message)
            self._counters.count(metrics.ERRORS, problem.reason.value)
            await self._step.report_stale(problem)
            self._told_stale = True
