"""Solve many random instances and publish the distribution of times and gaps.

    python -m benchmarks.distribution --set plain --count 200 --limit 30

Instances are those of `benchmarks/instances.py`, seeds 0, 1, 2, ...; none is left out. Each runs in
a process of its own, which first solves a one-model problem, so that compiled kernels are loaded as
in a planner that is running. The times by which instances are proven are those of stage 2. Stage 1
has a column of its own: templates do not depend on prices, demands or free GPUs, so they are built
once for all 20 node configurations, and each instance loads them from a cache on disk. With
`--method pricing` there is no stage 1. `--clock cpu` counts CPU time instead
of wall time, for a machine that does other work beside.

A row per instance goes to a CSV file as it ends; rows of the same solver code and limit are not run
again. `--report` runs nothing and prints the table of the rows that the file has.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from benchmarks.instances import FEATURE_SETS, instance, supply_factor
from benchmarks.machine import machine, solver_fingerprint
from benchmarks.solving import CpuClock, Solver

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.clock import WallClock
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.catalogue import CatalogueOptions, TemplateMethod

if TYPE_CHECKING:
    from coral_solver.domain.plan import AllocationPlan
    from coral_solver.domain.workload import ServedModel

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PROVEN_GAP = 1e-4
MARKS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
KEY = ("set", "method", "clock", "seed", "limit_s", "code")
ALL_SHAPES = paper_setup("extended").pools[PriceSheet.TABLE_1]
"""Pools without nodes: every instance has some of these shapes, so one library is for all."""

GRACE_S = 120.0
"""Beyond the limit: for stage 1, the assignment, the checker. Then the process is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one instance came to.

    Attributes
    ----------
    method
        Where templates come from, see ``TemplateMethod``.
    clock
        ``wall`` or ``cpu``: what the limit and the times are of.
    code
        Digest of the solver's source.
    status
        Of the plan; ``HANG`` where the process had to be ended, ``CRASH`` where it died.
    gap
        Largest gap of any level.
    levels
        Value and gap of each level in words.
    prepare_s, solve_s, cpu_s
        Time of stage 1, of stage 2, and CPU time of both.
    """

    set: str
    method: str
    clock: str
    seed: int
    code: str
    limit_s: float
    supply_factor: float
    pools: int
    gpus: int
    demand_req_per_s: float
    in_force: int
    status: str
    gap: float
    prepare_s: float
    solve_s: float
    cpu_s: float
    peak_mib: float
    cost_usd_per_hour: float
    unmet_req_per_s: float
    kept: int
    levels: str

    @property
    def proven(self) -> bool:
        """Whether every level is closed."""
        return self.status == "OPTIMAL" and self.gap <= PROVEN_GAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One instance to solve, and how."""

    set: str
    method: str
    clock: str
    seed: int
    limit_s: float
    cache_dir: Path | None = None

    def arguments(self) -> list[str]:
        """Return the command line that solves it in a child process."""
        words = ["--set", self.set, "--method", self.method, "--clock", self.clock]
        words += ["--one", str(self.seed), "--limit", str(self.limit_s)]
        return words + (["--cache", str(self.cache_dir)] if self.cache_dir else [])

    def key(self) -> dict[str, Any]:
        """Return the columns that say which row this is."""
        return {
            "set": self.set,
            "method": self.method,
            "clock": self.clock,
            "seed": self.seed,
            "limit_s": self.limit_s,
            "code": solver_fingerprint(),
        }


def solve(task: Task) -> Row:
    """Solve one instance in this process."""
    problem, options = instance(task.seed, FEATURE_SETS[task.set])
    limited = replace(options.allocation, time_limit_s=task.limit_s)
    templates = replace(options.library, method=TemplateMethod(task.method))
    small = replace(problem, models=problem.models[:1], in_force=())
    Solver(replace(templates, max_nodes=2)).solve(small, limited)

    clock = CpuClock() if task.clock == "cpu" else WallClock()
    solver = Solver(replace(templates, cache_dir=task.cache_dir), clock)
    load_s = solver.load(replace(problem, pools=ALL_SHAPES))
    solved = solver.solve(problem, limited)
    return Row(
        **task.key(),
        **_facts(task.seed, problem),
        status=solved.plan.status.value,
        gap=solved.gap,
        prepare_s=round(load_s + solved.prepare_s, 3),
        solve_s=round(solved.solve_s, 3),
        cpu_s=round(solved.cpu_s, 3),
        peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **_answer(problem, solved.plan),
    )


def _facts(seed: int, problem: PlanningProblem) -> dict[str, Any]:
    return {
        "supply_factor": round(supply_factor(seed), 2),
        "pools": len(problem.pools),
        "gpus": sum(
            pool.free_gpus + (pool.max_nodes - len(pool.nodes)) * pool.key.gpus_per_node
            if pool.max_nodes
            else pool.free_gpus
            for pool in problem.pools
        ),
        "demand_req_per_s": round(sum(model.demand_req_per_s for model in problem.models), 1),
        "in_force": len(problem.in_force),
    }


def _answer(problem: PlanningProblem, plan: AllocationPlan) -> dict[str, Any]:
    before = {instance.name for instance in problem.in_force}
    return {
        "cost_usd_per_hour": round(plan.cost_usd_per_hour, 6),
        "unmet_req_per_s": round(sum(plan.unmet_req_per_s.values()), 6),
        "kept": sum(instance.name in before for instance in plan.instances),
        "levels": "; ".join(
            f"{level.level} {level.value:.6g} gap {level.gap:.2g}" for level in plan.objective
        ),
    }


def _failed(task: Task, status: str, why: str) -> Row:
    problem, _ = instance(task.seed, FEATURE_SETS[task.set])
    return Row(
        **task.key(),
        **_facts(task.seed, problem),
        status=status,
        gap=math.inf,
        prepare_s=math.inf,
        solve_s=math.inf,
        cpu_s=math.inf,
        peak_mib=math.nan,
        cost_usd_per_hour=math.nan,
        unmet_req_per_s=math.nan,
        kept=0,
        levels=why,
    )


def in_own_process(task: Task) -> Row:
    """Run ``solve`` in a fresh interpreter, and end it where it hangs."""
    limit_s = (task.limit_s if task.clock == "wall" else 10 * task.limit_s) + GRACE_S
    try:
        shown = subprocess.run(
            [sys.executable, "-m", "benchmarks.distribution", *task.arguments()],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return _failed(task, "HANG", f"ended after {limit_s:.0f} s")
    if shown.returncode:
        last = " / ".join(shown.stderr.strip().splitlines()[-4:])
        return _failed(task, "CRASH", f"exit status {shown.returncode}: {last[-400:]}")
    return Row(**json.loads(shown.stdout.splitlines()[-1]))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file; none where it does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_parsed(record) for record in csv.DictReader(file)]


def _parsed(record: dict[str, str]) -> Row:
    kinds = {"int": int, "float": float, "str": str}
    return Row(**{field.name: kinds[str(field.type)](record[field.name]) for field in fields(Row)})


def _append(path: Path, row: Row) -> None:
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, fieldnames=[field.name for field in fields(Row)], lineterminator="\n"
        )
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))


def build_templates(tasks: list[Task]) -> None:
    """Put the templates of all tasks into the cache, where they come from a library."""
    groups: dict[CatalogueOptions, dict[str, ServedModel]] = {}
    for task in tasks:
        features = replace(FEATURE_SETS[task.set], switching=False)
        problem, options = instance(task.seed, features)
        if options.library.space is PlacementSpace.PAPER:
            templates = replace(
                options.library, method=TemplateMethod(task.method), cache_dir=task.cache_dir
            )
            models = {f"{model.id} {model.serving}": model for model in problem.models}
            groups.setdefault(templates, {}).update(models)
    for templates, wanted in groups.items():
        for _, model in sorted(wanted.items()):  # too many together would not be listed at all
            Solver(templates).load(PlanningProblem(models=(model,), pools=ALL_SHAPES))


def run_all(tasks: list[Task], path: Path, *, processes: int) -> list[Row]:
    """Solve the tasks that the file has no row of; return the rows of all."""
    wanted = [task.key() for task in tasks]
    have = [_key(row) for row in read_rows(path)]
    todo = [task for task in tasks if task.key() not in have]
    build_templates(todo)
    lock = Lock()

    def one(task: Task) -> None:
        row = in_own_process(task)
        with lock:
            _append(path, row)
            print(line(row), file=sys.stderr, flush=True)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(one, todo))
    return [row for row in read_rows(path) if _key(row) in wanted]


def _key(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in KEY}


def line(row: Row) -> str:
    """Return one instance as a line of text."""
    return (
        f"{row.set:9} {row.seed:4} x{row.supply_factor:4.1f} {row.pools:3} pools {row.gpus:5} GPUs "
        f"{row.status:11} gap {row.gap:7.1e} stage1 {row.prepare_s:6.2f} stage2 {row.solve_s:6.2f} "
        f"cpu {row.cpu_s:6.2f} s {row.peak_mib:6.0f} MiB {row.cost_usd_per_hour:10.3f} USD/h "
        f"unmet {row.unmet_req_per_s:7.2f}"
    )


def table(rows: list[Row]) -> str:
    """Return the distribution of each set as a markdown table, and the instances missed."""
    marks = " | ".join(f"{mark:g} s" for mark in MARKS_S)
    lines = [
        "| set | templates | clock | instances | limit | stage 1, median | stage 2, median "
        f"| 95th pct | CPU of both, median | proven in {marks} | worst gap | over 0.1 % |",
        "|---" * (11 + len(MARKS_S)) + "|",
    ]
    groups: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, row.method, row.clock, row.limit_s), []).append(row)
    for (name, method, clock, limit_s), group in groups.items():
        times = sorted(row.solve_s for row in group)
        shares = " | ".join(
            f"{sum(row.proven and row.solve_s <= mark for row in group) / len(group):.1%}"
            for mark in MARKS_S
        )
        lines.append(
            f"| {name} | {method} | {clock} | {len(group)} | {limit_s:g} s "
            f"| {statistics.median(row.prepare_s for row in group):.2f} s "
            f"| {statistics.median(times):.2f} s "
            f"| {times[math.ceil(0.95 * len(times)) - 1]:.2f} s "
            f"| {statistics.median(row.cpu_s for row in group):.2f} s | {shares} "
            f"| {max(row.gap for row in group):.1e} | {sum(row.gap > 1e-3 for row in group)} |"
        )
    missed = sorted(
        (row for row in rows if not row.proven), key=lambda row: (row.set, row.method, row.seed)
    )
    lines += ["", f"Not proven to {PROVEN_GAP:g} at the limit: {len(missed) or 'none'}", ""]
    lines += [
        f"- {row.set} {row.seed} ({row.method}): {row.status}, gap {row.gap:.1e}, "
        f"{row.solve_s:.1f} s ({row.levels})"
        for row in missed
    ]
    return "\n".join(lines).strip()


def main() -> None:
    """Run sets of instances, or one in a child process, or print the table of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=list(FEATURE_SETS), action="append", dest="sets")
    parser.add_argument("--method", choices=list(TemplateMethod), default=TemplateMethod.AUTO)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for stage 2")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1)
    parser.add_argument("--cache", type=Path, help="folder for template libraries")
    parser.add_argument("--out", type=Path, default=RESULTS / "distribution.csv")
    parser.add_argument("--report", action="store_true", help="only print what the file has")
    parser.add_argument("--smoke", action="store_true", help="one small instance, seconds")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sets = arguments.sets or ["plain"]
    if arguments.smoke:
        sets, arguments.first, arguments.count, arguments.limit = ["vllm"], 9007, 1, 2.0
        arguments.method = TemplateMethod.AUTO
    seeds = range(arguments.first, arguments.first + arguments.count)
    tasks = [
        Task(
            set=name,
            method=str(arguments.method),
            clock=arguments.clock,
            seed=seed,
            limit_s=arguments.limit,
            cache_dir=arguments.cache,
        )
        for seed in (seeds if arguments.one is None else [arguments.one])
        for name in sets
    ]
    if arguments.one is not None:
        print(json.dumps(asdict(solve(tasks[0]))))
    elif arguments.report:
        found = [row for row in read_rows(arguments.out) if row.set in sets]
        print(f"solver {', '.join(sorted({row.code for row in found}))}\n\n{table(found)}")
    else:
        print(f"{machine()}; {arguments.processes} at a time\n", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.csv" if arguments.smoke else arguments.out
            if arguments.cache is None:
                tasks = [replace(task, cache_dir=Path(folder) / "templates") for task in tasks]
            print(table(run_all(tasks, out, processes=arguments.processes)))


if __name__ == "__main__":
    main()
