"""One step of the loop: observe, plan, apply, report. It may be cut at any line and done again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from coral_api.conditions import Reason
from coral_api.multillmservice import MultiLLMServiceStatus
from coral_operator import finalizer
from coral_operator.children.identity import child_key, is_ours
from coral_operator.children.settings import DEFAULT_IMAGE, ChildSettings
from coral_operator.kube.errors import KubeError
from coral_operator.kube.kinds import (
    GPU_POOLS,
    MULTI_LLM_SERVICES,
    NODES,
    PERFORMANCE_PROFILES,
    PLANNING_POLICIES,
    SERVING_PLANS,
)
from coral_operator.observe.cluster import pool_access, replaced_usd_per_hour
from coral_operator.observe.view import read_view
from coral_operator.planning.inputs import Problem, ServiceRef
from coral_operator.planning.planner import changed_services, summary
from coral_operator.planning.records import Chain
from coral_operator.rollout.apply import ApplyReport
from coral_operator.rollout.wanted import service_of, superfluous, wanted_children
from coral_operator.status import metrics
from coral_operator.status.cluster import gpu_pool_status, plan_status, profile_status
from coral_operator.status.events import Event, condition_events
from coral_operator.status.instances import LiveChildren, instance_report
from coral_operator.status.samples import cluster_samples, plan_samples, service_samples
from coral_operator.status.service import ServiceFacts, service_status
from coral_solver.catalog import gpu_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_operator.children.build import ChildProblem
    from coral_operator.kube.client import KubeClient
    from coral_operator.observe.store import Store
    from coral_operator.observe.view import View
    from coral_operator.planning.inputs import ServiceInput
    from coral_operator.planning.planner import ChainPlanner
    from coral_operator.rollout.apply import Applier
    from coral_operator.settings import Settings
    from coral_operator.status.events import EventWriter
    from coral_operator.status.instances import InstanceReport
    from coral_operator.status.metrics import Metrics, Samples
    from coral_operator.status.writer import StatusWriter
    from coral_solver.domain.clock import Clock

log = logging.getLogger(__name__)

APPLY_RETRY_S = 5.0
"""Wait before a refused child, or one that the watches do not bring, is tried again."""

PENDING_CHECK_S = 15.0
"""How often to look at pods that do not start: no event says that a limit has passed."""

ORDINARY_REFUSALS = frozenset({"Cordoned", "NotReady"})
"""Refusals that belong to the life of a node; the others are for somebody to put right."""

MAX_NODE_EVENTS = 20
"""Events about refused nodes in one step; the metric counts them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What a step did to the children.

    Attributes
    ----------
    report
        What was written, removed and refused.
    problems
        Models whose children could not be built.
    in_progress
        Services of which children are still going.
    is_complete
        Whether the watches had every wanted child before this step.
    """

    report: ApplyReport = field(default_factory=ApplyReport)
    problems: tuple[ChildProblem, ...] = ()
    in_progress: frozenset[ServiceRef] = frozenset()
    is_complete: bool = True

    def problem_of(self, ref: ServiceRef) -> Problem | None:
        """Return what is wrong with a service's children, or None."""
        for refused in self.report.problems:
            if refused.service == ref:
                return Problem(refused.reason, refused.message)
        for problem in self.problems:
            if problem.model_id.startswith(f"{ref}/"):
                return Problem(problem.reason, problem.message)
        return None


class Step:
    """Does one step after the other, and remembers between them only what saves work.

    Parameters
    ----------
    kube, clock, settings, store
        Requests, time, settings, what the watches have.
    planner, applier
        What makes plans, and carries them out.
    statuses, events, counters
        What reports.
    """

    def __init__(
        self,
        *,
        kube: KubeClient,
        clock: Clock,
        settings: Settings,
        store: Store,
        planner: ChainPlanner,
        applier: Applier,
        statuses: StatusWriter,
        events: EventWriter,
        counters: Metrics,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._settings = settings
        self._store = store
        self._planner = planner
        self._applier = applier
        self._statuses = statuses
        self._events = events
        self._counters = counters
        self._rollout = Rollout()
        self._told_refused: dict[str, str] = {}
        self._told_policy: Problem | None = None
        self._drain_limit = timedelta(seconds=settings.drain_limit_s)

    async def run(self) -> float | None:
        """Do one step.

        Returns
        -------
        float or None
            Seconds until the next step is due although nothing changes; None: the usual time.

        Raises
        ------
        KubeError
            If the API server fails a request that the step cannot do without.
        """
        view = read_view(self._store, self._settings.namespaces, self._statuses.current)
        self._planner.adopt(view)
        await self._plan(Chain.ACTIVE, view)
        self._rollout = await self._carry_out(view)
        wait_s = await self._report(view, view.problem)
        await self._tell_inputs(view)
        # Active services are served before Shadow services are thought about.
        if await self._plan(Chain.SHADOW, view):
            await self._report(view, view.problem)
        await self._planner.prune(view)
        waits = [wait_s, *(state.wait_s for state in self._planner.states.values())]
        return min((w for w in waits if w is not None), default=None)

    async def report_stale(self, problem: Problem) -> None:
        """Say in every service's conditions that nothing is planned, and why."""
        view = read_view(self._store, self._settings.namespaces, self._statuses.current)
        await self._report(view, problem)

    async def _plan(self, chain: Chain, view: View) -> bool:
        """Plan a chain if need be; tell what changed. Return whether its state changed."""
        state = self._planner.states[chain]
        before, problem = state.record, state.problem
        after = await self._planner.plan(chain, view)
        if after is None:
            return state.problem != problem
        changed = changed_services(before, after)
        plan = {"metadata": {"name": after.name, "uid": after.plan.metadata.uid}}
        told = [Event(SERVING_PLANS, plan, Reason.PLAN_CHANGED, summary(after), is_warning=False)]
        told += [
            Event(MULTI_LLM_SERVICES, s.manifest, Reason.PLAN_CHANGED, summary(after), False)
            for s in view.services
            if s.ref in changed
        ]
        await self._events.tell(told)
        return True

    async def _carry_out(self, view: View) -> Rollout:
        """Bring the children to what the Active plan asks for."""
        unmarked = await self._mark(view)
        record = self._planner.states[Chain.ACTIVE].record
        settings = ChildSettings(
            gpu_types={gpu.name: gpu for gpu in gpu_types()},
            image=self._settings.engine_image or DEFAULT_IMAGE,
            pools=pool_access(view.cluster, record.instances if record is not None else ()),
        )
        services = [s for s in view.services if s.ref not in unmarked]
        wanted = wanted_children(services, record, settings)
        wanted = replace(wanted, frozen=wanted.frozen | unmarked, known=wanted.known | unmarked)
        extra = superfluous(view.children, wanted, self._settings.namespaces)
        report = await self._applier.run(wanted.manifests, view.children, extra, wanted.known)
        self._counters.count(metrics.APPLIED, by=len(report.applied))
        self._counters.count(metrics.DELETED, by=len(report.deleted))
        for reason in (*(p.reason for p in report.problems), *(p.reason for p in wanted.problems)):
            self._counters.count(metrics.ERRORS, reason.value)
        await self._release(view)
        return Rollout(
            report=report,
            problems=wanted.problems,
            in_progress=frozenset(service_of(child) for child in extra),
            is_complete=wanted.manifests.keys() <= {child_key(child) for child in view.children},
        )

    async def _mark(self, view: View) -> frozenset[ServiceRef]:
        """Put the finalizer on services that will have children; return those that refused it."""
        refused = set()
        for service in view.services:
            if finalizer.needs_finalizer(service):
                try:
                    await finalizer.mark(self._kube, service)
                except KubeError as error:
                    log.info("finalizer of %s, next step again: %s", service.ref, error)
                    refused.add(service.ref)
        return frozenset(refused)

    async def _release(self, view: View) -> None:
        """Let deleted services go whose children are gone."""
        own_pods = (pod for pod in view.pods if is_ours(pod))
        alive = {service_of(child) for child in (*view.children, *own_pods)}
        for service in view.services:
            if finalizer.may_release(
                service,
                has_children=service.ref in alive,
                now=self._clock.now(),
                limit=self._drain_limit,
            ):
                try:
                    await finalizer.release(self._kube, service)
                except KubeError as error:
                    log.info("finalizer of %s, next step again: %s", service.ref, error)

    async def _report(self, view: View, inputs_problem: Problem | None) -> float | None:
        """Write statuses and publish metrics; return when to look again at what is starting."""
        now, rollout = self._clock.now(), self._rollout
        live = LiveChildren.arrange(view.deployments, filter(is_ours, view.pods))
        reports = {
            chain: {i.name: instance_report(i, live, now=now) for i in state.record.instances}
            for chain, state in self._planner.states.items()
            if state.record is not None
        }
        statuses = []
        for service in view.services:
            facts = self._facts(service, view, reports, inputs_problem)
            status = service_status(facts, now=now)
            statuses.append((service, status))
            await self._write_status(service, status)
        for manifest in view.gpu_pool_manifests:
            problem = view.gpu_pool_problems.get(manifest["metadata"]["name"])
            pool_status = gpu_pool_status(manifest, view.cluster, problem, now=now)
            await self._statuses.write(GPU_POOLS, manifest, pool_status)
        await self._report_profiles(view)
        is_applied = not rollout.report.problems and not rollout.in_progress
        for chain, state in self._planner.states.items():
            for manifest in view.plans:
                if state.record is not None and manifest["metadata"]["name"] == state.record.name:
                    status_of_plan = plan_status(
                        manifest, state.record, reports[chain], is_applied=is_applied, now=now
                    )
                    await self._statuses.write(SERVING_PLANS, manifest, status_of_plan)
        records = {chain: state.record for chain, state in self._planner.states.items()}
        samples: Samples = {
            **cluster_samples(view.cluster, records[Chain.ACTIVE]),
            **plan_samples(records, now=now),
            **service_samples(statuses),
            metrics.INPUTS_AGE: {(): self._store.age_s or 0.0},
            metrics.LEADER: {(): 1.0},
        }
        self._counters.publish(samples)
        waits = []
        if rollout.report.problems or not rollout.is_complete:
            waits.append(APPLY_RETRY_S)
        if any(report.state for report in reports.get(Chain.ACTIVE, {}).values()):
            waits.append(PENDING_CHECK_S)
        return min(waits, default=None)

    async def _report_profiles(self, view: View) -> None:
        models = [model for service in view.services for model in service.models]
        for manifest in view.profile_manifests:
            name = manifest["metadata"]["name"]
            points, problem = view.profiles.get(name, ()), view.profile_problems.get(name)
            status = profile_status(manifest, points, models, problem, now=self._clock.now())
            await self._statuses.write(PERFORMANCE_PROFILES, manifest, status)

    def _facts(
        self,
        service: ServiceInput,
        view: View,
        reports: Mapping[Chain, Mapping[str, InstanceReport]],
        inputs_problem: Problem | None,
    ) -> ServiceFacts:
        chain = self._chain_of(service)
        state = self._planner.states[chain]
        return ServiceFacts(
            service=service,
            record=state.record,
            reports=reports.get(chain, {}),
            inputs_problem=inputs_problem,
            planning_problem=state.problem,
            apply_problem=self._rollout.problem_of(service.ref),
            is_applying=service.ref in self._rollout.in_progress,
            replaced_usd_per_hour=replaced_usd_per_hour(
                service, view.pods, view.cluster.discovery.pools
            ),
        )

    def _chain_of(self, service: ServiceInput) -> Chain:
        """Return the chain whose plan speaks of a service."""
        if service.service is None or service.is_paused:
            for chain, state in self._planner.states.items():
                if state.record is not None and state.record.planned_service(service.ref):
                    return chain
        return next(chain for chain in Chain if chain.mode is service.mode)

    async def _write_status(self, service: ServiceInput, status: MultiLLMServiceStatus) -> None:
        try:
            before = MultiLLMServiceStatus.model_validate(service.manifest.get("status") or {})
        except ValidationError:
            before = MultiLLMServiceStatus()
        if await self._statuses.write(MULTI_LLM_SERVICES, service.manifest, status):
            await self._events.tell(
                condition_events(
                    MULTI_LLM_SERVICES, service.manifest, before.conditions, status.conditions
                )
            )

    async def _tell_inputs(self, view: View) -> None:
        """Tell about refused nodes that no GPUPool speaks for, and about a broken policy."""
        refused = {node.name: node for node in view.cluster.discovery.refused}
        speaking = view.cluster.discovery.overrides
        manifests = {node["metadata"]["name"]: node for node in view.nodes}
        self._told_refused = {
            name: reason
            for name, reason in self._told_refused.items()
            if name in refused and refused[name].reason == reason
        }
        new = [n for n in refused if n not in self._told_refused and n not in speaking]
        for name in new[:MAX_NODE_EVENTS]:
            node = refused[name]
            self._told_refused[name] = node.reason
            text = f"{node.reason}: {node.message}"
            is_odd = node.reason not in ORDINARY_REFUSALS
            event = Event(NODES, manifests[name], Reason.NODE_REFUSED, text, is_warning=is_odd)
            await self._events.tell([event])
        if view.policy_problem is not None and view.policy_problem != self._told_policy:
            for manifest in self._store.objects("planningpolicies_seen"):
                event = Event(PLANNING_POLICIES, manifest, *view.policy_problem, is_warning=True)
                await self._events.tell([event])
        self._told_policy = view.policy_problem
