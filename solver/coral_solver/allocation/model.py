"""The rows of stage 2 as an integer program; docs/model-allocation.md has the formulas."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.capacity import AloneTenants, CapacityBlock, LooseSlices, SharedTenant
from coral_solver.allocation.columns import target_req_per_s
from coral_solver.allocation.decision import Decision
from coral_solver.allocation.program import Program
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.columns import Column, SearchSpace
    from coral_solver.allocation.keeps import KeepClass
    from coral_solver.domain.hardware import NodeConfig

_Terms = list[tuple[int, float]]


class PlanModel:
    """Variables and rows that every level of the objective shares.

    Attributes
    ----------
    program
        The program.
    served
        By model with a demand: share of the raw demand that is carried, up to the headroom.
    missing_replicas
        By model that wants replicas: how many of them are missing.
    cost
        Coefficients of rent plus switching charge, in USD per hour.
    rent
        Coefficients of the rent alone.
    started, kept
        Variables of the columns and of the keep classes.
    flow_rows
        By region, site factor and configuration: the row that balances slices.
    num_coupling_rows
        The first rows couple models; those after concern one model each.
    num_coupling_variables
        So do the first variables.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.program = Program()
        self.served: dict[int, int] = {}
        self.missing_replicas: dict[int, int] = {}
        self.cost: dict[int, float] = defaultdict(float)
        self.rent: dict[int, float] = defaultdict(float)
        self._space = space
        self.started = [self._add_started(column) for column in space.columns]
        self.kept = [
            self.program.add_variable(0, len(keep.members), integer=True) for keep in space.keeps
        ]
        self._drawn = [
            self.program.add_variable(
                0, space.supplies[draw.supply].slots(draw.config.gpu_count), integer=True
            )
            for draw in space.draws
        ]
        self.flow_rows = self._add_flow()
        self._blocks = [self._add_capacity(index) for index in range(len(space.supplies))]
        self.num_coupling_rows = len(self.program.row_lower)
        self.num_coupling_variables = len(self.program.lower)
        self._pairs: list[_Pair] = []
        self._totals: list[_Total] = []
        running: dict[int, list[tuple[int, Column | KeepClass]]] = defaultdict(list)
        for variable, column in zip(self.started, space.columns, strict=True):
            running[column.model].append((variable, column))
        for variable, keep in zip(self.kept, space.keeps, strict=True):
            running[keep.model].append((variable, keep))
        for index in sorted(running):
            self._add_served(index, running[index])
            self._add_replicas(index, running[index])
        self._add_cost()

    def decision(self, values: NDArray[np.float64]) -> Decision:
        """Read the whole numbers out of a solution."""
        whole = np.rint(values).astype(np.int64)
        return Decision(
            started=whole[self.started], kept=whole[self.kept], drawn=whole[self._drawn]
        )

    def values(self, decision: Decision) -> NDArray[np.float64]:
        """Complete a decision that fits to a solution of the shared rows."""
        values = np.zeros(len(self.program.lower))
        values[self.started] = decision.started
        values[self.kept] = decision.kept
        values[self._drawn] = decision.drawn
        for block in self._blocks:
            block.complete(values)
        for pair in self._pairs:
            values[pair.variable] = min(_value(pair.prefill, values), _value(pair.decode, values))
        for total in self._totals:
            amount = _value(total.terms, values)
            values[total.variable] = (
                max(0.0, total.wanted - amount) if total.missing else min(total.wanted, amount)
            )
        return values

    def _add_started(self, column: Column) -> int:
        """x[column]: never more than what alone reaches the target, or the replicas wanted."""
        model = self._space.problem.models[column.model]
        enough = math.ceil(target_req_per_s(model) / column.capacity_req_per_s - 1e-9)
        return self.program.add_variable(0, max(enough, model.min_replicas), integer=True)

    def _add_flow(self) -> dict[tuple[str, float, NodeConfig], int]:
        """Every slice of a new instance is drawn from one supply."""
        terms: dict[tuple[str, float, NodeConfig], _Terms] = defaultdict(list)
        for variable, draw in zip(self._drawn, self._space.draws, strict=True):
            terms[draw.region, draw.site_factor, draw.config].append((variable, 1.0))
        for variable, column in zip(self.started, self._space.columns, strict=True):
            for config, count in column.configs:
                terms[column.region, column.site_factor, config].append((variable, -float(count)))
        rows = {}
        for key, row in terms.items():
            rows[key] = len(self.program.row_lower)
            self.program.add_row(row, lower=0.0, upper=0.0)
        return rows

    def _add_capacity(self, index: int) -> CapacityBlock:
        """Slices fit on the nodes of each supply; whole nodes are paid in elastic ones."""
        space = self._space
        supply = space.supplies[index]
        loose = [
            LooseSlices(variable, draw.config.gpu_count)
            for variable, draw in zip(self._drawn, space.draws, strict=True)
            if draw.supply == index
        ]
        alone: list[AloneTenants] = []
        shared: dict[str, list[SharedTenant]] = defaultdict(list)
        for variable, keep in zip(self.kept, space.keeps, strict=True):
            loose += [LooseSlices(variable, u.size) for u in keep.anonymous if u.supply == index]
            for use in keep.nodes:
                if use.supply == index and use.node:
                    shared[use.node].append(SharedTenant(variable, use.used_gpus))
                elif use.supply == index:
                    alone.append(AloneTenants(variable, use.free_gpus, use.used_gpus))
        block = CapacityBlock(self.program, supply, loose=loose, alone=alone, shared=shared)
        for variable, value in block.opened:
            self.cost[variable] += value * supply.pool.node_usd_per_hour
            self.rent[variable] += value * supply.pool.node_usd_per_hour
        return block

    def _add_served(self, index: int, running: Sequence[tuple[int, Column | KeepClass]]) -> None:
        """Bound what is served by the capacity of the instances, phases paired."""
        model = self._space.problem.models[index]
        if model.demand_req_per_s <= 0:
            return
        target = target_req_per_s(model)
        # Capacity beyond the target is worth nothing; capped, the relaxation is tighter.
        paired = self._add_pairing(
            running, lambda item: min(item.capacity_req_per_s, target) / model.demand_req_per_s
        )
        top = target / model.demand_req_per_s
        served = self.program.add_variable(0.0, top)
        self.program.add_row([(served, 1.0), *((v, -value) for v, value in paired)], upper=0.0)
        self._totals.append(_Total(served, paired, top, missing=False))
        self.served[index] = served

    def _add_replicas(self, index: int, running: Sequence[tuple[int, Column | KeepClass]]) -> None:
        """Count the instances, phases paired, and what is missing of the replicas wanted."""
        wanted = float(self._space.problem.models[index].min_replicas)
        if wanted <= 0:
            return
        paired = self._add_pairing(running, lambda _: 1.0)
        missing = self.program.add_variable(0.0, wanted)
        row = [(missing, -1.0), *((variable, -value) for variable, value in paired)]
        self.program.add_row(row, upper=-wanted)
        self._totals.append(_Total(missing, paired, wanted, missing=True))
        self.missing_replicas[index] = missing

    def _add_pairing(
        self,
        running: Sequence[tuple[int, Column | KeepClass]],
        amount: Callable[[Column | KeepClass], float],
    ) -> _Terms:
        """Pair prefill with decode inside each region, or over all regions by the paper's rule.

        Returns
        -------
        list of (variable, value)
            Terms that add up to the whole amounts and the paired ones.
        """
        paired: _Terms = []
        parts: dict[tuple[str, Phase], _Terms] = defaultdict(list)
        for variable, item in running:
            term = (variable, amount(item))
            if item.phase is Phase.WHOLE:
                paired.append(term)
            else:
                place = "" if self._space.options.sum_regions else item.region
                parts[place, item.phase].append(term)
        for place in sorted({place for place, _ in parts}):
            prefill, decode = parts[place, Phase.PREFILL], parts[place, Phase.DECODE]
            top = min(
                sum(value * self.program.upper[variable] for variable, value in part)
                for part in (prefill, decode)
            )
            pair = self.program.add_variable(0.0, top)
            for part in (prefill, decode):
                self.program.add_row([(pair, 1.0), *((v, -value) for v, value in part)], upper=0.0)
            self._pairs.append(_Pair(pair, prefill, decode))
            paired.append((pair, 1.0))
        return paired

    def _add_cost(self) -> None:
        """Rent of slices, and the charge for starting new ones; whole nodes are in already."""
        space = self._space
        for variable, draw in zip(self._drawn, space.draws, strict=True):
            supply = space.supplies[draw.supply]
            rent = draw.config.gpu_count * supply.gpu_usd_per_hour
            charge = rent * supply.pool.start_time_s / space.problem.policy.payback_horizon_s
            self.cost[variable] += charge if supply.elastic else rent + charge
            self.rent[variable] += 0.0 if supply.elastic else rent
        for variable, keep in zip(self.kept, space.keeps, strict=True):
            self.cost[variable] += keep.fixed_usd_per_hour
            self.rent[variable] += keep.fixed_usd_per_hour


class _Pair(NamedTuple):
    """An auxiliary variable that is the smaller of two sums."""

    variable: int
    prefill: _Terms
    decode: _Terms


class _Total(NamedTuple):
    """An auxiliary variable: a sum up to a limit, or what the sum misses of it."""

    variable: int
    terms: _Terms
    wanted: float
    missing: bool


def _value(terms: _Terms, values: NDArray[np.float64]) -> float:
    return float(sum(value * values[variable] for variable, value in terms))
