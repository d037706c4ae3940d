"""Stage 1 on the paper's setups: templates and time for each model and phase, in both spaces.

    python -m benchmarks.stage1 [--setup core] [--space paper] [--smoke]

Each total is a process of its own, imports included: `compile` starts without compiled code and
without templates, `cold` without templates, `warm` from the template cache that `cold` left. The
table has the times of `cold`. Memory is the highest resident set of each process. Prices play no
part in stage 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import machine

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

if TYPE_CHECKING:
    from collections.abc import Sequence

SETUPS = ("core", "extended")


SMOKE_MODELS, SMOKE_NODES = 1, 2


def measure(
    setup_name: str, space: PlacementSpace, cache_dir: Path, *, smoke: bool
) -> list[dict[str, object]]:
    """Prepare every model of a setup in this process; one row for each model."""
    setup = paper_setup(setup_name)
    pools = setup.pools[PriceSheet.TABLE_1]
    options = LibraryOptions(space=space, cache_dir=cache_dir)
    if smoke:
        options = replace(options, max_nodes=SMOKE_NODES)
    library = TemplateLibrary(options)
    rows: list[dict[str, object]] = []
    for model in setup.models[:SMOKE_MODELS] if smoke else setup.models:
        totals = []
        start_s = time.perf_counter()
        problem = PlanningProblem(models=(replace(model, demand_req_per_s=1.0),), pools=pools)
        configs = configs_on_offer(pools, whole_nodes_only=space is PlacementSpace.PAPER)
        library.prepare(problem, lambda _done, total, totals=totals: totals.append(total))
        seconds = time.perf_counter() - start_s
        templates = library.templates(model, configs)
        rows.append(
            {
                "model": model.arch.name,
                "multisets": totals[-1],
                "templates": len(templates),
                **{
                    phase.value.lower(): int((templates.phase_index == number).sum())
                    for number, phase in enumerate(templates.phases)
                },
                "seconds": seconds,
            }
        )
    return rows


def in_own_process(
    arguments: Sequence[str], cache_dir: Path, numba_cache: Path | None
) -> tuple[float, float, list[dict[str, object]]]:
    """Run ``measure`` in a fresh interpreter; returns seconds and peak GiB of the process too."""
    environment = dict(os.environ)
    if numba_cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(numba_cache)
    start_s = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks.stage1", *arguments, "--child", str(cache_dir)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(shown.stdout)
    return time.perf_counter() - start_s, found["peak_gib"], found["rows"]


def main() -> None:
    """Print the tables, or one measurement as JSON in a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setup", choices=SETUPS)
    parser.add_argument("--space", type=PlacementSpace, choices=list(PlacementSpace))
    parser.add_argument("--smoke", action="store_true", help="one model, two nodes")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        rows = measure(arguments.setup, arguments.space, arguments.child, smoke=arguments.smoke)
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"rows": rows, "peak_gib": peak_gib}))
        return
    print(machine())
    setups = [arguments.setup] if arguments.setup else SETUPS[: 1 if arguments.smoke else None]
    for setup_name in setups:
        for space in [arguments.space] if arguments.space else list(PlacementSpace):
            given = ["--setup", setup_name, "--space", space]
            given += ["--smoke"] if arguments.smoke else []
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                # A smoke run compiles nothing: that alone takes most of a minute.
                kernels = None if arguments.smoke else folder / "numba"
                compile_s, _, _ = in_own_process(given, folder / "first", kernels)
                in_own_process(given, folder / "compiled", None)
                cold_s, cold_gib, rows = in_own_process(given, folder / "templates", None)
                warm_s, warm_gib, _ = in_own_process(given, folder / "templates", None)
            print(f"\n{setup_name} setup, {space} space")
            print(f"{'model':18} {'multisets':>9} {'prefill':>8} {'decode':>7} {'seconds':>8}")
            for row in rows:
                print(
                    f"{row['model']:18} {row['multisets']:9,} {row['prefill']:8,} "
                    f"{row['decode']:7,} {row['seconds']:8.2f}"
                )
            total = sum(int(str(row["templates"])) for row in rows)
            print(
                f"{total:,} templates; process: compile {compile_s:.2f} s, cold {cold_s:.2f} s and "
                f"{cold_gib:.2f} GiB, warm {warm_s:.2f} s and {warm_gib:.2f} GiB"
            )


if __name__ == "__main__":
    main()
