"""What the plots and tables of a report show: plain numbers, taken from a plan document.

A plan document is what ``coral_solver.report.document.plan_document`` returns, and what
``coral plan -o json`` writes: a report can be made of either.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coral_solver.domain.hardware import PoolScaling
from coral_solver.planning.usage import token_prices
from coral_solver.report.peers import PeerRow, peer_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem, Policy
    from coral_solver.domain.workload import ServedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """GPUs of one pool.

    Attributes
    ----------
    pool
        Name of the pool.
    used_by_model
        GPUs in use by model id, most first.
    idle_gpus
        GPUs that Coral may use and does not; in an elastic pool those of opened, paid nodes.
    unopened_gpus
        GPUs of nodes that an elastic pool could still open; 0 in a fixed one.
    gpu_usd_per_hour
        Price of one GPU.
    """

    pool: str
    used_by_model: Mapping[str, int]
    idle_gpus: int
    unopened_gpus: int
    gpu_usd_per_hour: float

    @property
    def used_gpus(self) -> int:
        """GPUs in use."""
        return sum(self.used_by_model.values())

    @property
    def total_gpus(self) -> int:
        """GPUs in use, idle, and in nodes that can be opened."""
        return self.used_gpus + self.idle_gpus + self.unopened_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What one model asks for, gets and costs.

    Attributes
    ----------
    model_id
        The model.
    demand_req_per_s, served_req_per_s, unmet_req_per_s, capacity_req_per_s
        Raw demand, its served part, the rest, and what the instances could carry.
    capacity_low_req_per_s, capacity_high_req_per_s
        Ends of the error bar: every instance at the lower, or the upper end of its own. None
        where a prediction has no bar, or there is no instance. Of a model with phases of its own,
        both are None: its capacity is no sum over instances.
    usd_per_hour
        Rent of its instances.
    usd_per_million_tokens
        That rent over the tokens, input and output together, of the served demand; None where
        nothing is served.
    usd_per_million_output_tokens
        The same rent over the output tokens alone.
    gpus, instances
        What it holds.
    reason, message
        Why it gets what it gets.
    """

    model_id: str
    demand_req_per_s: float
    served_req_per_s: float
    unmet_req_per_s: float
    capacity_req_per_s: float
    capacity_low_req_per_s: float | None
    capacity_high_req_per_s: float | None
    usd_per_hour: float
    usd_per_million_tokens: float | None
    usd_per_million_output_tokens: float | None
    gpus: int
    instances: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """Instances of one template on one set of pools.

    Attributes
    ----------
    model_id, phase, template
        What runs.
    copies
        Number of instances.
    hardware
        GPUs of one instance in words, first stage first, for example ``2 L40S + 1 L4``.
    parallelism
        In words, for example ``TP 2, PP 2 (20+28 layers)``.
    pool
        Pool, or several joined by ``+``.
    nodes
        Node names, each once; nodes that an elastic pool is to open are not among them.
    gpus
        GPUs of one instance.
    capacity_req_per_s, usd_per_hour
        Of one instance.
    ttft_s, tpot_s, ttft_margin, tpot_margin
        As in the plan document.
    ttft_target_s, tpot_target_s
        The model's targets.
    error_share, prediction_source
        Half width of the capacity's error bar, None without; what the prediction rests on.
    """

    model_id: str
    phase: str
    template: str
    copies: int
    hardware: str
    parallelism: str
    pool: str
    nodes: tuple[str, ...]
    gpus: int
    capacity_req_per_s: float
    usd_per_hour: float
    ttft_s: float
    tpot_s: float
    ttft_margin: float | None
    tpot_margin: float | None
    ttft_target_s: float
    tpot_target_s: float
    error_share: float | None
    prediction_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigures:
    """Everything that a report shows of a plan, besides the template frontiers.

    Attributes
    ----------
    pools
        By name.
    models
        By id.
    groups
        By model, largest rent first.
    peers
        The plan first, then the peers by rent.
    idle_rent_usd_per_hour
        Rent of GPUs in opened nodes that no instance uses.
    """

    pools: tuple[PoolUse, ...]
    models: tuple[ModelCost, ...]
    groups: tuple[InstanceGroup, ...]
    peers: tuple[PeerRow, ...]
    idle_rent_usd_per_hour: float


def report_figures(problem: PlanningProblem, document: Mapping[str, Any]) -> ReportFigures:
    """Collect what a report shows.

    Parameters
    ----------
    problem
        Models and pools that the plan was made for.
    document
        The plan, as ``plan_document`` gives it; its models and pools are those of ``problem``.

    Returns
    -------
    ReportFigures
        Deterministic: every order follows from the inputs.
    """
    models = {model.id: model for model in problem.models}
    instances: Sequence[Mapping[str, Any]] = document["instances"]
    of_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for instance in instances:
        of_model[instance["model"]].append(instance)
    rent = sum(instance["usd_per_hour"] for instance in instances)
    return ReportFigures(
        pools=tuple(
            _pool_use(pool, instances, document["opened_nodes"])
            for pool in sorted(problem.pools, key=lambda pool: pool.name)
        ),
        models=tuple(
            _model_cost(
                outcome, models[outcome["model"]], of_model[outcome["model"]], problem.policy
            )
            for outcome in document["models"]
        ),
        groups=_groups(instances, models),
        peers=peer_rows(document),
        idle_rent_usd_per_hour=max(0.0, document["rent_usd_per_hour"] - rent),
    )


def _pool_use(
    pool: GpuPool, instances: Sequence[Mapping[str, Any]], opened_nodes: Mapping[str, int]
) -> PoolUse:
    used: Counter[str] = Counter()
    for instance in instances:
        for piece in instance["slices"]:
            if piece["pool"] == pool.name:
                used[instance["model"]] += piece["gpus"]
    if pool.scaling is PoolScaling.ELASTIC:
        opened = opened_nodes.get(pool.name, 0)
        available = opened * pool.key.gpus_per_node
        unopened = (pool.max_nodes - opened) * pool.key.gpus_per_node
    else:
        available, unopened = pool.free_gpus, 0
    return PoolUse(
        pool=pool.name,
        used_by_model=dict(sorted(used.items(), key=lambda item: (-item[1], item[0]))),
        idle_gpus=max(0, available - used.total()),
        unopened_gpus=max(0, unopened),
        gpu_usd_per_hour=pool.gpu_usd_per_hour(),
    )


def _model_cost(
    outcome: Mapping[str, Any],
    model: ServedModel,
    instances: Sequence[Mapping[str, Any]],
    policy: Policy,
) -> ModelCost:
    served = max(0.0, outcome["demand_req_per_s"] - outcome["unmet_req_per_s"])
    usd = outcome["usd_per_hour"]
    prices = token_prices(model.workload, served, usd)
    low, high = _capacity_bar(instances, policy.robustness)
    return ModelCost(
        model_id=outcome["model"],
        demand_req_per_s=outcome["demand_req_per_s"],
        served_req_per_s=served,
        unmet_req_per_s=outcome["unmet_req_per_s"],
        capacity_req_per_s=outcome["capacity_req_per_s"],
        capacity_low_req_per_s=low,
        capacity_high_req_per_s=high,
        usd_per_hour=usd,
        usd_per_million_tokens=prices.all_tokens,
        usd_per_million_output_tokens=prices.output_tokens,
        gpus=sum(instance["gpus"] for instance in instances),
        instances=len(instances),
        reason=outcome["reason"],
        message=outcome["message"],
    )


def _capacity_bar(
    instances: Sequence[Mapping[str, Any]], robustness: float
) -> tuple[float | None, float | None]:
    """Return the ends of a model's error bar.

    Its instances err together, not independently: they share a model. A planned capacity that has
    a margin in it lies below the middle of its bar.
    """
    has_bars = all(i["error_share"] and i["phase"] == "WHOLE" for i in instances)
    if not instances or not has_bars:
        return None, None
    low = high = 0.0
    for instance in instances:
        error = instance["error_share"]
        middle = instance["capacity_req_per_s"] * (1.0 + robustness * error)
        low += middle * max(0.0, 1.0 - error)
        high += middle * (1.0 + error)
    return low, high


def _groups(
    instances: Sequence[Mapping[str, Any]], models: Mapping[str, ServedModel]
) -> tuple[InstanceGroup, ...]:
    members: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for instance in instances:
        members[instance["model"], instance["template"], instance["pool"]].append(instance)
    groups = []
    for (model_id, template, pool), same in members.items():
        first, slo = same[0], models[model_id].slo
        groups.append(
            InstanceGroup(
                model_id=model_id,
                phase=first["phase"],
                template=template,
                copies=len(same),
                hardware=hardware_in_words(first),
                parallelism=_parallelism(first),
                pool=pool,
                nodes=tuple(dict.fromkeys(n for i in same for n in i["nodes"] if n is not None)),
                gpus=first["gpus"],
                capacity_req_per_s=first["capacity_req_per_s"],
                usd_per_hour=first["usd_per_hour"],
                ttft_s=first["ttft_s"],
                tpot_s=first["tpot_s"],
                ttft_margin=first["ttft_margin"],
                tpot_margin=first["tpot_margin"],
                ttft_target_s=slo.ttft_s,
                tpot_target_s=slo.tpot_s,
                error_share=first["error_share"] or None,
                prediction_source=first["prediction_source"],
            )
        )
    return tuple(
        sorted(groups, key=lambda g: (g.model_id, -g.copies * g.usd_per_hour, g.template, g.pool))
    )


def hardware_in_words(instance: Mapping[str, Any]) -> str:
    """Return the GPUs of an instance of a plan document, for example ``2 L40S + 1 L4``."""
    gpus: Counter[str] = Counter()
    for piece in instance["slices"]:
        gpus[piece["gpu"]] += piece["gpus"]
    return " + ".join(f"{count} {gpu}" for gpu, count in gpus.items())


def _parallelism(instance: Mapping[str, Any]) -> str:
    parts = [f"TP {instance['tensor_parallel']}"] if instance["tensor_parallel"] else []
    if instance["pipeline_parallel"] > 1:
        layers = "+".join(str(count) for count in instance["layers_per_stage"])
        parts.append(f"PP {instance['pipeline_parallel']} ({layers} layers)")
    return ", ".join(parts)
