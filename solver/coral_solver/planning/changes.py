"""Changes of a planning problem, as typed values; what they ask for is checked here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from coral_solver.catalog import did_you_mean, gpu_type
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.validate import validate_problem
from coral_solver.planning.nodes import node_count, resized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_solver.domain.hardware import CapacityKind, GpuPool
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.workload import ServedModel

EVERY = "*"
"""Stands for all models, or for all pools."""


class How(StrEnum):
    """How an amount changes a number."""

    SET = "="
    ADD = "+"
    TIMES = "x"


@dataclass(frozen=True, slots=True)
class Amount:
    """What becomes of a number: a new value, a sum, or a multiple.

    Attributes
    ----------
    how
        Whether ``value`` replaces the number, is added to it (it may be negative) or multiplies it.
    value
        In the unit of the number.
    """

    how: How
    value: float

    def of(self, number: float) -> float:
        """Return what becomes of a number."""
        if self.how is How.SET:
            return self.value
        return number + self.value if self.how is How.ADD else number * self.value

    def text(self, unit: str = "") -> str:
        """Return it as people write it: ``12 req/s``, ``+3 req/s``, ``x2``."""
        if self.how is How.TIMES:
            return f"x{self.value:g}"
        sign = "+" if self.how is How.ADD and self.value >= 0 else ""
        return f"{sign}{self.value:g} {unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSelector:
    """Which pools a change is about; what is None does not matter.

    Attributes
    ----------
    text
        As it was written; also a whole pool name selects that pool.
    gpu
        GPU type by any of its names, or ``EVERY``.
    gpus_per_node, region, kind
        As in the pool's key.
    """

    text: str
    gpu: str
    gpus_per_node: int | None = None
    region: str | None = None
    kind: CapacityKind | None = None

    def pools(self, problem: PlanningProblem) -> list[GpuPool]:
        """Return the pools that are meant.

        Raises
        ------
        InvalidInputError
            If there are none; says which there are.
        """
        named = [pool for pool in problem.pools if pool.name == self.text]
        if named:
            return named
        names = [pool.name for pool in problem.pools]
        if "/" in self.gpu:
            raise InvalidInputError(
                [f"no pool {self.text!r}: {did_you_mean(self.text, names)}"], reason="UnknownName"
            )
        try:
            gpu = None if self.gpu == EVERY else gpu_type(self.gpu).name
        except CatalogError as error:
            raise InvalidInputError([str(error)], reason=error.reason) from error
        found = [
            pool
            for pool in problem.pools
            if gpu in (None, pool.key.gpu)
            and self.gpus_per_node in (None, pool.key.gpus_per_node)
            and self.region in (None, pool.key.region)
            and self.kind in (None, pool.key.kind)
        ]
        if not found:
            there = f"there are {', '.join(names)}" if names else "there are none"
            raise InvalidInputError([f"no pool fits {self.text!r}; {there}"], reason="UnknownName")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandChange:
    """Another demand of a model, in requests per second."""

    model: str
    amount: Amount

    def __str__(self) -> str:
        """Say what changes."""
        return f"demand of {self.model}: {self.amount.text('req/s')}"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""
        return _with_models(
            problem,
            self.model,
            lambda model: replace(model, demand_req_per_s=self.amount.of(model.demand_req_per_s)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SloChange:
    """Other latency targets of a model, in seconds; None leaves one as it is."""

    model: str
    ttft: Amount | None = None
    tpot: Amount | None = None
    attainment: Amount | None = None

    def __str__(self) -> str:
        """Say what changes."""
        parts = [
            f"{name} {amount.text(unit)}"
            for name, amount, unit in (
                ("TTFT", self.ttft, "s"),
                ("TPOT", self.tpot, "s"),
                ("attainment", self.attainment, ""),
            )
            if amount is not None
        ]
        return f"targets of {self.model}: {', '.join(parts)}"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""

        def changed(model: ServedModel) -> ServedModel:
            slo = model.slo
            return replace(
                model,
                slo=replace(
                    slo,
                    ttft_s=self.ttft.of(slo.ttft_s) if self.ttft else slo.ttft_s,
                    tpot_s=self.tpot.of(slo.tpot_s) if self.tpot else slo.tpot_s,
                    attainment=(
                        self.attainment.of(slo.attainment) if self.attainment else slo.attainment
                    ),
                ),
            )

        return _with_models(problem, self.model, changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """Another price of pools, in USD per hour and GPU: it means the same for every node size."""

    pools: PoolSelector
    amount: Amount

    def __str__(self) -> str:
        """Say what changes."""
        return f"price of {self.pools.text}: {self.amount.text('USD/h per GPU')}"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""
        chosen = {pool.key for pool in self.pools.pools(problem)}
        return _with_pools(
            problem,
            [
                replace(
                    pool,
                    node_usd_per_hour=self.amount.of(pool.gpu_usd_per_hour())
                    * pool.key.gpus_per_node,
                )
                if pool.key in chosen
                else pool
                for pool in problem.pools
            ],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesChange:
    """Another number of nodes of a pool, as ``resized`` does it; one without nodes is gone."""

    pools: PoolSelector
    amount: Amount

    def __str__(self) -> str:
        """Say what changes."""
        return f"nodes of {self.pools.text}: {self.amount.text()}"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem.

        Raises
        ------
        InvalidInputError
            If the number is no whole number from 0 on or far too large, or if several pools would
            each get more nodes: that is rarely meant.
        """
        chosen = self.pools.pools(problem)
        is_more = self.amount.how is How.ADD or (
            self.amount.how is How.SET and self.amount.value > 0
        )
        if len(chosen) > 1 and is_more:
            names = ", ".join(pool.name for pool in chosen)
            raise InvalidInputError(
                [f"{self.pools.text!r} fits several pools; name one of {names}"]
            )
        keys = {pool.key for pool in chosen}
        changed = [
            resized(pool, self.amount.of(node_count(pool))) if pool.key in keys else pool
            for pool in problem.pools
        ]
        return _with_pools(problem, [pool for pool in changed if node_count(pool) > 0])


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAdded:
    """A pool that is not there yet."""

    pool: GpuPool

    def __str__(self) -> str:
        """Say what changes."""
        return (
            f"new pool {self.pool.name}: {node_count(self.pool)} nodes at "
            f"{self.pool.gpu_usd_per_hour():g} USD/h per GPU"
        )

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""
        if any(pool.key == self.pool.key for pool in problem.pools):
            raise InvalidInputError(
                [f"pool {self.pool.name} is there already: change its nodes or its price instead"]
            )
        return _with_pools(problem, [*problem.pools, self.pool])


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessChange:
    """Another share of the error bars to plan with."""

    robustness: float

    def __str__(self) -> str:
        """Say what changes."""
        return f"robustness: {self.robustness:g}"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""
        return replace(problem, policy=replace(problem.policy, robustness=self.robustness))


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChange:
    """Another limit on the rent of all instances together."""

    usd_per_hour: float

    def __str__(self) -> str:
        """Say what changes."""
        return f"budget: {self.usd_per_hour:g} USD/h"

    def apply(self, problem: PlanningProblem) -> PlanningProblem:
        """Return the changed problem."""
        policy = replace(problem.policy, budget_usd_per_hour=self.usd_per_hour)
        return replace(problem, policy=policy)


Change = (
    DemandChange
    | SloChange
    | PriceChange
    | NodesChange
    | PoolAdded
    | RobustnessChange
    | BudgetChange
)


def apply_changes(problem: PlanningProblem, changes: Sequence[Change]) -> PlanningProblem:
    """Return a problem with changes, one after the other.

    Parameters
    ----------
    problem
        A valid problem.
    changes
        In the order in which they are made.

    Raises
    ------
    InvalidInputError
        With every change that names nothing known or leads to a number that cannot mean anything.
    """
    problems: list[str] = []
    for change in changes:
        try:
            changed = change.apply(problem)
            validate_problem(changed)
        except InvalidInputError as error:
            problems += [f"{change}: {text}" for text in error.problems]
        else:
            problem = changed
    if problems:
        raise InvalidInputError(problems)
    return problem


def _with_pools(problem: PlanningProblem, pools: Sequence[GpuPool]) -> PlanningProblem:
    return replace(problem, pools=tuple(sorted(pools, key=lambda pool: pool.key)))


def _with_models(
    problem: PlanningProblem, name: str, changed: Callable[[ServedModel], ServedModel]
) -> PlanningProblem:
    chosen = {model.id for model in models_named(problem, name)}
    return replace(
        problem,
        models=tuple(changed(model) if model.id in chosen else model for model in problem.models),
    )


def models_named(problem: PlanningProblem, name: str) -> list[ServedModel]:
    """Return the models with an id, or with its last part; all of them for ``EVERY``.

    Raises
    ------
    InvalidInputError
        If there is none, or if the last part is that of several.
    """
    if name == EVERY:
        return list(problem.models)
    exact = [model for model in problem.models if model.id == name]
    found = exact or [model for model in problem.models if model.id.rsplit("/", 1)[-1] == name]
    if len(found) > 1:
        ids = ", ".join(model.id for model in found)
        raise InvalidInputError([f"several models are called {name!r}: say {ids}"])
    if not found:
        short = [model.id.rsplit("/", 1)[-1] for model in problem.models]
        raise InvalidInputError(
            [f"no model {name!r}: {did_you_mean(name, short)}"], reason="UnknownName"
        )
    return found
