"""The stable JSON forms of explanations, what-ifs and comparisons (docs/explain.md)."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coral_solver.planning.compare import ModelChange, Pair, PlanComparison
    from coral_solver.planning.difference import Difference
    from coral_solver.planning.explanation import (
        Explanation,
        ModelExplanation,
        PoolExplanation,
        Shortage,
    )
    from coral_solver.planning.facts import PlanFacts
    from coral_solver.planning.whatif import Sweep, WhatIf

ANSWER_VERSION = 1


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """Turn an explanation into plain data; JSON-serialisable."""
    plan = explanation.plan
    return {
        "version": ANSWER_VERSION,
        "plan": {
            "status": str(plan.status),
            "cost_usd_per_hour": plan.cost_usd_per_hour,
            "rent_usd_per_hour": plan.rent_usd_per_hour,
            "switching_usd_per_hour": plan.switching_usd_per_hour,
            "unmet_req_per_s": plan.unmet_req_per_s,
            "bound_scope": plan.bound_scope,
        },
        "charges_switching": explanation.charges_switching,
        "models": [_model(model) for model in explanation.models],
        "pools": [_pool(pool) for pool in explanation.pools],
        "solves": explanation.solves,
        "unanswered": list(explanation.unanswered),
    }


def what_if_document(found: WhatIf) -> dict[str, Any]:
    """Turn a what-if into plain data; JSON-serialisable."""
    return {
        "version": ANSWER_VERSION,
        "changes": list(found.changes),
        **_comparison(found.comparison),
    }


def sweep_document(found: Sweep) -> dict[str, Any]:
    """Turn a sweep into plain data; JSON-serialisable."""
    return {
        "version": ANSWER_VERSION,
        "changes": list(found.changes),
        "before": _plan(found.before),
        "points": [
            {
                "value": point.value,
                "change": point.change,
                "plan": _plan(point.plan),
                "difference": difference_document(point.difference),
            }
            for point in found.points
        ],
    }


def comparison_document(comparison: PlanComparison) -> dict[str, Any]:
    """Turn a comparison of two plans into plain data; JSON-serialisable."""
    return {"version": ANSWER_VERSION, **_comparison(comparison)}


def difference_document(found: Difference) -> dict[str, Any]:
    """Turn a difference into plain data; JSON-serialisable."""
    return {
        "effect": str(found.effect),
        "level": found.level,
        "is_proven": found.is_proven,
        "cost_usd_per_hour": found.cost_usd_per_hour,
        "rent_usd_per_hour": found.rent_usd_per_hour,
        "least_usd_per_hour": found.least_usd_per_hour,
        "most_usd_per_hour": found.most_usd_per_hour,
        "unmet_req_per_s": found.unmet_req_per_s,
        "unmet_by_model": dict(found.unmet_by_model),
    }


def _model(model: ModelExplanation) -> dict[str, Any]:
    return {
        "model": model.model,
        "demand_req_per_s": model.demand_req_per_s,
        "capacity_req_per_s": model.capacity_req_per_s,
        "unmet_req_per_s": model.unmet_req_per_s,
        "usd_per_hour": model.usd_per_hour,
        "usd_per_million_tokens": model.usd_per_million_tokens,
        "usd_per_million_output_tokens": model.usd_per_million_output_tokens,
        "templates": [asdict(use) | {"pools": list(use.pools)} for use in model.templates],
        "alternatives": [
            {
                "limit": str(other.limit),
                "gpu": other.gpu,
                "gpus_now": dict(other.gpus_now),
                "difference": difference_document(other.difference),
            }
            for other in model.alternatives
        ],
        "shortage": None if model.shortage is None else _shortage(model.shortage),
    }


def _shortage(shortage: Shortage) -> dict[str, Any]:
    return {
        "reason": shortage.reason,
        "message": shortage.message,
        "usable_pools": list(shortage.usable_pools),
        "remedies": [
            {
                "pool": remedy.pool,
                "nodes": remedy.nodes,
                "tried_nodes": remedy.tried_nodes,
                "is_least": remedy.is_least,
                "node_usd_per_hour": remedy.node_usd_per_hour,
                "difference": difference_document(remedy.difference),
            }
            for remedy in shortage.remedies
        ],
    }


def _pool(pool: PoolExplanation) -> dict[str, Any]:
    return {
        "pool": pool.pool,
        "gpu": pool.gpu,
        "gpus_per_node": pool.gpus_per_node,
        "node_usd_per_hour": pool.node_usd_per_hour,
        "is_elastic": pool.is_elastic,
        "gpus": pool.gpus,
        "gpus_used": pool.gpus_used,
        "opened_nodes": pool.opened_nodes,
        "used_by": dict(pool.used_by),
        "is_full": pool.is_full,
        "binds": pool.binds,
        "one_more_node": (
            None if pool.one_more_node is None else difference_document(pool.one_more_node)
        ),
    }


def _comparison(comparison: PlanComparison) -> dict[str, Any]:
    return {
        "differs": comparison.differs,
        "difference": difference_document(comparison.difference),
        "instances": {
            "kept": comparison.kept,
            "moved": comparison.moved,
            "started": comparison.started,
            "stopped": comparison.stopped,
        },
        "before": _plan(comparison.before),
        "after": _plan(comparison.after),
        "models": [_model_change(model) for model in comparison.models],
        "gpus_by_pool": {name: _pair(pair) for name, pair in comparison.gpus_by_pool.items()},
        "opened_nodes": {name: _pair(pair) for name, pair in comparison.opened_nodes.items()},
    }


def _plan(plan: PlanFacts) -> dict[str, Any]:
    return {
        "status": plan.status,
        "cost_usd_per_hour": plan.cost_usd_per_hour,
        "rent_usd_per_hour": plan.rent_usd_per_hour,
        "switching_usd_per_hour": plan.switching_usd_per_hour,
        "served_req_per_s": plan.served_req_per_s,
        "unmet_req_per_s": dict(plan.unmet_req_per_s),
        "gpus_by_pool": plan.gpus_by_pool(),
        "objective": [
            {
                "level": level.level,
                "sense": level.sense,
                "value": level.value,
                # JSON has no infinity: a level without a bound has none.
                "bound": level.bound if math.isfinite(level.bound) else None,
                "gap": level.gap if math.isfinite(level.gap) else None,
            }
            for level in plan.objective
        ],
    }


def _model_change(model: ModelChange) -> dict[str, Any]:
    return {
        "model": model.model,
        "differs": model.differs,
        "demand_req_per_s": _pair(model.demand_req_per_s),
        "capacity_req_per_s": _pair(model.capacity_req_per_s),
        "unmet_req_per_s": _pair(model.unmet_req_per_s),
        "usd_per_hour": _pair(model.usd_per_hour),
        "instances": [asdict(item) | {"pools": list(item.pools)} for item in model.instances],
    }


def _pair(pair: Pair) -> dict[str, float | None]:
    return {"before": pair.before, "after": pair.after}
