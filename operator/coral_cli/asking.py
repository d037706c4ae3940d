"""What the commands share that plan a problem more than once: what they read, and the planner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coral_cli.inputs import ReadProblem, read_problem
from coral_cli.plan_files import instances_in_force
from coral_solver.planning.planner import Planner, PlanningOptions
from coral_solver.planning.whatif import without_switching
from coral_solver.templates.cache import default_cache_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coral_solver.domain.template import PlacementSpace


def read_question(
    files: Sequence[Path],
    *,
    cluster: Path | None,
    inventory: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    plan: Path | None,
    switching: bool,
) -> ReadProblem:
    """Read the problem that questions are about.

    Parameters
    ----------
    files, cluster, inventory, kubeconfig, context
        As for ``read_problem``.
    plan
        File with the plan in force; None: nothing runs yet.
    switching
        Whether costs contain the charge for starting instances.

    Raises
    ------
    InvalidInputError
        With every problem of every file.
    """
    read = read_problem(
        files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
    )
    problem = read.problem if switching else without_switching(read.problem)
    if plan is not None:
        problem = replace(problem, in_force=instances_in_force(plan, problem.pools))
    return replace(read, problem=problem)


def planner_of(
    space: PlacementSpace, max_nodes: int, time_limit_s: float, cache_dir: Path | None
) -> Planner:
    """Return a planner for many plans of almost the same problem: no baselines, one library."""
    return Planner(
        PlanningOptions(
            space=space,
            max_nodes=max_nodes,
            time_limit_s=time_limit_s,
            cache_dir=cache_dir or default_cache_dir(),
            with_baselines=False,
            with_margin_cost=False,
        )
    )
