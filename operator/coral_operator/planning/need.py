"""Decide whether a new plan is needed, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import Reason
from coral_operator.planning.inputs import ServiceRef

if TYPE_CHECKING:
    from coral_operator.planning.problem import ChainInputs
    from coral_operator.planning.records import Hashes, PlanRecord


class PlanningNeed(NamedTuple):
    """Why a plan is needed, and whether it may wait for the minimum interval."""

    reason: Reason
    message: str
    may_wait: bool


def planning_need(
    inputs: ChainInputs, current: PlanRecord | None, evaluated: Hashes | None
) -> PlanningNeed | None:
    """Return why a chain needs a new plan, or None.

    Parameters
    ----------
    inputs
        What the next plan would be made from.
    current
        The plan in force.
    evaluated
        Inputs of the last solve that confirmed the plan in force without a new ServingPlan.

    Returns
    -------
    PlanningNeed or None
        Changes of capacity may wait for the policy's minimum interval, so that nodes that come and
        go do not make a solve each; what people wrote, and an instance that has lost its node, may
        not.
    """
    if current is None:
        if inputs.is_empty:
            return None
        return PlanningNeed(Reason.FIRST_PLAN, "no plan existed", may_wait=False)
    if inputs.hashes in (current.hashes, evaluated):
        return None
    present = {ServiceRef(s.namespace, s.metadata.name) for s in inputs.services}
    present |= {ServiceRef(s.namespace, s.name) for s in inputs.held_services}
    known = {ServiceRef(s.namespace, s.name) for s in current.plan.spec.services}
    gone = sorted(known - present)
    if gone:
        text = ", ".join(map(str, gone))
        return PlanningNeed(Reason.SERVICE_REMOVED, f"no longer planned: {text}", may_wait=False)
    last = evaluated or current.hashes
    if inputs.hashes.spec not in (current.hashes.spec, last.spec):
        return PlanningNeed(Reason.SPEC_CHANGED, _spec_changes(inputs, current), may_wait=False)
    if inputs.lost:
        text = f"lost their node: {', '.join(inputs.lost[:10])}"
        return PlanningNeed(Reason.CAPACITY_CHANGED, text, may_wait=False)
    return PlanningNeed(Reason.CAPACITY_CHANGED, "nodes or free GPUs changed", may_wait=True)


def _spec_changes(inputs: ChainInputs, current: PlanRecord) -> str:
    before = {ServiceRef(s.namespace, s.name): s.generation for s in current.plan.spec.services}
    changed = [
        str(ref)
        for service in inputs.services
        if before.get(ref := ServiceRef(service.namespace, service.metadata.name))
        != service.metadata.generation
    ]
    return (
        f"changed: {', '.join(changed)}"
        if changed
        else "the policy, a pool or a profile was changed"
    )
