"""Plan again after a small change, from the plan that is in force.

    python -m benchmarks.replan

For every instance of `benchmarks/instances.py` a first plan is made, and put in force. Then, one at
a time: the demand of two models changes by 10 % (one up, one down), every price by up to 5 %, or
two nodes that the plan uses go and two pools gain one. Templates stay in memory, as in the
operator. `stayed` is the share of the instances in force that the new plan keeps; `from nothing` is
the rent of the best plan where nothing runs yet, so `saved by moving` is what the switching charge
judged not to be worth a move, or could not reach in its time.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from benchmarks.instances import FEATURE_SETS, instance
from benchmarks.machine import machine
from benchmarks.solving import Solver

from coral_solver.domain.hardware import PoolNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.solving import Solved

    from coral_solver.domain.plan import PlanningProblem, ServingInstance

    Change = Callable[[Random, PlanningProblem], PlanningProblem]

SETS = ("rho", "all", "vllm", "vllm-all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """One small change and what came of it.

    Attributes
    ----------
    stayed, in_force
        Instances that the new plan keeps, of those that ran.
    solved, fresh
        The new plan, and the one that is made where nothing runs.
    """

    change: str
    seed: int
    stayed: int
    in_force: int
    solved: Solved
    fresh: Solved


def change_demand(rng: Random, problem: PlanningProblem) -> PlanningProblem:
    """Raise one model's demand by 10 % and lower another's."""
    up = int(rng.random() * len(problem.models))
    down = (up + 1 + int(rng.random() * (len(problem.models) - 1))) % len(problem.models)
    factor = {up: 1.1, down: 0.9}
    models = tuple(
        replace(model, demand_req_per_s=model.demand_req_per_s * factor.get(i, 1.0))
        for i, model in enumerate(problem.models)
    )
    return replace(problem, models=models)


def change_prices(rng: Random, problem: PlanningProblem) -> PlanningProblem:
    """Change every price by up to 5 %."""
    pools = tuple(
        replace(pool, node_usd_per_hour=pool.node_usd_per_hour * (0.95 + 0.1 * rng.random()))
        for pool in problem.pools
    )
    return replace(problem, pools=pools)


def change_nodes(rng: Random, problem: PlanningProblem) -> PlanningProblem:
    """Take two nodes in use away, and give one to each of two pools."""
    used = sorted(
        {
            (piece.pool, piece.node)
            for instance in problem.in_force
            for piece in instance.slices
            if piece.node is not None
        }
    )
    lost = {used[int(rng.random() * len(used))] for _ in range(2) if used}
    gaining = {int(rng.random() * len(problem.pools)) for _ in range(2)}
    pools = []
    for i, pool in enumerate(problem.pools):
        nodes = tuple(node for node in pool.nodes if (pool.key, node.name) not in lost)
        if i in gaining:
            nodes = tuple(sorted((*nodes, PoolNode(f"new-node-{i}", pool.key.gpus_per_node))))
        most = max(pool.max_nodes, len(nodes)) if pool.max_nodes else 0
        pools.append(replace(pool, nodes=nodes, max_nodes=most))
    return replace(problem, pools=tuple(pools))


CHANGES: dict[str, Change] = {
    "demand": change_demand,
    "price": change_prices,
    "nodes": change_nodes,
}


def replan(set_name: str, seed: int, limit_s: float) -> list[Replanned]:
    """Plan an instance, change it, and plan it again, once for each change."""
    problem, options = instance(seed, FEATURE_SETS[set_name])
    solver = Solver(options.library)
    limited = replace(options.allocation, time_limit_s=limit_s)
    first = solver.solve(problem, limited)
    running = replace(problem, in_force=first.plan.instances)
    done = []
    for name, change in CHANGES.items():
        changed = change(
            Random(f"coral replan {seed} {name}"),  # noqa: S311 - not for secrets
            running,
        )
        solved = solver.solve(changed, limited)
        names = {item.name: item for item in changed.in_force}
        done.append(
            Replanned(
                change=name,
                seed=seed,
                stayed=sum(_stays(item, names) for item in solved.plan.instances),
                in_force=len(names),
                solved=solved,
                fresh=solver.solve(replace(changed, in_force=()), limited),
            )
        )
    return done


def _stays(item: ServingInstance, before: dict[str, ServingInstance]) -> bool:
    return item.name in before and before[item.name].slices == item.slices


def row(set_name: str, change: str, done: list[Replanned]) -> str:
    """Return a row of the table."""
    times = sorted(item.solved.total_s for item in done)
    served = [item for item in done if _serves_alike(item)]
    saved = [
        1 - item.fresh.plan.rent_usd_per_hour / item.solved.plan.rent_usd_per_hour
        for item in served
        if item.solved.plan.rent_usd_per_hour > 0
    ]
    stayed = sum(item.stayed for item in done) / max(1, sum(item.in_force for item in done))
    return (
        f"| {set_name} | {change} | {len(done)} | {statistics.median(times):.2f} s "
        f"| {times[(len(times) * 95 + 99) // 100 - 1]:.2f} s "
        f"| {statistics.median(item.fresh.total_s for item in done):.2f} s "
        f"| {sum(item.solved.plan.status == 'OPTIMAL' for item in done) / len(done):.0%} "
        f"| {max(item.solved.gap for item in done):.1e} | {stayed:.1%} "
        f"| {statistics.mean(saved) if saved else 0.0:.2%} |"
    )


def _serves_alike(item: Replanned) -> bool:
    mine, its = item.solved.plan.unmet_req_per_s, item.fresh.plan.unmet_req_per_s
    return sum(mine.values()) <= sum(its.values()) + 1e-6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=list(FEATURE_SETS), action="append", dest="sets")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=20, help="instances of each set")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds")
    parser.add_argument("--smoke", action="store_true", help="one instance, seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.sets, arguments.first, arguments.count, arguments.limit = ["vllm"], 9007, 1, 2.0
    print(f"{machine()}\n")
    print(
        "| set | change | instances | median | 95th pct | median from nothing | proven "
        "| worst gap | stayed | saved by moving |"
    )
    print("|---" * 10 + "|")
    for set_name in arguments.sets or SETS:
        seeds = range(arguments.first, arguments.first + arguments.count)
        done = [item for seed in seeds for item in replan(set_name, seed, arguments.limit)]
        for change in CHANGES:
            print(row(set_name, change, [item for item in done if item.change == change]))


if __name__ == "__main__":
    main()
