"""A small problem and a plan document for it, made by hand."""

from __future__ import annotations

from typing import Any

from coral_solver.catalog import model_arch
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    Link,
    PoolKey,
    PoolNode,
    PoolScaling,
)
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.workload import LengthDistribution, ServedModel, Slo, Workload

L4 = "here/L4x4-pcie/on-demand"
H100 = "here/H100x8-nvlink/on-demand"


def served(model_id: str, demand_req_per_s: float) -> ServedModel:
    """Return a model with 900 input and 100 output tokens a request."""
    arch = model_arch("phi-4")
    return ServedModel(
        id=model_id,
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(ttft_s=1.0, tpot_s=0.05),
        workload=Workload(
            input_tokens=LengthDistribution.from_mean(900),
            output_tokens=LengthDistribution.from_mean(100),
        ),
        demand_req_per_s=demand_req_per_s,
    )


def problem(*models: ServedModel) -> PlanningProblem:
    """Return a problem with 2 nodes of 4 L4 at 4 USD/h, and up to 3 elastic ones of 8 H100."""
    l4 = GpuPool(
        key=PoolKey("L4", 4, Link.PCIE, "here", CapacityKind.ON_DEMAND),
        node_usd_per_hour=4.0,
        nodes=(PoolNode("a", 4), PoolNode("b", 2)),
    )
    h100 = GpuPool(
        key=PoolKey("H100", 8, Link.NVLINK, "here", CapacityKind.ON_DEMAND),
        node_usd_per_hour=48.0,
        scaling=PoolScaling.ELASTIC,
        max_nodes=3,
    )
    return PlanningProblem(models=models, pools=(h100, l4))


def instance(model: str, **fields: Any) -> dict[str, Any]:
    """Return an instance of a plan document: one L4 of node ``a`` unless fields say otherwise."""
    return {
        "name": "one",
        "model": model,
        "phase": "WHOLE",
        "template": "whole-l4x1",
        "pool": L4,
        "region": "here",
        "nodes": ["a"],
        "slices": [{"pool": L4, "node": "a", "gpu": "L4", "gpus": 1}],
        "gpus": 1,
        "gpu": "L4",
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
        "layers_per_stage": [40],
        "capacity_req_per_s": 2.0,
        "error_share": None,
        "usd_per_hour": 1.0,
        "ttft_s": 0.6,
        "tpot_s": 0.04,
        "ttft_margin": 0.4,
        "tpot_margin": 0.2,
        "prediction_source": "physical model",
    } | fields


def outcome(model: str, demand: float, unmet: float = 0.0, **fields: Any) -> dict[str, Any]:
    """Return the outcome of a model in a plan document."""
    return {
        "model": model,
        "demand_req_per_s": demand,
        "capacity_req_per_s": demand - unmet,
        "unmet_req_per_s": unmet,
        "usd_per_hour": 1.0,
        "reason": "CapacityShort" if unmet else "Served",
        "message": "as it is",
    } | fields


def document(
    instances: list[dict[str, Any]], models: list[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    """Return a plan document whose rent is that of its instances."""
    rent = sum(item["usd_per_hour"] for item in instances)
    return {
        "version": 1,
        "status": "OPTIMAL",
        "cost_usd_per_hour": rent,
        "rent_usd_per_hour": rent,
        "switching_usd_per_hour": 0.0,
        "objective": [
            {"level": "cost_usd_per_hour", "sense": "min", "value": rent, "bound": rent, "gap": 0.0}
        ],
        "bound_scope": "these",
        "solve_s": 0.1,
        "templates_s": 0.2,
        "instances": instances,
        "models": models,
        "unmet_req_per_s": {item["model"]: item["unmet_req_per_s"] for item in models},
        "opened_nodes": {},
        "robustness": 0.0,
        "without_margin": None,
        "baselines": {},
    } | fields


def peer(rent_usd_per_hour: float, **unmet_req_per_s: float) -> dict[str, Any]:
    """Return a peer of a plan document."""
    return {
        "status": "OPTIMAL",
        "cost_usd_per_hour": rent_usd_per_hour,
        "rent_usd_per_hour": rent_usd_per_hour,
        "unmet_req_per_s": unmet_req_per_s,
        "gpus": 1,
    }
