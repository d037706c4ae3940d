"""Work out the status of a MultiLLMService."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from coral_api.conditions import ConditionStatus, ConditionType, Reason, set_condition
from coral_api.convert import ModelRef, spec_hash
from coral_api.multillmservice import ModelStatus, MultiLLMServiceStatus, OperatingMode
from coral_operator.planning.inputs import known_reason
from coral_operator.status.instances import (
    InstanceReport,
    InstanceState,
    ready_capacity_req_per_s,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from coral_api.conditions import Condition
    from coral_api.servingplan import PlannedModel
    from coral_operator.planning.inputs import Problem, ServiceInput
    from coral_operator.planning.records import PlanRecord
    from coral_solver.domain.plan import ServingInstance

MAX_MESSAGE = 1024
"""Longer messages are cut: they are for people, and every status is kept in memory."""

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_TOLERANCE_REQ_PER_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """All that the status of one service says.

    Attributes
    ----------
    service
        The service as it was read.
    record
        The plan in force of its chain.
    reports
        How far each of the record's instances is, by name.
    inputs_problem
        Why no plan can be made for anybody: stale inputs, no GPU node.
    planning_problem
        Why the last attempt to plan its chain failed.
    apply_problem
        Why its children are not as the plan has them.
    is_applying
        Whether children are still being written or removed.
    replaced_usd_per_hour
        What the pods cost that it would replace; None without ``replaces``.
    """

    service: ServiceInput
    record: PlanRecord | None
    reports: Mapping[str, InstanceReport] = field(default_factory=dict)
    inputs_problem: Problem | None = None
    planning_problem: Problem | None = None
    apply_problem: Problem | None = None
    is_applying: bool = False
    replaced_usd_per_hour: float | None = None

    @property
    def instances(self) -> tuple[ServingInstance, ...]:
        """Instances of the service in the plan in force."""
        prefix = f"{self.service.ref}/"
        every = self.record.instances if self.record is not None else ()
        return tuple(i for i in every if i.template.model_id.startswith(prefix))

    @property
    def outcomes(self) -> tuple[PlannedModel, ...]:
        """What the plan in force says of the service's models."""
        prefix = f"{self.service.ref}/"
        every = self.record.plan.spec.outcomes if self.record is not None else ()
        return tuple(o for o in every if o.model_id.startswith(prefix))

    @property
    def is_planned(self) -> bool:
        """Whether the plan in force was made from the spec as it is now."""
        planned = self.record.planned_service(self.service.ref) if self.record else None
        return (
            planned is not None
            and self.service.service is not None
            and (planned.uid, planned.hash) == (self.service.uid, spec_hash(self.service.service))
        )

    @property
    def is_shadow(self) -> bool:
        """Whether the plan is shown only."""
        return self.service.mode is OperatingMode.SHADOW and self.service.service is not None


def service_status(facts: ServiceFacts, *, now: datetime) -> MultiLLMServiceStatus:
    """Return the status that a service should have.

    Parameters
    ----------
    facts
        What is known.
    now
        Time of the conditions that change.
    """
    conditions = _earlier(facts.service)
    for kind, status, reason, message in (
        (ConditionType.INPUTS_READY, *_inputs_ready(facts)),
        (ConditionType.PLANNED, *_planned(facts)),
        (ConditionType.APPLIED, *_applied(facts)),
        (ConditionType.READY, *_ready(facts)),
        (ConditionType.DEGRADED, *_degraded(facts)),
    ):
        conditions = set_condition(
            conditions,
            kind,
            status,
            reason,
            message[:MAX_MESSAGE],
            now=now,
            observed_generation=facts.service.generation,
        )
    models = _model_statuses(facts)
    return MultiLLMServiceStatus(
        observed_generation=facts.service.generation,
        conditions=conditions,
        plan_ref=facts.record.name if facts.record is not None and facts.outcomes else None,
        models=models,
        instances=sum(m.instances for m in models),
        ready_instances=sum(m.ready_instances for m in models),
        usd_per_hour=round(sum(m.usd_per_hour for m in models), 6),
        replaced_usd_per_hour=facts.replaced_usd_per_hour,
    )


def _earlier(service: ServiceInput) -> tuple[Condition, ...]:
    """Return the conditions that the object has; none if somebody has broken its status."""
    try:
        status = MultiLLMServiceStatus.model_validate(service.manifest.get("status") or {})
    except ValidationError:
        return ()
    return status.conditions


_Verdict = tuple[ConditionStatus, Reason, str]


def _inputs_ready(facts: ServiceFacts) -> _Verdict:
    problem = facts.service.problem or facts.inputs_problem
    if problem is not None:
        return _FALSE, problem.reason, problem.message
    return _TRUE, Reason.INPUTS_READY, "every input is valid and fresh"


def _planned(facts: ServiceFacts) -> _Verdict:
    if facts.service.is_deleting:
        return _FALSE, Reason.DELETING, "the service is being deleted"
    if facts.service.is_paused:
        status = _TRUE if facts.is_planned else _FALSE
        return status, Reason.PAUSED, "paused: nothing is planned anew; unset spec.paused to go on"
    if facts.is_planned and facts.record is not None:
        return _TRUE, Reason.PLANNED, f"part of {facts.record.name}"
    problem = facts.planning_problem or facts.inputs_problem
    if facts.service.service is None and facts.service.problem is not None:
        problem = facts.service.problem
    if problem is not None:
        return _FALSE, problem.reason, problem.message
    return _FALSE, Reason.PLANNING, "a plan for this generation is being made"


def _applied(facts: ServiceFacts) -> _Verdict:
    if facts.service.is_deleting:
        return _FALSE, Reason.DELETING, "the service's children are being removed"
    if facts.apply_problem is not None:
        return _FALSE, facts.apply_problem.reason, facts.apply_problem.message
    if facts.is_shadow:
        return _FALSE, Reason.SHADOW_MODE, "the plan is shown only; set spec.mode to Active"
    if facts.service.is_paused:
        return _UNKNOWN, Reason.PAUSED, "paused: children stay as they are"
    if not facts.is_planned:
        return _FALSE, Reason.PLANNING, "children stay as they are until there is a plan"
    if facts.is_applying:
        return _FALSE, Reason.APPLYING, "children are being created or removed"
    return _TRUE, Reason.APPLIED, "the children are those of the plan"


def _ready(facts: ServiceFacts) -> _Verdict:
    if facts.is_shadow:
        return _FALSE, Reason.SHADOW_MODE, "the plan is shown only"
    if not facts.outcomes:
        return _FALSE, Reason.PLANNING, "there is no plan yet"
    short = [
        f"{m.name}: {m.ready_requests_per_second:g} of {m.demand_requests_per_second:g} req/s"
        for m in _model_statuses(facts)
        if m.ready_requests_per_second < m.demand_requests_per_second - _TOLERANCE_REQ_PER_S
    ]
    not_ready = [i for i in facts.instances if facts.reports[i.name].state]
    if not short and not not_ready:
        return _TRUE, Reason.ALL_READY, "the ready instances carry the demand"
    if not not_ready:
        return _FALSE, Reason.UNMET_DEMAND, "; ".join(short)
    if not short:
        return _TRUE, Reason.ALL_READY, f"{len(not_ready)} further instances are starting"
    worst = max((facts.reports[i.name] for i in not_ready), key=lambda r: r.state)
    return _FALSE, worst.reason, "; ".join(filter(None, [*short, worst.message]))


def _degraded(facts: ServiceFacts) -> _Verdict:
    unmet = [o for o in facts.outcomes if o.unmet_requests_per_second > _TOLERANCE_REQ_PER_S]
    failing = [
        report
        for i in facts.instances
        if not facts.is_shadow and (report := facts.reports[i.name]).state >= InstanceState.PENDING
    ]
    for problem in (facts.apply_problem, facts.planning_problem, facts.service.problem):
        if problem is not None:
            return _TRUE, problem.reason, problem.message
    if failing:
        worst = max(failing, key=lambda report: report.state)
        return _TRUE, worst.reason, worst.message
    if unmet:
        reason = known_reason(unmet[0].reason) or Reason.UNMET_DEMAND
        text = "; ".join(f"{ModelRef.parse(o.model_id).model}: {o.message}" for o in unmet)
        return _TRUE, reason, text
    return _FALSE, Reason.AS_EXPECTED, "nothing is short or broken"


def _model_statuses(facts: ServiceFacts) -> tuple[ModelStatus, ...]:
    """Return a status per model of the spec, or per planned model where the spec is broken."""
    by_name = {ModelRef.parse(o.model_id).model: o for o in facts.outcomes}
    problems = {p.model: p for p in facts.service.model_problems}
    spec = facts.service.service
    names = [m.name for m in spec.spec.models] if spec is not None else sorted(by_name)
    statuses = []
    for name in names:
        outcome, problem = by_name.get(name), problems.get(name)
        model_id = str(ModelRef(*facts.service.ref, name))
        own = [i for i in facts.instances if i.template.model_id == model_id]
        ready: Sequence[ServingInstance] = [] if facts.is_shadow else own
        reason = problem.reason.value if problem else outcome.reason if outcome else None
        statuses.append(
            ModelStatus(
                name=name,
                demand_requests_per_second=outcome.demand_requests_per_second if outcome else 0.0,
                planned_requests_per_second=round(outcome.capacity_requests_per_second, 6)
                if outcome
                else 0.0,
                ready_requests_per_second=round(ready_capacity_req_per_s(ready, facts.reports), 6),
                unmet_requests_per_second=round(outcome.unmet_requests_per_second, 6)
                if outcome
                else 0.0,
                instances=len(own),
                ready_instances=sum(
                    1 for i in ready if facts.reports[i.name].state is InstanceState.READY
                ),
                usd_per_hour=round(outcome.usd_per_hour, 6) if outcome else 0.0,
                reason=reason,
                message=(problem.message if problem else outcome.message if outcome else "")[
                    :MAX_MESSAGE
                ],
            )
        )
    return tuple(statuses)
