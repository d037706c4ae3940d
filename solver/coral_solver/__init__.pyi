from coral_solver.catalog import InventoryRow, gpu_type, inventory_pools, model_arch
from coral_solver.domain.errors import CatalogError, CoralError, InvalidInputError
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    GpuType,
    Link,
    PoolKey,
    PoolNode,
    PoolScaling,
    Precision,
)
from coral_solver.domain.plan import (
    AllocationPlan,
    ModelOutcome,
    ObjectiveLevel,
    PlanningProblem,
    Policy,
    ScarcityPolicy,
    ServingInstance,
    SolveStatus,
)
from coral_solver.domain.profile import MeasuredPoint
from coral_solver.domain.template import PlacementSpace, ServingTemplate
from coral_solver.domain.workload import (
    LengthDistribution,
    ModelArch,
    ServedModel,
    ServingMode,
    Slo,
    Workload,
)
from coral_solver.performance.closed_loop import ClosedLoopPrediction
from coral_solver.planning.changes import (
    Amount,
    DemandChange,
    How,
    NodesChange,
    PoolAdded,
    PoolSelector,
    PriceChange,
    SloChange,
)
from coral_solver.planning.compare import PlanComparison, compare_plans
from coral_solver.planning.explain import ExplainOptions, explain
from coral_solver.planning.explanation import Explanation
from coral_solver.planning.facts import PlanFacts
from coral_solver.planning.planner import Planner, PlanningOptions, PlanningResult
from coral_solver.planning.whatif import WhatIf, what_if
from coral_solver.report.document import plan_document
from coral_solver.shortcuts import plan, predict

__all__ = [
    "AllocationPlan",
    "Amount",
    "CapacityKind",
    "CatalogError",
    "ClosedLoopPrediction",
    "CoralError",
    "DemandChange",
    "ExplainOptions",
    "Explanation",
    "GpuPool",
    "GpuType",
    "How",
    "InvalidInputError",
    "InventoryRow",
    "LengthDistribution",
    "Link",
    "MeasuredPoint",
    "ModelArch",
    "ModelOutcome",
    "NodesChange",
    "ObjectiveLevel",
    "PlacementSpace",
    "PlanComparison",
    "PlanFacts",
    "Planner",
    "PlanningOptions",
    "PlanningProblem",
    "PlanningResult",
    "Policy",
    "PoolAdded",
    "PoolKey",
    "PoolNode",
    "PoolScaling",
    "PoolSelector",
    "Precision",
    "PriceChange",
    "ScarcityPolicy",
    "ServedModel",
    "ServingInstance",
    "ServingMode",
    "ServingTemplate",
    "Slo",
    "SloChange",
    "SolveStatus",
    "WhatIf",
    "Workload",
    "compare_plans",
    "explain",
    "gpu_type",
    "inventory_pools",
    "model_arch",
    "plan",
    "plan_document",
    "predict",
    "what_if",
]
