"""The stable JSON form of a planning result (docs/reference/plan-json.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_solver.planning.usage import margin

if TYPE_CHECKING:
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem, ServingInstance
    from coral_solver.domain.workload import ServedModel
    from coral_solver.planning.planner import PlanningResult

DOCUMENT_VERSION = 1


def plan_document(problem: PlanningProblem, result: PlanningResult) -> dict[str, Any]:
    """Turn a planning result into plain data.

    Parameters
    ----------
    problem
        What was planned; gives the SLOs that margins are measured against.
    result
        The checked plan and its peers.

    Returns
    -------
    dict
        JSON-serialisable; keys and units as documented, sorted where order has no meaning.
    """
    plan = result.plan
    models = {model.id: model for model in problem.models}
    return {
        "version": DOCUMENT_VERSION,
        "status": str(plan.status),
        "cost_usd_per_hour": plan.cost_usd_per_hour,
        "rent_usd_per_hour": plan.rent_usd_per_hour,
        "switching_usd_per_hour": plan.switching_usd_per_hour,
        "objective": [
            {
                "level": level.level,
                "sense": level.sense,
                "value": level.value,
                "bound": level.bound,
                "gap": level.gap,
            }
            for level in plan.objective
        ],
        "bound_scope": plan.bound_scope,
        "solve_s": plan.solve_s,
        "templates_s": result.templates_s,
        "instances": [
            _instance(instance, models[instance.template.model_id]) for instance in plan.instances
        ],
        "models": [
            {
                "model": outcome.model_id,
                "demand_req_per_s": outcome.demand_req_per_s,
                "capacity_req_per_s": outcome.capacity_req_per_s,
                "unmet_req_per_s": outcome.unmet_req_per_s,
                "usd_per_hour": outcome.usd_per_hour,
                "reason": outcome.reason,
                "message": outcome.message,
            }
            for outcome in plan.outcomes
        ],
        "unmet_req_per_s": plan.unmet_req_per_s,
        "opened_nodes": dict(plan.opened_nodes),
        "robustness": problem.policy.robustness,
        "without_margin": (
            _baseline(result.without_margin) if result.without_margin is not None else None
        ),
        "baselines": {name: _baseline(peer) for name, peer in sorted(result.baselines.items())},
    }


def _instance(instance: ServingInstance, model: ServedModel) -> dict[str, Any]:
    template = instance.template
    prediction = template.prediction
    engine = template.engine
    return {
        "name": instance.name,
        "model": template.model_id,
        "phase": str(template.phase),
        "template": template.id,
        "pool": "+".join(dict.fromkeys(str(piece.pool) for piece in instance.slices)),
        "region": instance.region,
        "nodes": [piece.node for piece in instance.slices],
        "slices": [
            {
                "pool": str(piece.pool),
                "node": piece.node,
                "gpu": config.gpu,
                "gpus": config.gpu_count,
            }
            for piece, config in zip(instance.slices, template.configs, strict=True)
        ],
        "gpu": template.gpu,
        "gpus": template.gpu_count,
        "tensor_parallel": engine.tensor_parallel if engine else None,
        "pipeline_parallel": len(template.stages),
        "layers_per_stage": [stage.layers for stage in template.stages],
        "engine": (
            {
                "max_model_len_tokens": engine.max_model_len_tokens,
                "max_num_seqs": engine.max_num_seqs,
                "max_num_batched_tokens": engine.max_num_batched_tokens,
                "gpu_memory_utilization": engine.gpu_memory_utilization,
            }
            if engine
            else None
        ),
        "capacity_req_per_s": template.capacity_req_per_s,
        "error_share": prediction.error_share,
        "usd_per_hour": instance.usd_per_hour,
        "ttft_s": prediction.ttft_s,
        "tpot_s": prediction.tpot_s,
        "ttft_margin": margin(prediction.ttft_s, model.slo.ttft_s),
        "tpot_margin": margin(prediction.tpot_s, model.slo.tpot_s),
        "prediction_source": prediction.source,
    }


def _baseline(peer: AllocationPlan) -> dict[str, Any]:
    return {
        "status": str(peer.status),
        "cost_usd_per_hour": peer.cost_usd_per_hour,
        "rent_usd_per_hour": peer.rent_usd_per_hour,
        "unmet_req_per_s": peer.unmet_req_per_s,
        "gpus": sum(instance.template.gpu_count for instance in peer.instances),
    }
