"""What wrong predictions do to a plan, and what a margin against them costs.

    python -m benchmarks.robustness              # 100 instances; --smoke: two models of one
    python -m benchmarks.robustness --bars stated

Instances are those of `benchmarks/instances.py`, seeds 0 to 99, in the `vllm` space with
aggregated and disaggregated serving. Each is planned with `robustness` 0, 0.5 and 1, and once with
the truth known beforehand. Then the truth comes out.

The truth: every (model, precision, GPU type, tensor parallelism) is exp(sigma z) times as fast as
predicted, z standard normal, one draw for all instances of a seed's plans, so that four of five lie
within the error bar. `--bars 30` (default): the bar of every prediction is 30 %, sigma =
ln 1.30 / 1.2816 = 0.205, and the planner is told so in place of what the model knows of itself.
`--bars stated`: sigma is that of the bar that the performance model states for each deployment.

What a plan serves under the truth is counted in two ways. `rate x error`: an instance carries the
predicted rate of its placement and engine settings times the error, that of its slowest stage.
`within targets`: all its step times are divided by the error, and it carries the largest rate that
still meets the latency targets with the settings it has; a slow deployment then loses more than its
share. Either way the phases of a model pair region by region, and what exceeds the demand is not
served.

A row per plan goes to a CSV file with `--out`; the table is printed, or with `--table` that of an
earlier run.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.instances import Features, instance
from benchmarks.machine import machine
from benchmarks.solving import Solver

from coral_solver.catalog import gpu_type
from coral_solver.domain.plan import with_measurements
from coral_solver.domain.workload import Phase
from coral_solver.performance import anchors, operator_rule
from coral_solver.performance.capacity import joint_capacity, joint_tables
from coral_solver.performance.evidence import Correction, evidence
from coral_solver.performance.kernels import POINT_BUDGET, POINT_SEQS
from coral_solver.performance.tables import role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem, ServingInstance
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel

FEATURES = Features(vllm=True, mixed=True)
SIGMAS = 1.2816
"""Standard deviations of a normal variable that an 80 % interval reaches to either side."""
KNOWN = "truth known"
SERVED = 1.0 - 1e-6
RELATIVE_GAP = 1e-3
ALL = 100
"""More models than any instance has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One plan of one instance.

    Attributes
    ----------
    plan
        Robustness that it was made with, or ``truth known``.
    rent_usd_per_hour
        What it costs.
    planned_share
        Share of all demand that it means to serve.
    served_share, served_within_targets
        Share that it serves under the truth, in the two ways of counting.
    short_models
        Share of the models that get less than 99 % of what was planned for them, within targets.
    gap
        Largest gap of any level of the plan.
    """

    seed: int
    plan: str
    rent_usd_per_hour: float
    planned_share: float
    served_share: float
    served_within_targets: float
    short_models: float
    gap: float


class Truth:
    """How fast deployments really are beside their prediction.

    Parameters
    ----------
    seed
        Of the instance.
    bar
        Half width of every error bar as a share; None: as the performance model states it.
    """

    def __init__(self, seed: int, bar: float | None) -> None:
        self._seed = seed
        self._bar = bar

    def bar(self, model: ServedModel, gpu: GpuType, tensor_parallel: int, stages: int) -> float:
        """Return the half width of a deployment's error bar."""
        if self._bar is not None:
            return self._bar
        return evidence(model.arch, model.precision, gpu, tensor_parallel, stages).error_share

    def speed(self, model: ServedModel, gpu: GpuType, tensor_parallel: int) -> float:
        """Return the true speed of a deployment over the predicted one."""
        name = f"{self._seed} {model.arch.name} {model.precision} {gpu.name} {tensor_parallel}"
        sigma = math.log1p(self.bar(model, gpu, tensor_parallel, 1)) / SIGMAS
        return math.exp(sigma * Random(name).gauss(0.0, 1.0))  # noqa: S311 - not for secrets


@dataclass(frozen=True)
class _Told:
    """Takes the place of ``anchors.Corrections``: what the planner is told about a model."""

    model: ServedModel
    truth: Truth
    is_known: bool

    def of(self, gpu: GpuType, tensor_parallel: int, stages: int = 1) -> Correction:
        speed = self.truth.speed(self.model, gpu, tensor_parallel) if self.is_known else 1.0
        told = Correction(
            error_share=self.truth.bar(self.model, gpu, tensor_parallel, stages),
            rests_on="the study's truth",
        )
        return told.at_site(speed)


@contextmanager
def telling(truth: Truth, *, is_known: bool) -> Iterator[None]:
    """Tell the planner the study's error bars, and the truth itself where it is known."""

    def told(model: ServedModel, _gpu_types: object = None) -> _Told:
        return _Told(model, truth, is_known)

    with (
        mock.patch.object(operator_rule, "measured_corrections", told),
        mock.patch.object(anchors, "measured_corrections", told),
    ):
        yield


def true_rates(
    model: ServedModel, template: ServingTemplate, truth: Truth
) -> tuple[float, float, float]:
    """Return what a template carries: predicted without margin, ``x error``, ``within targets``."""
    engine = template.engine
    if engine is None:
        raise ValueError("the paper space has no engine settings")
    stages = len(template.stages)
    configs = sorted({config for stage in template.stages for config in stage.configs})
    nominal = replace(model, measured=(), robustness=0.0)
    tables = joint_tables(nominal, template.phase, configs, stages)
    speeds = [truth.speed(model, gpu_type(c.gpu), c.gpu_count) for c in configs]
    predicted = within = 0.0
    for point, row in enumerate(tables.point_params):
        # Prompts alone have no limit on sequences; elsewhere fewer may run than are allowed.
        if row[POINT_BUDGET] != engine.max_num_batched_tokens or (
            template.phase is not Phase.PREFILL and stages * row[POINT_SEQS] > engine.max_num_seqs
        ):
            continue
        step_s = [0.0, 0.0]
        stretch = 0.0
        for number, stage in enumerate(template.stages):
            c, role = configs.index(stage.configs[0]), role_of(number, stages)
            time_s = stage.layers * tables.layer_s[stages - 1, point, c]
            time_s += tables.extra_s[stages - 1, point, role, c]
            stretch = max(stretch, float(tables.stretch[stages - 1, point, role, c]))
            step_s = [max(step_s[0], time_s), max(step_s[1], time_s / speeds[c])]
        rates = [joint_capacity(stages, row, tables.request_params, s, stretch) for s in step_s]
        predicted, within = max(predicted, rates[0]), max(within, rates[1])
    return predicted, predicted * min(speeds), within


def served_shares(
    problem: PlanningProblem, plan: AllocationPlan, truth: Truth
) -> tuple[float, float, float]:
    """Return the shares of all demand served, in both ways, and the share of models left short."""
    models = {model.id: model for model in problem.models}
    factors = {pool.key: pool.site_factor for pool in problem.pools}
    rates: dict[str, tuple[float, float, float]] = {}
    carried = [defaultdict[tuple[str, str, Phase], float](float) for _ in range(2)]
    for running in plan.instances:
        template = running.template
        if template.id not in rates:
            rates[template.id] = true_rates(models[template.model_id], template, truth)
        site = min(factors[piece.pool] for piece in running.slices)
        for way in range(2):
            key = (template.model_id, running.region, template.phase)
            carried[way][key] += rates[template.id][1 + way] * site
    served = [{m: _paired(by, m, plan.instances) for m in models} for by in carried]
    demand = sum(model.demand_req_per_s for model in models.values())
    shares = [
        sum(min(rate, models[m].demand_req_per_s) for m, rate in by.items()) / demand
        for by in served
    ]
    planned = {o.model_id: o.demand_req_per_s - o.unmet_req_per_s for o in plan.outcomes}
    short = [served[1][m] < 0.99 * rate for m, rate in planned.items() if rate > 0]
    return shares[0], shares[1], sum(short) / max(1, len(short))


def _paired(
    carried: dict[tuple[str, str, Phase], float],
    model_id: str,
    instances: tuple[ServingInstance, ...],
) -> float:
    """Return what a model's instances serve together, prefill and decode region by region."""
    total = 0.0
    for region in {i.region for i in instances if i.template.model_id == model_id}:
        of = {phase: carried.get((model_id, region, phase), 0.0) for phase in Phase}
        total += of[Phase.WHOLE] + min(of[Phase.PREFILL], of[Phase.DECODE])
    return total


def study(seed: int, bar: float | None, limit_s: float, most_models: int) -> list[Row]:
    """Plan one instance in the four ways, and let the truth come out."""
    problem, options = instance(seed, FEATURES)
    problem = replace(problem, models=problem.models[:most_models])
    allocation = replace(options.allocation, time_limit_s=limit_s, relative_gap=RELATIVE_GAP)
    truth = Truth(seed, bar)
    demand = sum(model.demand_req_per_s for model in problem.models)
    rows = []
    for name, robustness in (("0", 0.0), ("0.5", 0.5), ("1", 1.0), (KNOWN, 0.0)):
        policy = replace(problem.policy, robustness=robustness)
        asked = with_measurements(replace(problem, policy=policy))
        with telling(truth, is_known=name == KNOWN):
            # A library of its own: what it keeps does not know what it was told.
            solved = Solver(options.library).solve(asked, allocation)
        share, within, short = served_shares(problem, solved.plan, truth)
        rows.append(
            Row(
                seed=seed,
                plan=name,
                rent_usd_per_hour=solved.plan.rent_usd_per_hour,
                planned_share=1.0 - sum(solved.plan.unmet_req_per_s.values()) / demand,
                served_share=share,
                served_within_targets=within,
                short_models=short,
                gap=solved.gap,
            )
        )
    return rows


def table(rows: list[Row]) -> str:
    """Return the published table: instances where every plan means to serve all, and the others."""
    by_seed: dict[int, dict[str, Row]] = {}
    for row in rows:
        by_seed.setdefault(row.seed, {})[row.plan] = row
    ample = [plans for plans in by_seed.values() if all(_serves(p) for p in plans.values())]
    scarce = [plans for plans in by_seed.values() if plans not in ample]
    lines = [
        "| instances | plan | rent | over robustness 0 | planned | served, rate x error"
        " | served within targets | worst tenth | models short |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for what, chosen in ((f"{len(ample)} ample", ample), (f"{len(scarce)} scarce", scarce)):
        for name in dict.fromkeys(row.plan for row in rows):
            mine = [plans[name] for plans in chosen]
            if mine:
                lines.append(f"| {what} | {name} {_cells(mine, [plans['0'] for plans in chosen])}")
    gaps = [row.gap for row in rows]
    note = (
        f"{len(by_seed)} instances; gaps of the {len(gaps)} plans: median "
        f"{statistics.median(gaps):.2%}, largest {max(gaps):.0%}"
    )
    return "\n".join([*lines, "", note])


def _cells(mine: list[Row], plain: list[Row]) -> str:
    ratios = [m.rent_usd_per_hour / p.rent_usd_per_hour for m, p in zip(mine, plain, strict=True)]
    within = sorted(row.served_within_targets for row in mine)
    rent = sum(row.rent_usd_per_hour for row in mine)
    return (
        f"| {rent:.0f} USD/h | {statistics.median(ratios):.2f}"
        f" | {_mean(row.planned_share for row in mine)} | {_mean(row.served_share for row in mine)}"
        f" | {_mean(within)} | {within[len(within) // 10]:.1%}"
        f" | {_mean(row.short_models for row in mine)} |"
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of an earlier run."""
    types = {
        field.name: {"str": str, "int": int, "float": float}[str(field.type)]
        for field in fields(Row)
    }
    with path.open(newline="", encoding="utf-8") as source:
        return [Row(**{k: types[k](v) for k, v in row.items()}) for row in csv.DictReader(source)]


def _serves(row: Row) -> bool:
    return row.planned_share >= SERVED


def _mean(values: Iterable[float]) -> str:
    return f"{statistics.fmean(values):.1%}"


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", default="30", help="per cent, or `stated`")
    parser.add_argument("--count", type=int, default=100, help="instances, from seed 0 on")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of each solve")
    parser.add_argument("--out", type=Path, help="CSV with a row per plan")
    parser.add_argument("--table", type=Path, help="run nothing; print the table of this CSV")
    parser.add_argument("--smoke", action="store_true", help="two models of one instance")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(table(read_rows(arguments.table)))
        return
    bar = None if arguments.bars == "stated" else float(arguments.bars) / 100.0
    count, limit_s, most_models = arguments.count, arguments.limit, ALL
    if arguments.smoke:
        count, limit_s, most_models = 1, 1.0, 2
    rows: list[Row] = []
    for seed in range(arguments.first, arguments.first + count):
        rows += study(seed, bar, limit_s, most_models)
        if arguments.out is not None:
            with arguments.out.open("w", newline="", encoding="utf-8") as sink:
                writer = csv.DictWriter(sink, [field.name for field in fields(Row)])
                writer.writeheader()
                writer.writerows(map(asdict, rows))
    print(table(rows))
    print(f"bars: {arguments.bars}; {machine()}")


if __name__ == "__main__":
    main()
