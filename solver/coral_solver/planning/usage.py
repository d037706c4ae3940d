"""What a plan runs and pays, model by model and pool by pool."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.domain.hardware import PoolScaling
from coral_solver.planning.explanation import ModelExplanation, PoolExplanation, TemplateUse
from coral_solver.planning.nodes import node_count

if TYPE_CHECKING:
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import AllocationPlan, ModelOutcome, ServingInstance
    from coral_solver.domain.workload import ServedModel, Workload
    from coral_solver.planning.difference import Difference
    from coral_solver.planning.explanation import Alternative, Shortage
    from coral_solver.planning.facts import PlanFacts

SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MILLION = 1e6


class TokenPrices(NamedTuple):
    """USD per million tokens, of input and output together and of output alone.

    None where nothing is served.
    """

    all_tokens: float | None
    output_tokens: float | None


def token_prices(workload: Workload, served_req_per_s: float, usd_per_hour: float) -> TokenPrices:
    """Spread a rent over the tokens of the requests that are served.

    Parameters
    ----------
    workload
        Mean lengths of a request.
    served_req_per_s
        Demand that is served; capacity beyond it yields no tokens.
    usd_per_hour
        The rent.
    """
    served_req_per_hour = served_req_per_s * SECONDS_PER_HOUR
    output = served_req_per_hour * workload.output_tokens.mean_tokens
    everything = output + served_req_per_hour * workload.input_tokens.mean_tokens
    return TokenPrices(_per_million(usd_per_hour, everything), _per_million(usd_per_hour, output))


def outcome_of(plan: AllocationPlan, model_id: str) -> ModelOutcome:
    """Return what a plan does for one of its models."""
    return next(outcome for outcome in plan.outcomes if outcome.model_id == model_id)


def model_explanation(
    model: ServedModel,
    plan: AllocationPlan,
    alternatives: tuple[Alternative, ...],
    shortage: Shortage | None,
) -> ModelExplanation:
    """Add what runs for a model, and what it costs, to the answers about it.

    Parameters
    ----------
    model
        The model, with its targets and its traffic.
    plan
        The plan that is explained.
    alternatives, shortage
        The answers.
    """
    outcome = outcome_of(plan, model.id)
    served_req_per_s = max(0.0, outcome.demand_req_per_s - outcome.unmet_req_per_s)
    prices = token_prices(model.workload, served_req_per_s, outcome.usd_per_hour)
    return ModelExplanation(
        model=model.id,
        demand_req_per_s=outcome.demand_req_per_s,
        capacity_req_per_s=outcome.capacity_req_per_s,
        unmet_req_per_s=outcome.unmet_req_per_s,
        usd_per_hour=outcome.usd_per_hour,
        usd_per_million_tokens=prices.all_tokens,
        usd_per_million_output_tokens=prices.output_tokens,
        templates=_templates(model, plan),
        alternatives=alternatives,
        shortage=shortage,
    )


def _per_million(usd_per_hour: float, tokens_per_hour: float) -> float | None:
    return usd_per_hour / tokens_per_hour * TOKENS_PER_MILLION if tokens_per_hour > 0 else None


def _templates(model: ServedModel, plan: AllocationPlan) -> tuple[TemplateUse, ...]:
    groups: dict[tuple[str, tuple[str, ...]], list[ServingInstance]] = defaultdict(list)
    for instance in plan.instances:
        if instance.template.model_id == model.id:
            pools = tuple(dict.fromkeys(str(piece.pool) for piece in instance.slices))
            groups[instance.template.id, pools].append(instance)
    uses = []
    for (_, pools), members in groups.items():
        template = members[0].template
        prediction = template.prediction
        uses.append(
            TemplateUse(
                phase=str(template.phase),
                template=template.id,
                gpu=template.gpu,
                gpus=template.gpu_count,
                pools=pools,
                copies=len(members),
                capacity_req_per_s=sum(i.template.capacity_req_per_s for i in members),
                usd_per_hour=sum(i.usd_per_hour for i in members),
                ttft_s=prediction.ttft_s,
                tpot_s=prediction.tpot_s,
                ttft_margin=margin(prediction.ttft_s, model.slo.ttft_s),
                tpot_margin=margin(prediction.tpot_s, model.slo.tpot_s),
                prediction_source=prediction.source,
                error_share=prediction.error_share,
            )
        )
    return tuple(sorted(uses, key=lambda use: (-use.usd_per_hour, use.template, use.pools)))


def margin(predicted_s: float, target_s: float) -> float | None:
    """Return the unused share of a latency target; None where the phase has no such latency."""
    return 1.0 - predicted_s / target_s if predicted_s > 0 else None


def gpus_on_offer(pool: GpuPool) -> int:
    """Return how many GPUs a plan may use: free ones, or those of all nodes that may be open."""
    if pool.scaling is PoolScaling.ELASTIC:
        return node_count(pool) * pool.key.gpus_per_node
    return pool.free_gpus


def pool_explanation(
    pool: GpuPool, plan: PlanFacts, one_more_node: Difference | None
) -> PoolExplanation:
    """Add what a pool is used for to the answer about it.

    Parameters
    ----------
    pool
        The pool.
    plan
        The plan that is explained.
    one_more_node
        The answer; None: not asked.
    """
    used_by: Counter[str] = Counter()
    for instance in plan.instances:
        gpus = instance.gpus_by_pool.get(pool.name, 0)
        if gpus:
            used_by[instance.model] += gpus
    return PoolExplanation(
        pool=pool.name,
        gpu=pool.key.gpu,
        gpus_per_node=pool.key.gpus_per_node,
        node_usd_per_hour=pool.node_usd_per_hour,
        is_elastic=pool.scaling is PoolScaling.ELASTIC,
        gpus=gpus_on_offer(pool),
        gpus_used=used_by.total(),
        opened_nodes=(
            plan.opened_nodes.get(pool.name, 0) if pool.scaling is PoolScaling.ELASTIC else None
        ),
        used_by=dict(sorted(used_by.items())),
        one_more_node=one_more_node,
    )
