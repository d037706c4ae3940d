"""Peers that serve with combinations of prefill and decode replicas, homogeneous per phase.

Cauchy (SoCC 2025) deploys "GPU combos": some prefill replicas and some decode replicas, each phase
on GPUs of one kind, ranked by what they serve per USD. arXiv 2605.04357 compares itself with it as
phase-disaggregated combinations that are homogeneous per phase, chosen model by model. The paper
does not publish the rule that it implements; the rules here are our reading of both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.names import NameBook
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.compose import compose_plan, refuse_budget
from coral_solver.baselines.homogeneous_source import HomogeneousSource, homogeneous_problem
from coral_solver.baselines.nodes import FreeNodes
from coral_solver.baselines.sequential import in_turn, plan_model_by_model
from coral_solver.domain.clock import WallClock
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.validate import validate_problem
from coral_solver.domain.workload import Phase, ServingMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.baselines.nodes import PlacedReplica
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.hardware import PoolKey
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem, ServingInstance
    from coral_solver.domain.template import ServingTemplate

MOST_REPLICAS = 4
"""Most replicas of the phase that has more of them in a combination."""


def cauchy(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan exactly, all models together: the best that phase combinations could do.

    Homogeneous replicas; prefill and decode are chosen independently of each other and paired
    inside a region, where a combination's KV cache can travel, whatever ``sum_regions`` says.
    Surplus of one phase may be shared by combinations. What no combination forms (``WHOLE``) is
    used only for models that allow nothing else. With regional pairing and disaggregated serving
    this is the ``homogeneous`` peer.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``cauchy_problem(problem)`` under ``cauchy_options(...)``.
    """
    return allocate(
        cauchy_problem(problem),
        HomogeneousSource(source),
        options=cauchy_options(options),
        clock=clock,
    )


def cauchy_model_by_model(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan as ``cauchy``, exactly but one model after the other, on what is left.

    Parameters
    ----------
    problem, source, options, clock
        As for ``allocate``.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``cauchy_problem(problem)`` under ``cauchy_options(...)``.
    """
    return plan_model_by_model(
        cauchy_problem(problem),
        HomogeneousSource(source),
        options=cauchy_options(options),
        clock=clock,
    )


def cauchy_greedy(
    problem: PlanningProblem,
    source: TemplateSource,
    *,
    capped: bool,
    options: AllocationOptions | None = None,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan as the paper describes it: model by model, the combination of best goodput per USD.

    A combination is one replica of one phase and 1 to ``MOST_REPLICAS`` of the other one, in one
    region; the replicas of a phase are of one homogeneous template. Its goodput is the smaller of
    the two phases' capacity; it shares nothing with other combinations. Models take their turn by
    id (under ``Priority`` by class). Each takes one combination after the other, always the one
    with the most goodput per USD that still fits, until its target is met. Combinations that turn
    out superfluous are dropped. A model that allows aggregated serving only gets single replicas.

    Parameters
    ----------
    problem, source
        As for ``allocate``. Instances in force are not kept: nothing says which combination they
        belong to. ``minReplicas`` is not looked at.
    capped
        Whether goodput beyond the rest of the model's target counts for nothing in the ranking.
    options, clock
        As for ``allocate``; the rule has no time limit.

    Returns
    -------
    AllocationPlan
        It has passed the checker, for ``cauchy_problem(problem)`` under ``cauchy_options(...)``:
        that counts surplus as shared, so the plan may say that it carries more than its
        combinations do. It proves nothing: its bounds are the trivial ones.
    """
    clock = clock or WallClock()
    started_s = clock.monotonic_s()
    validate_problem(problem)
    refuse_budget(problem)
    problem = cauchy_problem(problem)
    options = cauchy_options(options)
    nodes = FreeNodes(problem.pools, whole_nodes_only=options.whole_nodes_only)
    configs = configs_on_offer(problem.pools, whole_nodes_only=options.whole_nodes_only)
    names = NameBook(instance.name for instance in problem.in_force)
    homogeneous = HomogeneousSource(source)
    factors = {pool.key: pool.site_factor for pool in problem.pools}
    prices = {pool.key: pool.gpu_usd_per_hour() for pool in problem.pools}
    instances: list[ServingInstance] = []
    without_template = set()
    for model in in_turn(problem):
        if model.demand_req_per_s <= 0:
            continue
        menu = _Menu(homogeneous.templates(model, configs), nodes, problem)
        if menu.is_empty:
            without_template.add(model.id)
        for replica in _buy(menu, nodes, target_req_per_s(model), factors, capped=capped):
            instances.append(replica.instance(names.give(replica.template), prices))
    return compose_plan(
        problem,
        instances,
        options=options,
        status=SolveStatus.FEASIBLE,
        bound_scope="nothing is proven: a rule made the plan",
        solve_s=clock.monotonic_s() - started_s,
        without_template=frozenset(without_template),
    )


def cauchy_problem(problem: PlanningProblem) -> PlanningProblem:
    """Return the problem as this peer sees it: phases apart where the model allows it."""
    models = tuple(
        model
        if model.serving is ServingMode.AGGREGATED
        else replace(model, serving=ServingMode.DISAGGREGATED)
        for model in problem.models
    )
    return replace(homogeneous_problem(problem), models=models)


def cauchy_options(options: AllocationOptions | None) -> AllocationOptions:
    """Return the rules that this peer's plans are checked under: pairs inside a region."""
    return replace(options or AllocationOptions(), sum_regions=False)


class _Combo(NamedTuple):
    """Replicas of one template, or of one for each phase: (template, number) each."""

    region: str
    parts: tuple[tuple[ServingTemplate, int], ...]


class _Menu:
    """Every combination of one model in every region, as arrays."""

    def __init__(
        self,
        templates: Sequence[ServingTemplate],
        nodes: FreeNodes,
        problem: PlanningProblem,
    ) -> None:
        self._nodes = nodes
        rows: list[tuple[float, float, str, int, int, int, int]] = []
        self._templates = [t for t in templates if t.capacity_req_per_s > 0]
        for region in sorted({pool.key.region for pool in problem.pools}):
            rows += self._rows_of(region)
        self._rows = rows
        self._goodput: NDArray[np.float64] = np.array([row[0] for row in rows])
        self._usd: NDArray[np.float64] = np.array([row[1] for row in rows])

    @property
    def is_empty(self) -> bool:
        """Whether there is no combination at all."""
        return not self._rows

    def best_first(self, most_useful_req_per_s: float) -> Iterator[_Combo]:
        """Yield combinations by goodput per USD; goodput beyond the limit counts for nothing."""
        goodput = np.minimum(self._goodput, most_useful_req_per_s)
        score = goodput / np.maximum(self._usd, 1e-9)
        for row in np.argsort(-score, kind="stable").tolist():
            _, _, region, first, number, second, other = self._rows[row]
            parts = [(self._templates[first], number)]
            if second >= 0:
                parts.append((self._templates[second], other))
            yield _Combo(region, tuple(parts))

    def _rows_of(self, region: str) -> list[tuple[float, float, str, int, int, int, int]]:
        by_phase: dict[Phase, list[tuple[int, float, float]]] = defaultdict(list)
        for index, template in enumerate(self._templates):
            usd = 0.0
            for config in template.configs:
                offers = self._nodes.pools_for(config, region)
                if not offers:
                    break
                usd += config.gpu_count * offers[0].gpu_usd_per_hour()
            else:
                by_phase[template.phase].append((index, template.capacity_req_per_s, usd))
        rows = [(rate, usd, region, index, 1, -1, 0) for index, rate, usd in by_phase[Phase.WHOLE]]
        more = range(2, MOST_REPLICAS + 1)
        counts = [(1, 1), *((number, 1) for number in more), *((1, number) for number in more)]
        for first, prefill_rate, prefill_usd in by_phase[Phase.PREFILL]:
            for second, decode_rate, decode_usd in by_phase[Phase.DECODE]:
                for number, other in counts:
                    goodput = min(number * prefill_rate, other * decode_rate)
                    usd = number * prefill_usd + other * decode_usd
                    rows.append((goodput, usd, region, first, number, second, other))
        return rows


def _buy(
    menu: _Menu,
    nodes: FreeNodes,
    target_req_per_s: float,
    factors: dict[PoolKey, float],
    *,
    capped: bool,
) -> list[PlacedReplica]:
    """Take combinations until the target is met or none fits; drop the superfluous ones."""
    combos: list[tuple[float, list[PlacedReplica]]] = []
    missing = target_req_per_s
    while missing > 1e-9 * target_req_per_s:
        room: dict[tuple[str, str], int] = {}
        for combo in menu.best_first(missing if capped else float("inf")):
            replicas = _place(combo, nodes, room)
            if replicas is not None:
                goodput = _goodput(replicas, factors)
                combos.append((goodput, replicas))
                missing -= goodput
                break
        else:
            break
    surplus = -missing
    kept: list[PlacedReplica] = []
    for goodput, replicas in combos:
        if goodput <= surplus:
            surplus -= goodput
            for replica in replicas:
                nodes.put_back(replica.seats)
        else:
            kept += replicas
    return kept


def _place(
    combo: _Combo, nodes: FreeNodes, room: dict[tuple[str, str], int]
) -> list[PlacedReplica] | None:
    """Take the nodes of a combination; None, and nothing taken, if it does not fit.

    ``room`` remembers how many replicas of a template fit alone, so that most of what does not
    fit costs a look-up.
    """
    for template, number in combo.parts:
        key = (template.id, combo.region)
        if key not in room:
            room[key] = len(_take(template, MOST_REPLICAS, combo.region, nodes, keep=False))
        if room[key] < number:
            return None
    placed: list[PlacedReplica] = []
    for template, number in combo.parts:
        found = _take(template, number, combo.region, nodes, keep=True)
        placed += found
        if len(found) < number:
            for replica in placed:
                nodes.put_back(replica.seats)
            return None
    return placed


def _take(
    template: ServingTemplate, number: int, region: str, nodes: FreeNodes, *, keep: bool
) -> list[PlacedReplica]:
    """Take the nodes of up to ``number`` replicas; unless kept, they are put back at once."""
    placed: list[PlacedReplica] = []
    while len(placed) < number:
        replica = nodes.take(template, region)
        if replica is None:
            break
        placed.append(replica)
    if not keep:
        for replica in placed:
            nodes.put_back(replica.seats)
    return placed


def _goodput(replicas: Sequence[PlacedReplica], factors: dict[PoolKey, float]) -> float:
    """Return the smaller of the two phases' capacity at the site factors of their nodes."""
    rates: dict[Phase, float] = defaultdict(float)
    for replica in replicas:
        factor = min(factors[seat.pool] for seat in replica.seats)
        rates[replica.template.phase] += replica.template.capacity_req_per_s * factor
    return min(rates.values())
