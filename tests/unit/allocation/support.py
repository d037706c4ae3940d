"""Small problems with made-up templates, and a brute-force planner for them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    Link,
    NodeConfig,
    PoolKey,
    PoolNode,
    PoolScaling,
    Precision,
)
from coral_solver.domain.plan import NodeSlice, PlanningProblem, Policy, ServingInstance
from coral_solver.domain.template import Prediction, ServingTemplate, StagePlacement
from coral_solver.domain.workload import (
    LengthDistribution,
    ModelArch,
    Phase,
    ServedModel,
    ServingMode,
    Slo,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coral_solver.domain.plan import AllocationPlan

LAYERS = 12
ARCH = ModelArch(
    name="tiny",
    hub_id=None,
    layers=LAYERS,
    hidden_size=64,
    attention_heads=4,
    kv_heads=4,
    head_dim=16,
    intermediate_size=128,
    vocab_size=1000,
    max_context_tokens=4096,
    native_precision=Precision.BF16,
    source="made up",
)
WORKLOAD = Workload(
    input_tokens=LengthDistribution.from_mean(100),
    output_tokens=LengthDistribution.from_mean(100),
)
STATUSES = ("OPTIMAL", "FEASIBLE", "NO_SOLUTION", "ERROR")


def seeded(seed: int) -> random.Random:
    """Return a generator whose draws a test can repeat."""
    return random.Random(seed)  # noqa: S311 - made-up numbers, not secrets


def model(
    name: str = "a",
    demand: float = 1.0,
    *,
    serving: ServingMode = ServingMode.AGGREGATED,
    headroom: float = 0.0,
    priority: int = 0,
    min_replicas: int = 0,
    allowed: frozenset[str] | None = None,
) -> ServedModel:
    return ServedModel(
        id=f"ns/svc/{name}",
        arch=ARCH,
        precision=Precision.BF16,
        slo=Slo(ttft_s=1.0, tpot_s=0.1),
        workload=WORKLOAD,
        demand_req_per_s=demand,
        headroom=headroom,
        priority=priority,
        min_replicas=min_replicas,
        serving=serving,
        allowed_gpus=allowed,
    )


MADE_FOR = model().targets_digest
"""Of every model that ``model`` makes."""


def config(gpu: str = "L4", gpu_count: int = 1) -> NodeConfig:
    return NodeConfig(gpu, gpu_count, Link.PCIE)


def pool(
    gpu: str = "L4",
    gpus_per_node: int = 1,
    free: Sequence[int] = (),
    *,
    region: str = "r1",
    gpu_usd: float = 1.0,
    kind: CapacityKind = CapacityKind.ON_DEMAND,
    max_nodes: int | None = None,
    start_time_s: float = 0.0,
    site_factor: float = 1.0,
) -> GpuPool:
    """Make a pool; ``max_nodes`` makes it elastic. Starting is free of charge by default."""
    key = PoolKey(gpu, gpus_per_node, Link.PCIE, region, kind)
    return GpuPool(
        key=key,
        node_usd_per_hour=gpu_usd * gpus_per_node,
        nodes=tuple(
            PoolNode(f"{region}-{gpu}x{gpus_per_node}-{kind}-{i}".lower(), n)
            for i, n in enumerate(free)
        ),
        scaling=PoolScaling.FIXED if max_nodes is None else PoolScaling.ELASTIC,
        max_nodes=max_nodes or 0,
        start_time_s=start_time_s,
        site_factor=site_factor,
    )


def template(
    name: str,
    capacity: float,
    *stages: NodeConfig | tuple[NodeConfig, ...],
    phase: Phase = Phase.WHOLE,
) -> ServingTemplate:
    """Make a template of model ``name``; a stage is a configuration or several of them."""
    groups = [(stage,) if isinstance(stage, NodeConfig) else stage for stage in stages]
    layers = [LAYERS // len(groups)] * len(groups)
    layers[0] += LAYERS - sum(layers)
    return ServingTemplate(
        model_id=f"ns/svc/{name}",
        phase=phase,
        stages=tuple(
            StagePlacement(n, tuple(sorted(group))) for n, group in zip(layers, groups, strict=True)
        ),
        prediction=Prediction(
            capacity_req_per_s=capacity,
            ttft_s=0.5,
            tpot_s=0.05,
            batch_per_stage=8,
            source="made up",
        ),
        made_for=MADE_FOR,
    )


@dataclass(frozen=True)
class FakeSource:
    """Gives the templates that it was made with, as far as they are on offer."""

    given: tuple[ServingTemplate, ...]
    scope: str = "the given templates"

    def templates(
        self, model: ServedModel, configs: Sequence[NodeConfig]
    ) -> Sequence[ServingTemplate]:
        return [
            t
            for t in self.given
            if t.model_id == model.id
            and t.phase in model.serving.phases
            and all(c in configs and model.may_use(c.gpu) for c in t.config_counts)
        ]


def source(*templates: ServingTemplate) -> FakeSource:
    return FakeSource(tuple(templates))


def problem(
    models: Sequence[ServedModel],
    pools: Sequence[GpuPool],
    *,
    policy: Policy | None = None,
    in_force: Sequence[ServingInstance] = (),
) -> PlanningProblem:
    return PlanningProblem(
        models=tuple(models),
        pools=tuple(pools),
        policy=policy or Policy(),
        in_force=tuple(in_force),
    )


def running(
    name: str, what: ServingTemplate, where: GpuPool, *nodes: str | None
) -> ServingInstance:
    """Make an instance in force, all of it in one pool."""
    return ServingInstance(
        name=name,
        template=what,
        region=where.key.region,
        slices=tuple(NodeSlice(where.key, node) for node in nodes),
        usd_per_hour=what.gpu_count * where.gpu_usd_per_hour(),
    )


def brute_force(
    given: PlanningProblem, templates: Sequence[ServingTemplate], *, sum_regions: bool = False
) -> tuple[list[float], float]:
    """Try every way to put instances on nodes; fixed pools, nothing in force, no wishes.

    Returns
    -------
    list of float
        The best served shares of the models with a demand, ascending, by leximin.
    float
        The least rent plus starting charge, in USD per hour, at which they are reached.
    """
    nodes = [(pool, node.free_gpus) for pool in given.pools for node in pool.nodes]
    kinds = [
        (t, region)
        for t in templates
        for region in sorted({pool.key.region for pool in given.pools})
    ]

    def placements(
        free: tuple[int, ...], t: ServingTemplate, region: str
    ) -> Iterator[tuple[tuple[int, ...], float, float]]:
        """Yield what is free afterwards, the cost, and the slowest site factor."""
        options = [(free, 0.0, float("inf"))]
        for c in t.config_counts.elements():
            options = [
                (
                    (*left[:i], left[i] - c.gpu_count, *left[i + 1 :]),
                    cost
                    + c.gpu_count
                    * where.gpu_usd_per_hour()
                    * (1 + where.start_time_s / given.policy.payback_horizon_s),
                    min(factor, where.site_factor),
                )
                for left, cost, factor in options
                for i, (where, _) in enumerate(nodes)
                if where.key.region == region
                and (where.key.gpu, where.key.link) == (c.gpu, c.link)
                and left[i] >= c.gpu_count
            ]
        yield from options

    # state: (free GPUs, rates by (model, phase, region)) -> least cost
    start = (tuple(free for _, free in nodes), ())
    states: dict[tuple[tuple[int, ...], tuple[tuple[tuple[str, str, str], float], ...]], float]
    states = {start: 0.0}
    for t, region in kinds:
        grown = dict(states)
        frontier = dict(states)
        while frontier:
            found: dict[object, float] = {}
            for (free, rates), cost in frontier.items():
                for left, more, factor in placements(free, t, region):
                    now = dict(rates)
                    key = (t.model_id, str(t.phase), region)
                    now[key] = round(now.get(key, 0.0) + t.capacity_req_per_s * factor, 9)
                    state = (left, tuple(sorted(now.items())))
                    total = round(cost + more, 9)
                    if total < min(grown.get(state, float("inf")), found.get(state, float("inf"))):
                        found[state] = total
            grown.update(found)
            frontier = found
        states = grown

    best: tuple[list[float], float] = ([-1.0], float("inf"))
    for (_, rates), cost in states.items():
        shares = sorted(
            min(1.0, _served(dict(rates), m.id, sum_regions) / m.demand_req_per_s)
            for m in given.models
            if m.demand_req_per_s > 0
        )
        better = [round(s, 7) for s in shares], -round(cost, 7)
        if better > ([round(s, 7) for s in best[0]], -round(best[1], 7)):
            best = (shares, cost)
    return best


def _served(rates: dict[tuple[str, str, str], float], model_id: str, sum_regions: bool) -> float:
    mine = {(p, r): x for (m, p, r), x in rates.items() if m == model_id}
    whole = sum(x for (p, _), x in mine.items() if p == "WHOLE")
    if sum_regions:
        return whole + min(
            sum(x for (p, _), x in mine.items() if p == wanted) for wanted in ("PREFILL", "DECODE")
        )
    regions = {r for _, r in mine}
    return whole + sum(
        min(mine.get(("PREFILL", r), 0.0), mine.get(("DECODE", r), 0.0)) for r in regions
    )


def levels(plan: AllocationPlan) -> dict[str, float]:
    """Return the values of a plan's levels by name."""
    return {level.level: level.value for level in plan.objective}


def shares_of(plan: AllocationPlan) -> list[float]:
    """Return the served shares of a plan, ascending."""
    return sorted(
        min(1.0, o.capacity_req_per_s / o.demand_req_per_s)
        for o in plan.outcomes
        if o.demand_req_per_s > 0
    )


def outcome(plan, name="a"):
    return next(o for o in plan.outcomes if o.model_id == f"ns/svc/{name}")
