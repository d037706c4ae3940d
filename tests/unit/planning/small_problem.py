"""One model and one pool that are as they should be, for tests that spoil something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_solver.allocation.check import check_plan
from coral_solver.catalog import model_arch, paper_workload
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    Link,
    PoolKey,
    PoolNode,
)
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.workload import ServedModel, ServingMode, Slo
from coral_solver.planning.planner import Planner, PlanningOptions

if TYPE_CHECKING:
    from coral_solver.domain.plan import AllocationPlan


def served(
    name: str = "llama-3.1-8b",
    demand_req_per_s: float = 2.0,
    *,
    ttft_s: float = 2.0,
    tpot_s: float = 0.1,
) -> ServedModel:
    arch = model_arch(name)
    return ServedModel(
        id=f"default/chat/{name}",
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(ttft_s=ttft_s, tpot_s=tpot_s),
        workload=paper_workload("azure-conv"),
        demand_req_per_s=demand_req_per_s,
        serving=ServingMode.AGGREGATED,
    )


def l4_pool(nodes: int = 4, *, usd: float = 4.6, region: str = "here") -> GpuPool:
    return GpuPool(
        key=PoolKey("L4", 4, Link.PCIE, region, CapacityKind.ON_DEMAND),
        node_usd_per_hour=usd,
        nodes=tuple(PoolNode(f"{region}-{i:04d}", 4) for i in range(nodes)),
    )


GOOD = PlanningProblem(models=(served(),), pools=(l4_pool(),))
OPTIONS = PlanningOptions(max_nodes=1, time_limit_s=10.0, with_baselines=False)


def checked(planner: Planner, problem: PlanningProblem) -> AllocationPlan:
    """Plan, and check the plan here, too."""
    plan = planner.plan(problem).plan
    check_plan(problem, plan)
    return plan
