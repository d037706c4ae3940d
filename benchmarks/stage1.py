"""Stage 1 on the paper's setups: templates and time for each model and phase, in both spaces.

    python benchmarks/stage1.py [--setup core] [--space paper]

Each total is a process of its own, imports included: `compile` starts without compiled code and
without templates, `cold` without templates, `warm` from the template cache that `cold` left. The
table has the times of `cold`. Prices play no part in stage 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

SETUPS = ("core", "extended")


def measure(setup_name: str, space: PlacementSpace, cache_dir: Path) -> list[dict[str, object]]:
    """Prepare every model of a setup in this process; one row for each phase."""
    setup = paper_setup(setup_name)
    pools = setup.pools[PriceSheet.TABLE_1]
    library = TemplateLibrary(LibraryOptions(space=space, cache_dir=cache_dir))
    rows: list[dict[str, object]] = []
    for model in setup.models:
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
    setup_name: str, space: PlacementSpace, cache_dir: Path, numba_cache: Path | None
) -> tuple[float, list[dict[str, object]]]:
    """Run ``measure`` in a fresh interpreter; returns the time of the whole process too."""
    environment = dict(os.environ)
    if numba_cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(numba_cache)
    command = [sys.executable, __file__, "--setup", setup_name, "--space", space]
    start_s = time.perf_counter()
    shown = subprocess.run(
        [*command, "--child", str(cache_dir)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return time.perf_counter() - start_s, json.loads(shown.stdout)


def main() -> None:
    """Print the tables, or one measurement as JSON in a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setup", choices=SETUPS)
    parser.add_argument("--space", type=PlacementSpace, choices=list(PlacementSpace))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.setup, arguments.space, arguments.child)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for setup_name in [arguments.setup] if arguments.setup else SETUPS:
        for space in [arguments.space] if arguments.space else list(PlacementSpace):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                compile_s, _ = in_own_process(setup_name, space, folder / "first", folder / "numba")
                in_own_process(setup_name, space, folder / "compiled", None)
                cold_s, rows = in_own_process(setup_name, space, folder / "templates", None)
                warm_s, _ = in_own_process(setup_name, space, folder / "templates", None)
            print(f"\n{setup_name} setup, {space} space")
            print(f"{'model':18} {'multisets':>9} {'prefill':>8} {'decode':>7} {'seconds':>8}")
            for row in rows:
                print(
                    f"{row['model']:18} {row['multisets']:9,} {row['prefill']:8,} "
                    f"{row['decode']:7,} {row['seconds']:8.2f}"
                )
            total = sum(int(str(row["templates"])) for row in rows)
            print(
                f"{total:,} templates; process: compile {compile_s:.2f} s, cold {cold_s:.2f} s, "
                f"warm {warm_s:.2f} s"
            )


if __name__ == "__main__":
    main()
