"""Keeps the plan of each chain in force, and makes a new one when it is needed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_api.conditions import Reason
from coral_api.convert import ModelRef
from coral_api.plans import serving_plan
from coral_api.servingplan import PlanTrigger
from coral_operator.kube.kinds import SERVING_PLANS
from coral_operator.planning.inputs import Problem, ServiceRef, known_reason
from coral_operator.planning.messages import PlanningAnswer, PlanningRequest
from coral_operator.planning.need import planning_need
from coral_operator.planning.problem import chain_inputs, margin_with_held, with_held
from coral_operator.planning.records import (
    Chain,
    Hashes,
    PlanRecord,
    chain_of,
    labelled,
    latest,
    plan_name,
    read_plan,
    sequence_of,
    to_prune,
)
from coral_operator.status import metrics
from coral_solver.domain.errors import CoralError
from coral_solver.domain.plan import AllocationPlan, SolveStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_operator.kube.client import KubeClient
    from coral_operator.observe.view import View
    from coral_operator.planning.need import PlanningNeed
    from coral_operator.planning.problem import ChainInputs
    from coral_operator.planning.process import PlanningProcess
    from coral_operator.settings import Settings
    from coral_operator.status.metrics import Metrics
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import NodeSlice, ServingInstance

log = logging.getLogger(__name__)

_NO_HASHES = Hashes(spec="", inputs="")

LIMIT_FACTOR = 4.0
LIMIT_EXTRA_S = 120.0
"""The planning process is given up after this many times the solver's limit, and so much more.

The solver's limit holds for the plan and again for each baseline; the rest is for building
templates from an empty cache, and compiling.
"""

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 300.0
"""Wait after a failed plan for the same inputs: doubles from the first to the last."""

VISIBLE_WITHIN_S = 10.0
"""Time that the watch gets to bring a plan that was just written, before it counts as deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """The last attempt to plan, which failed."""

    hashes: Hashes
    problem: Problem
    at_s: float
    retry_s: float


@dataclass(slots=True, kw_only=True)
class ChainState:
    """What is remembered of a chain between steps.

    Attributes
    ----------
    record
        The plan in force.
    evaluated
        Inputs of the last solve that gave the same plan again.
    """

    record: PlanRecord | None = None
    evaluated: Hashes | None = None
    planned_at_s: float | None = None
    failure: _Failure | None = None
    wait_s: float | None = None

    @property
    def problem(self) -> Problem | None:
        """Why the last attempt to plan failed; None if it did not."""
        return self.failure.problem if self.failure is not None else None


class ChainPlanner:
    """Makes the plans.

    Parameters
    ----------
    kube, clock, settings, process, counters
        Requests, durations, settings, the planning process, metrics.
    beat
        Called every second while a plan is waited for.
    """

    def __init__(
        self,
        *,
        kube: KubeClient,
        clock: Clock,
        settings: Settings,
        process: PlanningProcess,
        counters: Metrics,
        beat: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._settings = settings
        self._process = process
        self._counters = counters
        self._beat = beat
        self.states = {chain: ChainState() for chain in Chain}

    def adopt(self, view: View) -> None:
        """Take the plans in force from the cluster: after a start, or after one was deleted."""
        for chain, state in self.states.items():
            if state.record is None:
                state.record = latest(view.plans, chain)
            elif state.record.hashes != _NO_HASHES and self._was_deleted(state.record, state, view):
                # Its instances still run, so the next plan must know them as those in force;
                # without its hashes nothing counts as planned.
                log.warning("ServingPlan %s was deleted; a new one is made", state.record.name)
                state.record = dataclasses.replace(state.record, hashes=_NO_HASHES)
                state.evaluated = None

    def _was_deleted(self, record: PlanRecord, state: ChainState, view: View) -> bool:
        if record.name in {manifest["metadata"]["name"] for manifest in view.plans}:
            return False
        written_at_s = state.planned_at_s
        is_young = (
            written_at_s is not None and self._clock.monotonic_s() - written_at_s < VISIBLE_WITHIN_S
        )
        return not is_young

    async def plan(self, chain: Chain, view: View) -> PlanRecord | None:
        """Make a new plan for a chain if it needs one and may have one now.

        Returns
        -------
        PlanRecord or None
            The new plan, now in force; None if the one before stays, for whatever reason:
            ``states[chain].problem`` and ``wait_s`` say more.

        Raises
        ------
        KubeError
            If the ServingPlan cannot be written.
        """
        state = self.states[chain]
        state.wait_s = None
        inputs = self._inputs(chain, view)
        need = planning_need(inputs, state.record, state.evaluated)
        if need is None:
            state.failure = None
            return None
        if inputs.problem.models and not inputs.problem.pools:
            # Nothing to plan on: what is in force stays, and the condition says why.
            return None
        state.wait_s = self._wait_s(need, inputs, state, view)
        if state.wait_s is not None:
            return None
        try:
            answer = await self._solve(inputs, view)
        except CoralError as error:
            self._fail(state, inputs, error)
            return None
        state.failure = None
        state.planned_at_s = self._clock.monotonic_s()
        plan = with_held(answer.plan, inputs)
        if need.reason is Reason.CAPACITY_CHANGED and _is_same(plan, state.record):
            state.evaluated = inputs.hashes
            return None
        state.record = await self._write(inputs, plan, answer, need, state.record, view)
        state.evaluated = None
        self._counters.count(metrics.PLANS, chain.mode.value, need.reason.value)
        return state.record

    def _inputs(self, chain: Chain, view: View) -> ChainInputs:
        active = self.states[Chain.ACTIVE].record
        reserved: Sequence[ServingInstance] = ()
        pools = view.cluster.discovery.pools
        if chain is Chain.SHADOW:
            pools = view.cluster.shadow_pools
            reserved = active.instances if active is not None else ()
        return chain_inputs(
            chain,
            view.services,
            policy=view.policy,
            gpu_pools=view.gpu_pools,
            profiles=[point for points in view.profiles.values() for point in points],
            pools=pools,
            current=self.states[chain].record,
            reserved=reserved,
        )

    def _wait_s(
        self, need: PlanningNeed, inputs: ChainInputs, state: ChainState, view: View
    ) -> float | None:
        """Return how long the plan has to wait, or None if it may be made now."""
        now_s = self._clock.monotonic_s()
        due_s = now_s
        if need.may_wait and state.planned_at_s is not None:
            due_s = state.planned_at_s + view.policy.minimum_interval_seconds
        if state.failure is not None and state.failure.hashes == inputs.hashes:
            due_s = max(due_s, state.failure.at_s + state.failure.retry_s)
        return due_s - now_s if due_s > now_s else None

    async def _solve(self, inputs: ChainInputs, view: View) -> PlanningAnswer:
        if not inputs.problem.models:
            return PlanningAnswer(
                plan=_empty_plan(),
                baselines={},
                templates_s=0.0,
                allocation_s=0.0,
                baselines_s=0.0,
            )
        limit_s = view.policy.solve_time_limit_seconds
        request = PlanningRequest(
            problem=inputs.problem, time_limit_s=limit_s, cache_dir=self._settings.cache_dir
        )
        start_s = self._clock.monotonic_s()
        task = asyncio.create_task(
            self._process.plan(request, limit_s=limit_s * LIMIT_FACTOR + LIMIT_EXTRA_S)
        )
        try:
            while not task.done():
                # Bounded by the process's limit: waiting here is not being stuck.
                await asyncio.wait({task}, timeout=1.0)
                self._beat()
        except asyncio.CancelledError:
            task.cancel()
            raise
        answer = task.result()
        total_s = self._clock.monotonic_s() - start_s
        self._counters.count(metrics.PLANNING_SECONDS, by=total_s)
        log.info(
            "planned %s: %d models in %.2f s (templates %.2f, allocation %.2f, baselines %.2f)",
            inputs.chain,
            len(inputs.problem.models),
            total_s,
            answer.templates_s,
            answer.allocation_s,
            answer.baselines_s,
        )
        return answer

    def _fail(self, state: ChainState, inputs: ChainInputs, error: CoralError) -> None:
        reason = known_reason(error.reason) or Reason.INTERNAL_ERROR
        retry_s = FIRST_RETRY_S
        if state.failure is not None and state.failure.hashes == inputs.hashes:
            retry_s = min(LAST_RETRY_S, 2 * state.failure.retry_s)
        state.failure = _Failure(
            hashes=inputs.hashes,
            problem=Problem(reason, f"{error}; the last plan stays"),
            at_s=self._clock.monotonic_s(),
            retry_s=retry_s,
        )
        state.wait_s = retry_s
        self._counters.count(metrics.ERRORS, reason.value)
        log.error("planning %s failed, again in %.0f s: %s", inputs.chain, retry_s, error)

    async def _write(
        self,
        inputs: ChainInputs,
        plan: AllocationPlan,
        answer: PlanningAnswer,
        need: PlanningNeed,
        before: PlanRecord | None,
        view: View,
    ) -> PlanRecord:
        numbers = [sequence_of(m) for m in view.plans if chain_of(m) == inputs.chain]
        sequence = 1 + max([0, *numbers, before.sequence if before is not None else 0])
        written = serving_plan(
            plan_name(inputs.chain, sequence, inputs.hashes),
            plan,
            services=inputs.services,
            trigger=PlanTrigger(reason=need.reason.value, message=need.message[:1024]),
            baselines=answer.baselines,
            margin=margin_with_held(answer.margin, inputs),
            previous=before.plan if before is not None else None,
        )
        services = sorted(
            (*written.spec.services, *inputs.held_services), key=lambda s: (s.namespace, s.name)
        )
        written = written.model_copy(
            update={"spec": written.spec.model_copy(update={"services": tuple(services)})}
        )
        manifest = await self._kube.create(
            SERVING_PLANS, labelled(written, inputs.chain, sequence, inputs.hashes)
        )
        record = read_plan(manifest)
        if record is None:
            raise CoralError(f"ServingPlan {written.metadata.name} cannot be read back")
        log.info("%s", summary(record))
        return record

    async def prune(self, view: View) -> None:
        """Delete the plans that the history has no room for.

        Raises
        ------
        KubeError
            If a plan cannot be deleted.
        """
        in_force = [s.record.name for s in self.states.values() if s.record is not None]
        for name in to_prune(view.plans, self._settings.plan_history, in_force):
            await self._kube.delete(SERVING_PLANS, name)


def summary(record: PlanRecord) -> str:
    """Return what a plan changes, in a sentence."""
    spec = record.plan.spec
    diff = spec.diff
    before = diff.usd_per_hour_before
    cost = f"{diff.usd_per_hour_after:.2f} USD/h"
    if before is not None:
        cost = f"{before:.2f} -> {cost}"
    unmet = sum(o.unmet_requests_per_second for o in spec.outcomes)
    margin = ""
    if spec.margin is not None:
        extra = spec.rent_usd_per_hour - spec.margin.without.rent_usd_per_hour
        margin = f", the margin of {spec.margin.robustness:g} costs {extra:.2f} USD/h"
    return (
        f"{record.name}: +{len(diff.added)} -{len(diff.removed)} ={len(diff.kept)} instances, "
        f"{cost}{margin}, unmet {unmet:g} req/s ({spec.trigger.reason}: {spec.trigger.message})"
    )


def changed_services(before: PlanRecord | None, after: PlanRecord) -> set[ServiceRef]:
    """Return the services of which a plan changes an instance."""
    old = {_identity(i) for i in before.instances} if before is not None else set()
    new = {_identity(i) for i in after.instances}
    refs = (ModelRef.parse(model_id) for model_id, *_ in old ^ new)
    return {ServiceRef(ref.namespace, ref.service) for ref in refs}


def _identity(instance: ServingInstance) -> tuple[str, str, str, tuple[NodeSlice, ...]]:
    template = instance.template
    return template.model_id, instance.name, template.id, instance.slices


def _empty_plan() -> AllocationPlan:
    return AllocationPlan(
        status=SolveStatus.OPTIMAL,
        instances=(),
        outcomes=(),
        objective=(),
        bound_scope="no model is planned",
        rent_usd_per_hour=0.0,
        switching_usd_per_hour=0.0,
        opened_nodes={},
        solve_s=0.0,
    )


def _is_same(plan: AllocationPlan, record: PlanRecord | None) -> bool:
    """Whether a plan says what the one in force says."""
    if record is None:
        return False
    told = {o.model_id: o.reason for o in record.plan.spec.outcomes}
    return {_identity(i) for i in record.instances} == {
        _identity(i) for i in plan.instances
    } and told == {o.model_id: o.reason for o in plan.outcomes}
