"""Independent answers for small cases: the paper's integer program, solved by OR-Tools.

The search of this package is checked against them; nothing else uses them. At six nodes and four
stages the program of the ``paper`` space does not finish in a minute.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from ortools.math_opt.python import mathopt

from coral_solver.domain.errors import SolverError
from coral_solver.performance.tables import StageRole, role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_solver.performance.tables import JointTables, SeparableTables

TIME_LIMIT = timedelta(minutes=2)


def best_paper_rate(tables: SeparableTables, nodes: Sequence[int]) -> float:
    """Return the rate of the best ``paper`` placement of some nodes.

    Parameters
    ----------
    tables
        Stage rates.
    nodes
        Index of the configuration of each node.

    Returns
    -------
    float
        Requests per second; 0.0 if the nodes cannot serve the model.

    Notes
    -----
    For every number of stages S (arXiv 2605.04357, template generation), with the role of each
    stage as an addition: maximise T, where ``x[s, j]`` says that stage s holds j layers,
    ``y[s, k]`` that node k is in stage s, and ``z[s, j, k]`` stands for their product.
    """
    num_layers = tables.rate_req_per_s.shape[3] - 1
    most = min(len(nodes), num_layers, len(tables.rate_req_per_s))
    return max(_best_paper_rate(tables, nodes, stages) for stages in range(1, most + 1))


def _best_paper_rate(tables: SeparableTables, nodes: Sequence[int], stages: int) -> float:
    num_layers = tables.rate_req_per_s.shape[3] - 1
    # rate[s, j, k]: what node k gives to stage s when that holds j layers.
    rate = np.array(
        [
            [tables.rate_req_per_s[stages - 1, role_of(s, stages), k] for k in nodes]
            for s in range(stages)
        ]
    ).transpose(0, 2, 1)
    model = mathopt.Model(name="paper placement")
    throughput = model.add_variable(lb=0.0, ub=float(rate.sum(axis=2).max()), name="T")
    model.maximize(throughput)
    holds = [
        [model.add_binary_variable(name=f"x[{s},{j}]") for j in range(1, num_layers + 1)]
        for s in range(stages)
    ]
    member = [
        [model.add_binary_variable(name=f"y[{s},{k}]") for k in range(len(nodes))]
        for s in range(stages)
    ]
    # Each stage holds one number of layers, and together they hold all.
    for s in range(stages):
        model.add_linear_constraint(mathopt.fast_sum(holds[s]) == 1, name=f"one[{s}]")
    all_layers = mathopt.fast_sum(
        (j + 1) * holds[s][j] for s in range(stages) for j in range(num_layers)
    )
    model.add_linear_constraint(all_layers == num_layers, name="layers")
    # Each node is in one stage.
    for k in range(len(nodes)):
        in_stages = mathopt.fast_sum(member[s][k] for s in range(stages))
        model.add_linear_constraint(in_stages == 1, name=f"node[{k}]")
    # T is at most the rate of every stage: the sum over its nodes at its layers.
    for s in range(stages):
        terms = []
        for j in range(num_layers):
            for k in range(len(nodes)):
                both = model.add_variable(lb=0.0, ub=1.0, name=f"z[{s},{j + 1},{k}]")
                model.add_linear_constraint(both <= holds[s][j])
                model.add_linear_constraint(both <= member[s][k])
                terms.append(float(rate[s, j + 1, k]) * both)
        model.add_linear_constraint(throughput <= mathopt.fast_sum(terms), name=f"stage[{s}]")

    values = _solve(model)
    if values is None:
        return 0.0
    # The rate is computed anew from the placement: the solver keeps its rows to 1e-6 only.
    slowest = np.inf
    for s in range(stages):
        layers = 1 + int(np.argmax([values[x] for x in holds[s]]))
        inside = [k for k in range(len(nodes)) if values[member[s][k]] > 0.5]
        slowest = min(slowest, sum(float(rate[s, layers, k]) for k in inside))
    return slowest


def best_vllm_rate(
    tables: JointTables,
    num_layers: int,
    nodes: Sequence[int],
    capacity_of: Callable[..., float],
) -> float:
    """Return the rate of the best ``vllm`` placement of some nodes.

    Parameters
    ----------
    tables
        Stage times of one tensor-parallel size.
    num_layers
        Layers of the model.
    nodes
        Index of the configuration of each node.
    capacity_of
        ``coral_solver.performance.capacity.joint_capacity``, or one of its type.

    Returns
    -------
    float
        Requests per second; 0.0 if the nodes cannot serve the model.

    Notes
    -----
    Capacity falls with the longest step and with the largest stretch, so for every operating point
    and every bound on the stretch the shortest longest step is found by an integer program over
    the layers of each node and over which nodes come first and last.
    """
    stages = len(nodes)
    if stages > min(num_layers, len(tables.max_layers)):
        return 0.0
    best = 0.0
    for point in range(len(tables.point_params)):
        bounds = np.unique(tables.stretch[stages - 1, point][:, list(nodes)])
        for bound in bounds:
            found = _shortest_step(tables, num_layers, nodes, point, float(bound))
            if found is not None:
                row, request = tables.point_params[point], tables.request_params
                best = max(best, capacity_of(stages, row, request, *found))
    return best


def _shortest_step(
    tables: JointTables, num_layers: int, nodes: Sequence[int], point: int, bound: float
) -> tuple[float, float] | None:
    """Return the shortest longest step with no stretch above a bound, and the largest stretch."""
    stages = len(nodes)
    layer_s = tables.layer_s[stages - 1, point]
    extra_s = tables.extra_s[stages - 1, point]
    stretch = tables.stretch[stages - 1, point]
    caps = tables.max_layers[stages - 1, point]
    single = stages == 1
    roles = [StageRole.ONLY] if single else [StageRole.FIRST, StageRole.MIDDLE, StageRole.LAST]

    model = mathopt.Model(name="vllm placement")
    tau = model.add_variable(lb=0.0, name="tau")
    # Times are scaled so that the solver's tolerances do not blur them.
    scale = 1.0 / float(layer_s.max() + extra_s.max())
    model.minimize(tau)
    layers = [model.add_integer_variable(lb=1, ub=num_layers) for _ in nodes]
    plays = [[model.add_binary_variable() for _ in roles] for _ in nodes]
    model.add_linear_constraint(mathopt.fast_sum(layers) == num_layers, name="layers")
    for r, role in enumerate(roles):
        if role is not StageRole.MIDDLE:
            players = mathopt.fast_sum(plays[k][r] for k in range(stages))
            model.add_linear_constraint(players == 1, name=f"one[{role.name}]")
    for k, config in enumerate(nodes):
        model.add_linear_constraint(mathopt.fast_sum(plays[k]) == 1, name=f"role[{k}]")
        cap = mathopt.fast_sum(
            int(caps[role, config]) * plays[k][r] for r, role in enumerate(roles)
        )
        model.add_linear_constraint(layers[k] <= cap, name=f"memory[{k}]")
        extra = mathopt.fast_sum(
            scale * float(extra_s[role, config]) * plays[k][r] for r, role in enumerate(roles)
        )
        step = scale * float(layer_s[config]) * layers[k] + extra
        model.add_linear_constraint(tau >= step, name=f"step[{k}]")
        for r, role in enumerate(roles):
            if stretch[role, config] > bound:
                model.add_linear_constraint(plays[k][r] == 0)

    values = _solve(model)
    if values is None:
        return None
    tau_s = largest = 0.0
    for k, config in enumerate(nodes):
        role = roles[int(np.argmax([values[p] for p in plays[k]]))]
        held = round(values[layers[k]])
        tau_s = max(tau_s, held * float(layer_s[config]) + float(extra_s[role, config]))
        largest = max(largest, float(stretch[role, config]))
    return tau_s, largest


def _solve(model: mathopt.Model) -> dict[mathopt.Variable, float] | None:
    """Return the optimal values, or None if there is no solution."""
    parameters = mathopt.SolveParameters(
        time_limit=TIME_LIMIT, relative_gap_tolerance=0.0, absolute_gap_tolerance=0.0
    )
    result = mathopt.solve(model, mathopt.SolverType.GSCIP, params=parameters)
    reason = result.termination.reason
    if reason is mathopt.TerminationReason.INFEASIBLE:
        return None
    if reason is not mathopt.TerminationReason.OPTIMAL:
        raise SolverError(f"the oracle's program was not solved to the end: {reason.name}")
    return dict(result.variable_values())
