"""The one-shot integer program: placements and counts in one solve, no templates beforehand.

arXiv 2605.04357 splits this program into its two stages without losing anything. It is here to
show both: the same cost, and how much longer it takes. For small instances only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.names import NameBook
from coral_solver.allocation.objective import COST_LEVEL
from coral_solver.allocation.program import Program
from coral_solver.allocation.solver import MipStatus, solve_mip
from coral_solver.baselines.compose import compose_plan
from coral_solver.baselines.nodes import FreeNodes
from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import InvalidInputError, SolverError
from coral_solver.domain.hardware import PoolScaling, configs_on_offer
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.template import ServingTemplate, StagePlacement
from coral_solver.domain.validate import validate_problem
from coral_solver.domain.workload import ServingMode
from coral_solver.performance.capacity import separable_tables
from coral_solver.performance.tables import role_of
from coral_solver.templates.describe import describe_paper
from coral_solver.templates.placements import NO_POINT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.domain.clock import Clock
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem, ServingInstance
    from coral_solver.domain.workload import Phase, ServedModel
    from coral_solver.performance.tables import SeparableTables


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatLimits:
    """Size of the program.

    Attributes
    ----------
    max_nodes
        Most node configurations of one replica.
    rho
        Beyond one node, a replica's GPU memory is at most ``rho`` times the model's weights.
    copies
        Replicas that each (model, phase, region) may have. Where a solution uses all of them, more
        might be cheaper.
    """

    max_nodes: int
    rho: float
    copies: int


class _Stage(NamedTuple):
    """Variables of one stage at one length of the pipeline.

    ``holds[j]``: the stage holds ``j + 1`` layers. ``nodes[j][c]``: nodes of configuration ``c``
    in the stage while it does; the product of the paper's x and y, so nothing else is linearised.
    """

    holds: tuple[int, ...]
    nodes: tuple[tuple[int, ...], ...]


class _Replica(NamedTuple):
    """Variables of one replica: by length of the pipeline, whether it has it, and its stages."""

    model: ServedModel
    phase: Phase
    region: str
    tables: SeparableTables
    lengths: tuple[tuple[int, int, tuple[_Stage, ...]], ...]  # (used, rate, stages)


def flat(
    problem: PlanningProblem,
    *,
    limits: FlatLimits,
    options: AllocationOptions,
    clock: Clock | None = None,
) -> AllocationPlan:
    """Plan by one integer program over placements and counts, in the ``paper`` space.

    The paper's variables for every replica that there may be: which number of stages, how many
    layers each stage holds, which nodes it has; its rate is that of the slowest stage. The replica
    rates cover each model's demand, the nodes of all replicas fit into the pools, and rent plus
    starting charge is the least. Every demand must be met: there are no levels.

    Parameters
    ----------
    problem
        Fixed pools with whole nodes free; disaggregated models without headroom or replicas
        wanted; nothing in force.
    limits
        Size of the program.
    options
        With the paper's rules (``whole_nodes_only``, ``sum_regions``).
    clock
        For ``solve_s``; the machine's if None.

    Returns
    -------
    AllocationPlan
        It has passed the checker. ``NO_SOLUTION``, and nothing runs, where the solver found none
        in its time or none exists.

    Raises
    ------
    InvalidInputError
        If the problem has a feature that the program does not know.
    SolverError
        If the solver returns what is no solution.
    """
    clock = clock or WallClock()
    started_s = clock.monotonic_s()
    validate_problem(problem)
    _refuse_unknown_features(problem, options)
    program = _FlatProgram(problem, limits)
    result = solve_mip(
        program.program,
        program.cost,
        maximize=False,
        time_limit_s=options.time_limit_s - (clock.monotonic_s() - started_s),
        relative_gap=options.relative_gap,
    )
    instances = []
    status, bounds = SolveStatus.NO_SOLUTION, {}
    if result.values is not None:
        instances = _placed(problem, program.chosen(result.values))
        proven = result.status is MipStatus.OPTIMAL
        status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
        bounds = {COST_LEVEL: result.bound}
    return compose_plan(
        problem,
        instances,
        options=options,
        status=status,
        bound_scope=f"all placements of the paper space with at most {limits.max_nodes} node "
        f"configurations, at most {limits.copies} replicas a model, phase and region",
        solve_s=clock.monotonic_s() - started_s,
        bounds=bounds,
    )


def _refuse_unknown_features(problem: PlanningProblem, options: AllocationOptions) -> None:
    faults = []
    if not (options.whole_nodes_only and options.sum_regions):
        faults.append("the flat program knows the paper's rules only: whole nodes, summed regions")
    if any(
        pool.scaling is not PoolScaling.FIXED or pool.site_factor != 1 for pool in problem.pools
    ):
        faults.append("the flat program knows fixed pools with a site factor of 1 only")
    if any(
        node.free_gpus not in (0, pool.key.gpus_per_node)
        for pool in problem.pools
        for node in pool.nodes
    ):
        faults.append("the flat program knows whole free nodes only")
    for model in problem.models:
        if model.serving is not ServingMode.DISAGGREGATED or model.headroom or model.min_replicas:
            faults.append(
                f"model {model.id}: the flat program knows disaggregated models without headroom "
                "and minReplicas only"
            )
    if problem.policy.budget_usd_per_hour is not None:
        faults.append("the flat program knows no budget")
    if problem.in_force:
        faults.append("the flat program starts from nothing: instances are in force")
    if faults:
        raise InvalidInputError(faults)


class _FlatProgram:
    """The integer program, and how to read its solution."""

    def __init__(self, problem: PlanningProblem, limits: FlatLimits) -> None:
        self.program = Program()
        self.cost: dict[int, float] = {}
        self._problem = problem
        self._limits = limits
        self._configs = configs_on_offer(problem.pools, whole_nodes_only=True)
        self._replicas: list[_Replica] = []
        self._uses: dict[tuple[str, int], list[int]] = {}
        for model in problem.models:
            for phase in model.serving.phases:
                self._add_demand(model, phase)
        self._add_capacity()

    def chosen(self, values: NDArray[np.float64]) -> list[tuple[str, ServingTemplate]]:
        """Return region and template of every replica of a solution."""
        found = []
        for replica in self._replicas:
            for _, rate, stages in replica.lengths:
                if values[rate] > 1e-9 * replica.model.demand_req_per_s:
                    found.append((replica.region, self._template(replica, stages, values)))
        return found

    def _add_demand(self, model: ServedModel, phase: Phase) -> None:
        """Replicas of one phase of a model, and the row that they cover its demand."""
        tables = separable_tables(model, phase, self._configs, self._limits.max_nodes)
        rates: list[tuple[int, float]] = []
        for region in sorted({pool.key.region for pool in self._problem.pools}):
            before: list[tuple[int, float]] = []
            for _ in range(self._limits.copies):
                replica = self._add_replica(model, phase, region, tables)
                mine = [(rate, 1.0) for _, rate, _ in replica.lengths]
                if before:  # replicas are interchangeable: the fastest one comes first
                    self.program.add_row([*mine, *((v, -1.0) for v, _ in before)], upper=0.0)
                before = mine
                rates += mine
        demand = model.demand_req_per_s
        self.program.add_row([(v, -1.0) for v, _ in rates], upper=-demand)

    def _add_replica(
        self, model: ServedModel, phase: Phase, region: str, tables: SeparableTables
    ) -> _Replica:
        lengths = []
        for count in range(1, self._limits.max_nodes + 1):
            used = self.program.add_variable(0, 1, integer=True)
            # More than the demand is worth nothing; the cap tightens the relaxation.
            rate = self.program.add_variable(0, model.demand_req_per_s)
            stages = tuple(
                self._add_stage(region, tables, count, s, used, rate) for s in range(count)
            )
            self._add_pipeline(model, tables, used, stages)
            lengths.append((used, rate, stages))
        self.program.add_row([(used, 1.0) for used, _, _ in lengths], upper=1.0)
        replica = _Replica(model, phase, region, tables, tuple(lengths))
        self._replicas.append(replica)
        return replica

    def _add_stage(
        self, region: str, tables: SeparableTables, count: int, number: int, used: int, rate: int
    ) -> _Stage:
        """One stage: it holds one number of layers, and the pipeline is no faster than it."""
        speed = tables.rate_req_per_s[count - 1, role_of(number, count)]
        most_layers = speed.shape[1] - 1 - (count - 1)
        holds, nodes = [], []
        carried: list[tuple[int, float]] = [(rate, 1.0)]
        for layers in range(1, most_layers + 1):
            hold = self.program.add_variable(0, 1, integer=True)
            taken = []
            for c in range(len(self._configs)):
                most = self._limits.max_nodes if speed[c, layers] > 0 else 0
                variable = self.program.add_variable(0, most, integer=True)
                self._uses.setdefault((region, c), []).append(variable)
                carried.append((variable, -float(speed[c, layers])))
                taken.append(variable)
            limit = (hold, -float(self._limits.max_nodes))
            self.program.add_row([*((v, 1.0) for v in taken), limit], upper=0.0)
            holds.append(hold)
            nodes.append(tuple(taken))
        self.program.add_row([*((v, 1.0) for v in holds), (used, -1.0)], lower=0.0, upper=0.0)
        self.program.add_row(carried, upper=0.0)
        return _Stage(tuple(holds), tuple(nodes))

    def _add_pipeline(
        self, model: ServedModel, tables: SeparableTables, used: int, stages: tuple[_Stage, ...]
    ) -> None:
        """All layers are held; the limits on nodes and memory."""
        all_layers = [
            (hold, float(j)) for stage in stages for j, hold in enumerate(stage.holds, start=1)
        ]
        layers = float(model.arch.layers)
        self.program.add_row([*all_layers, (used, -layers)], lower=0.0, upper=0.0)
        by_config = [
            [row[c] for stage in stages for row in stage.nodes] for c in range(len(self._configs))
        ]
        most = float(self._limits.max_nodes)
        every = [(v, 1.0) for variables in by_config for v in variables]
        memory = [
            (v, float(tables.memory_gib[c]))
            for c, variables in enumerate(by_config)
            for v in variables
        ]
        room = self._limits.rho * tables.weight_gib
        if len(stages) > 1:
            self.program.add_row([*every, (used, -most)], upper=0.0)
            self.program.add_row([*memory, (used, -room)], upper=0.0)
            return
        # A single node may have any memory: ``alone`` lifts the limit and allows no second node.
        alone = self.program.add_variable(0, 1, integer=True)
        extra = max(0.0, float(tables.memory_gib.max()) - room)
        self.program.add_row([*every, (used, -most), (alone, most - 1.0)], upper=0.0)
        self.program.add_row([*memory, (used, -room), (alone, -extra)], upper=0.0)

    def _add_capacity(self) -> None:
        """Nodes fit into the pools; rent and starting charge by pool of the cheapest price."""
        horizon_s = self._problem.policy.payback_horizon_s
        for (region, c), variables in self._uses.items():
            drawn = []
            for pool in self._problem.pools:
                shape = (pool.key.gpu, pool.key.gpus_per_node, pool.key.link)
                if pool.key.region == region and shape == tuple(self._configs[c]):
                    free = sum(node.free_gpus > 0 for node in pool.nodes)
                    draw = self.program.add_variable(0, free, integer=True)
                    charge = 1.0 + pool.start_time_s / horizon_s
                    self.cost[draw] = pool.node_usd_per_hour * charge
                    drawn.append((draw, -1.0))
            row = [*((v, 1.0) for v in variables), *drawn]
            self.program.add_row(row, lower=0.0, upper=0.0)

    def _template(
        self, replica: _Replica, stages: tuple[_Stage, ...], values: NDArray[np.float64]
    ) -> ServingTemplate:
        """Read one placement; its rate is computed anew from the tables."""
        placed = []
        slowest = np.inf
        for number, stage in enumerate(stages):
            j = int(np.argmax(values[list(stage.holds)]))
            counts = np.rint(values[list(stage.nodes[j])]).astype(np.int64)
            speed = replica.tables.rate_req_per_s[len(stages) - 1, role_of(number, len(stages))]
            slowest = min(slowest, float(counts @ speed[:, j + 1]))
            members: list[NodeConfig] = []
            for config, count in zip(self._configs, counts.tolist(), strict=True):
                members += [config] * count
            placed.append(StagePlacement(j + 1, tuple(sorted(members))))
        prediction, _ = describe_paper(replica.model)(tuple(placed), slowest, NO_POINT)
        return ServingTemplate(
            model_id=replica.model.id,
            phase=replica.phase,
            stages=tuple(placed),
            prediction=prediction,
            made_for=replica.model.targets_digest,
        )


def _placed(
    problem: PlanningProblem, chosen: list[tuple[str, ServingTemplate]]
) -> list[ServingInstance]:
    """Put replicas on whole nodes, each from the cheapest pool of its region that has one."""
    nodes = FreeNodes(problem.pools, whole_nodes_only=True)
    names = NameBook(())
    prices = {pool.key: pool.gpu_usd_per_hour() for pool in problem.pools}
    instances = []
    for region, template in chosen:
        replica = nodes.take(template, region)
        if replica is None:
            # A whole node is either free or not, so rows that hold leave no replica without one.
            raise SolverError(f"the solution has no node left for {template.id} in {region}")
        instances.append(replica.instance(names.give(template), prices))
    return instances
