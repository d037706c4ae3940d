"""Coral's decision core: which GPUs serve which model, with which parallelism, at the least cost.

Pure: nothing in here knows Kubernetes, asyncio or the wall clock. Layers, each importing only
those to its right: ``planning -> baselines -> allocation | templates -> performance -> catalog
-> domain``.

What this module exports is the library's public surface (docs/library.md); the rest may change
from version to version. Names are imported when they are first used, so that ``import
coral_solver`` costs nothing; ``__init__.pyi`` tells type checkers what they are.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "InventoryRow": "coral_solver.catalog",
    "gpu_type": "coral_solver.catalog",
    "inventory_pools": "coral_solver.catalog",
    "model_arch": "coral_solver.catalog",
    "CatalogError": "coral_solver.domain.errors",
    "CoralError": "coral_solver.domain.errors",
    "InvalidInputError": "coral_solver.domain.errors",
    "CapacityKind": "coral_solver.domain.hardware",
    "GpuPool": "coral_solver.domain.hardware",
    "GpuType": "coral_solver.domain.hardware",
    "Link": "coral_solver.domain.hardware",
    "PoolKey": "coral_solver.domain.hardware",
    "PoolNode": "coral_solver.domain.hardware",
    "PoolScaling": "coral_solver.domain.hardware",
    "Precision": "coral_solver.domain.hardware",
    "AllocationPlan": "coral_solver.domain.plan",
    "ModelOutcome": "coral_solver.domain.plan",
    "ObjectiveLevel": "coral_solver.domain.plan",
    "PlanningProblem": "coral_solver.domain.plan",
    "Policy": "coral_solver.domain.plan",
    "ScarcityPolicy": "coral_solver.domain.plan",
    "ServingInstance": "coral_solver.domain.plan",
    "SolveStatus": "coral_solver.domain.plan",
    "MeasuredPoint": "coral_solver.domain.profile",
    "PlacementSpace": "coral_solver.domain.template",
    "ServingTemplate": "coral_solver.domain.template",
    "LengthDistribution": "coral_solver.domain.workload",
    "ModelArch": "coral_solver.domain.workload",
    "ServedModel": "coral_solver.domain.workload",
    "ServingMode": "coral_solver.domain.workload",
    "Slo": "coral_solver.domain.workload",
    "Workload": "coral_solver.domain.workload",
    "ClosedLoopPrediction": "coral_solver.performance.closed_loop",
    "Amount": "coral_solver.planning.changes",
    "DemandChange": "coral_solver.planning.changes",
    "How": "coral_solver.planning.changes",
    "NodesChange": "coral_solver.planning.changes",
    "PoolAdded": "coral_solver.planning.changes",
    "PoolSelector": "coral_solver.planning.changes",
    "PriceChange": "coral_solver.planning.changes",
    "SloChange": "coral_solver.planning.changes",
    "PlanComparison": "coral_solver.planning.compare",
    "compare_plans": "coral_solver.planning.compare",
    "ExplainOptions": "coral_solver.planning.explain",
    "explain": "coral_solver.planning.explain",
    "Explanation": "coral_solver.planning.explanation",
    "PlanFacts": "coral_solver.planning.facts",
    "Planner": "coral_solver.planning.planner",
    "PlanningOptions": "coral_solver.planning.planner",
    "PlanningResult": "coral_solver.planning.planner",
    "WhatIf": "coral_solver.planning.whatif",
    "what_if": "coral_solver.planning.whatif",
    "plan_document": "coral_solver.report.document",
    "plan": "coral_solver.shortcuts",
    "predict": "coral_solver.shortcuts",
}
"""Module of every public name."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return what is public beside what is there."""
    return sorted({*globals(), *__all__})
