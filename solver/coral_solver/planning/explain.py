"""Why a plan is what it is: every answer is a difference between two solved plans."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import PlanCheckError, SolverError
from coral_solver.domain.plan import SolveStatus
from coral_solver.planning.difference import difference
from coral_solver.planning.explanation import (
    Alternative,
    Explanation,
    Limit,
    Remedy,
    Shortage,
)
from coral_solver.planning.facts import WITHOUT_TEMPLATE, PlanFacts
from coral_solver.planning.nodes import with_more_nodes
from coral_solver.planning.usage import (
    gpus_on_offer,
    model_explanation,
    outcome_of,
    pool_explanation,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from coral_solver.domain.clock import Clock
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem
    from coral_solver.domain.workload import ServedModel
    from coral_solver.planning.difference import Difference
    from coral_solver.planning.planner import Planner, Progress

MOST_NODES_TRIED = 64
"""Nodes more of one pool, beyond which a shortage is not followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """Which questions to ask, and for how long.

    Attributes
    ----------
    budget_s
        No new question is asked after this time. The limit of each single solve is the planner's.
    models
        Ids of the models to explain; None: all.
    only_alternatives
        Also ask what each GPU type alone would do for a model, used or not.
    """

    budget_s: float = 120.0
    models: Collection[str] | None = None
    only_alternatives: bool = True


def explain(
    problem: PlanningProblem,
    planner: Planner,
    *,
    options: ExplainOptions | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Plan a problem and say why the plan is what it is.

    Every question is a problem that differs from the given one in a single point, solved by the
    same planner with the same instances in force and the same charge for starting instances.

    Parameters
    ----------
    problem
        What to plan. What is in force stays so in every question.
    planner
        Makes every plan, best without baselines. Its time limit holds for each.
    options
        Which questions, and for how long.
    clock
        For the time budget; the machine's clock if None.
    progress
        Called with the question that is being answered.

    Returns
    -------
    Explanation
        With the questions that time or the solver left open in ``unanswered``.

    Raises
    ------
    InvalidInputError
        If the problem cannot mean anything.
    """
    options = options or ExplainOptions()
    asking = _Asking(
        problem=problem,
        planner=planner,
        clock=clock or WallClock(),
        budget_s=options.budget_s,
        progress=progress,
    )
    models = [
        model for model in problem.models if options.models is None or model.id in options.models
    ]
    # What most people want to know first comes first, in case the time runs out.
    without = {model.id: asking.alternatives(model, Limit.WITHOUT) for model in models}
    more = {pool.name: asking.one_more_node(pool) for pool in asking.fullest_first()}
    shortages = {model.id: asking.shortage(model) for model in models}
    only = {
        model.id: asking.alternatives(model, Limit.ONLY) if options.only_alternatives else []
        for model in models
    }
    return Explanation(
        plan=asking.plan,
        charges_switching=any(pool.start_time_s > 0 for pool in problem.pools),
        models=tuple(
            model_explanation(
                model,
                asking.plan,
                tuple(sorted([*without[model.id], *only[model.id]], key=_by_merit)),
                shortages[model.id],
            )
            for model in models
        ),
        pools=tuple(pool_explanation(pool, asking.base, more[pool.name]) for pool in problem.pools),
        solves=asking.solves,
        unanswered=tuple(asking.unanswered),
    )


@dataclass(kw_only=True)
class _Asking:
    """Asks the planner one question after the other, until the time is used up."""

    problem: PlanningProblem
    planner: Planner
    clock: Clock
    budget_s: float
    progress: Progress | None
    plan: AllocationPlan = field(init=False)
    base: PlanFacts = field(init=False)
    solves: int = 0
    unanswered: list[str] = field(default_factory=list)
    grown: dict[tuple[str, int], PlanFacts | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._until_s = self.clock.monotonic_s() + self.budget_s
        self.plan = self.planner.plan(self.problem, progress=self.progress).plan
        self.solves = 1
        self.base = PlanFacts.of(self.plan)

    def ask(self, question: str, problem: PlanningProblem) -> PlanFacts | None:
        """Plan a changed problem; None, and a note, where time is up or the solver fails."""
        if self.clock.monotonic_s() >= self._until_s:
            self.unanswered.append(question)
            return None
        progress, label = self.progress, f"question {self.solves}: {question}"
        self.solves += 1
        step = None if progress is None else lambda _step, share: progress(label, share)
        try:
            return PlanFacts.of(self.planner.plan(problem, progress=step).plan)
        except (SolverError, PlanCheckError) as error:
            # The plan that is explained stands; this question has no answer.
            self.unanswered.append(f"{question} ({error.reason}: {error})")
            return None

    def alternatives(self, model: ServedModel, limit: Limit) -> list[Alternative]:
        """Ask what keeping a model off a GPU type, or keeping it to one, would do.

        Kept off: the types that it uses. Kept to: the types that it may use.
        """
        if model.demand_req_per_s <= 0 and model.min_replicas <= 0:
            return []
        allowed = {pool.key.gpu for pool in self.problem.pools if model.may_use(pool.key.gpu)}
        used = {gpu for gpus in self.base.gpus_of(model.id) for gpu in gpus.split("+")}
        found = []
        for gpu in sorted(used if limit is Limit.WITHOUT else allowed):
            left = allowed - {gpu} if limit is Limit.WITHOUT else {gpu}
            # With two types on offer, keeping off one is keeping to the other.
            is_asked_already = limit is Limit.ONLY and any(allowed - {u} == left for u in used)
            if not left or left == allowed or is_asked_already or used == left:
                continue
            changed = replace(model, allowed_gpus=frozenset(left))
            after = self.ask(f"{model.id} {limit} {gpu}", _with_model(self.problem, changed))
            if after is not None:
                found.append(
                    Alternative(
                        limit=limit,
                        gpu=gpu,
                        gpus_now=after.gpus_of(model.id),
                        difference=difference(self.base, after),
                    )
                )
        return found

    def fullest_first(self) -> list[GpuPool]:
        """Return the pools, those with the largest share of their GPUs in use first."""
        used = self.base.gpus_by_pool()

        def share(pool: GpuPool) -> float:
            return used.get(pool.name, 0) / max(1, gpus_on_offer(pool))

        return sorted(self.problem.pools, key=lambda pool: (-share(pool), pool.name))

    def one_more_node(self, pool: GpuPool) -> Difference | None:
        """Ask what one more node of a pool would do."""
        after = self.with_nodes(pool, 1)
        return None if after is None else difference(self.base, after)

    def with_nodes(self, pool: GpuPool, more: int) -> PlanFacts | None:
        """Ask what some more nodes of a pool would do; several questions share the answer."""
        key = pool.name, more
        if key not in self.grown:
            self.grown[key] = self.ask(
                f"{pool.name} with {more} more node{'s' if more > 1 else ''}",
                with_more_nodes(self.problem, pool, more),
            )
        return self.grown[key]

    def shortage(self, model: ServedModel) -> Shortage | None:
        """Ask how many more nodes of each pool would serve a model in full."""
        outcome = outcome_of(self.plan, model.id)
        if outcome.unmet_req_per_s <= 0:
            return None
        usable, remedies = [], []
        if outcome.reason != WITHOUT_TEMPLATE:
            usable = [pool for pool in self.problem.pools if model.may_use(pool.key.gpu)]
            remedies = [found for pool in usable if (found := self._remedy(model, pool))]
        return Shortage(
            reason=outcome.reason,
            message=outcome.message,
            usable_pools=tuple(pool.name for pool in usable),
            remedies=tuple(
                sorted(
                    remedies,
                    key=lambda remedy: (
                        remedy.nodes is None,
                        (remedy.nodes or 0) * remedy.node_usd_per_hour,
                        remedy.pool,
                    ),
                )
            ),
        )

    def _remedy(self, model: ServedModel, pool: GpuPool) -> Remedy | None:
        """Find the least number of nodes: one, then doubled, then the interval halved."""
        short, short_plan = 0, self.base
        enough, plan = None, self.base
        nodes = 1
        while enough is None or enough - short > 1:
            after = self.with_nodes(pool, nodes)
            if after is None and plan is self.base:
                return None
            if after is None:
                break
            plan_is_enough = after.unmet_req_per_s[model.id] <= 0
            if plan_is_enough:
                enough, plan = nodes, after
            else:
                short, short_plan = nodes, after
                plan = after if enough is None else plan
            if short >= MOST_NODES_TRIED:
                break
            # Whether the pool can help at all is worth knowing before the number is.
            if enough is None:
                nodes = MOST_NODES_TRIED if nodes == 1 else nodes * 2
            else:
                nodes = min(max(1, short) * 2, (short + enough + 1) // 2)
        return Remedy(
            pool=pool.name,
            nodes=enough,
            tried_nodes=enough or short,
            is_least=(enough == short + 1 and short_plan.status == SolveStatus.OPTIMAL),
            node_usd_per_hour=pool.node_usd_per_hour,
            difference=difference(self.base, plan),
        )


def _by_merit(alternative: Alternative) -> tuple[float, float, str]:
    """Order alternatives: what serves most first, then what costs least."""
    found = alternative.difference
    return (
        round(max(0.0, found.unmet_req_per_s), 6),
        found.cost_usd_per_hour,
        f"{alternative.limit} {alternative.gpu}",
    )


def _with_model(problem: PlanningProblem, changed: ServedModel) -> PlanningProblem:
    return replace(
        problem,
        models=tuple(changed if model.id == changed.id else model for model in problem.models),
    )
