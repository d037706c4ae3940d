"""Plans from files: what ``coral plan -o json`` wrote, and ServingPlans of the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_api.files import load_manifests
from coral_api.plans import instances_from
from coral_cli.documents import read_document
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import ObjectiveLevel
from coral_solver.planning.facts import WITHOUT_TEMPLATE, InstanceFacts, PlanFacts
from coral_solver.report.plan_file import (
    instances_from_document,
    plan_from_document,
    report_document,
)

if TYPE_CHECKING:
    from pathlib import Path

    from coral_api.servingplan import ServingPlan
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem, ServingInstance


def instances_in_force(path: Path, pools: tuple[GpuPool, ...]) -> tuple[ServingInstance, ...]:
    """Read the instances of a plan file.

    Parameters
    ----------
    path
        A file of ``coral plan -o json`` (or ``yaml``), or a ServingPlan manifest.
    pools
        Pools on offer.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    document = read_document(path)
    if document.get("kind") == "ServingPlan":
        return instances_from(_serving_plan(path))
    return instances_from_document(document, str(path), pools)


def read_plan(path: Path) -> PlanFacts:
    """Read a plan to compare.

    Parameters
    ----------
    path
        A file of ``coral plan -o json`` (or ``yaml``), or a ServingPlan manifest.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    document = read_document(path)
    if document.get("kind") == "ServingPlan":
        return _facts(_serving_plan(path))
    return plan_from_document(document, str(path))


def read_plan_to_report(path: Path, problem: PlanningProblem) -> dict[str, Any]:
    """Read a plan to report on.

    Parameters
    ----------
    path
        A file of ``coral plan -o json`` (or ``yaml``).
    problem
        What it should be a plan for.

    Raises
    ------
    InvalidInputError
        If it is something else, or a plan for other models or pools.
    """
    document = read_document(path)
    if document.get("kind") == "ServingPlan":
        raise InvalidInputError(
            [
                f"{path}: a ServingPlan does not have all that a report shows: give a file of "
                "`coral plan -o json`"
            ]
        )
    return report_document(document, str(path), problem)


def _serving_plan(path: Path) -> ServingPlan:
    plans = load_manifests([path]).plans
    if len(plans) != 1:
        raise InvalidInputError([f"{path}: has {len(plans)} ServingPlans; give a file with one"])
    return plans[0]


def _facts(plan: ServingPlan) -> PlanFacts:
    spec = plan.spec
    outcomes = {outcome.model_id: outcome for outcome in spec.outcomes}
    return PlanFacts(
        status=str(spec.status),
        cost_usd_per_hour=spec.rent_usd_per_hour + spec.switching_usd_per_hour,
        rent_usd_per_hour=spec.rent_usd_per_hour,
        switching_usd_per_hour=spec.switching_usd_per_hour,
        demand_req_per_s={name: x.demand_requests_per_second for name, x in outcomes.items()},
        capacity_req_per_s={name: x.capacity_requests_per_second for name, x in outcomes.items()},
        unmet_req_per_s={name: x.unmet_requests_per_second for name, x in outcomes.items()},
        usd_per_hour={name: x.usd_per_hour for name, x in outcomes.items()},
        models_without_template=frozenset(
            name for name, x in outcomes.items() if x.reason == WITHOUT_TEMPLATE
        ),
        instances=tuple(InstanceFacts.of(instance) for instance in instances_from(plan)),
        opened_nodes=dict(spec.opened_nodes),
        objective=tuple(
            ObjectiveLevel(
                level=level.level,
                sense=level.sense,
                value=level.value,
                # Without a bound nothing is proven: the trivial one of each sense.
                bound=level.bound if level.bound is not None else float(level.sense == "max"),
                gap=level.gap if level.gap is not None else 1.0,
            )
            for level in spec.objective
        ),
        bound_scope=spec.bound_scope,
    )
