"""``coral report``: a plan as one page for people, or as pictures."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coral_api.files import SUFFIXES
from coral_cli.inputs import CLUSTER, CONTEXT, FILES, INVENTORY, KUBECONFIG, read_problem
from coral_cli.plan import EXIT_NOT_ALL_SERVED
from coral_cli.progress import progress_on_stderr, say_on_stderr
from coral_cli.render import short_names
from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import with_measurements
from coral_solver.domain.template import PlacementSpace
from coral_solver.planning.planner import Planner, PlanningOptions
from coral_solver.report.document import plan_document
from coral_solver.templates.cache import default_cache_dir
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_cli.inputs import ReadProblem
    from coral_cli.report.content import ReportContent
    from coral_solver.planning.planner import Progress

PACKAGES = ("coral-serving", "ortools", "numba", "numpy", "matplotlib")


def report(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Report on this plan for the same files, as `coral plan -o json` wrote it, "
            "instead of making one.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page to write (.html); report.html without --png."
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Folder to write every plot to as a PNG file.", show_default=False),
    ] = None,
    space: Annotated[
        PlacementSpace,
        typer.Option(help="Placements to search: what vLLM runs, or the paper's."),
    ] = PlacementSpace.VLLM,
    max_nodes: Annotated[
        int, typer.Option(help="Most node configurations of one instance.", min=1, max=6)
    ] = 6,
    time_limit_s: Annotated[
        float, typer.Option("--time-limit", help="Limit of the allocation in seconds.", min=0.1)
    ] = 30.0,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where templates are kept between runs.")
    ] = None,
) -> None:
    """Write a plan as one HTML page that needs nothing else: open it, print it, send it.

    `coral report -f examples/three-models.yaml --inventory examples/inventory.csv -o report.html`

    `coral report -f services.yaml --inventory gpus.csv --plan plan.json --png pictures`

    Exits with 3 where some demand is not served: the report is written all the same.
    """
    if output is None and png is None:
        output = Path("report.html")
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise InvalidInputError(
            [f"{output}: a report is a page, so name it .html; --png FOLDER writes pictures"]
        )
    options = PlanningOptions(
        space=space,
        max_nodes=max_nodes,
        time_limit_s=time_limit_s,
        cache_dir=cache_dir or default_cache_dir(),
    )
    with progress_on_stderr() as step:
        read = read_problem(
            files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
        )
        if plan is None:
            result = Planner(options).plan(read.problem, progress=step)
            document = plan_document(read.problem, result)
        else:
            # Imported here, as all that only a report needs.
            from coral_cli.report.plan_file import read_plan_document

            document = read_plan_document(plan, read.problem)
        given = [path for path in (*files, cluster, inventory, plan) if path is not None]
        content = _content(read, document, options, given, step, is_planned_here=plan is None)
        step("report", None)
        _write(content, output, png)
    for note in read.notes:
        say_on_stderr("note", note)
    for fault in read.faulty_models:
        say_on_stderr("left out", fault)
    if read.faulty_models or any(unmet > 0 for unmet in document["unmet_req_per_s"].values()):
        raise typer.Exit(EXIT_NOT_ALL_SERVED)


def _content(
    read: ReadProblem,
    document: dict[str, Any],
    options: PlanningOptions,
    given: Sequence[Path],
    step: Progress,
    *,
    is_planned_here: bool,
) -> ReportContent:
    from coral_cli.report.content import Provenance, ReportContent
    from coral_solver.report.figures import report_figures
    from coral_solver.report.frontier import template_frontiers

    library = TemplateLibrary(
        LibraryOptions(
            space=options.space,
            max_nodes=options.max_nodes,
            rho=options.rho,
            cache_dir=options.cache_dir,
        )
    )
    problem = with_measurements(read.problem)
    library.prepare(problem, lambda done, total: step("stage 1: templates", done / total))
    used = {
        "placement space": str(options.space),
        "most node configurations of an instance": str(options.max_nodes),
        "most memory over the weights (rho)": f"{options.rho:g}",
    }
    if is_planned_here:
        used |= {
            "time limit of the allocation": f"{options.time_limit_s:g} s",
            "relative gap": f"{options.relative_gap:g}",
        }
    return ReportContent(
        problem=read.problem,
        document=document,
        figures=report_figures(read.problem, document),
        frontiers=template_frontiers(
            problem,
            library,
            document,
            whole_nodes_only=options.space is PlacementSpace.PAPER,
        ),
        names=short_names([model.id for model in read.problem.models]),
        provenance=Provenance(
            made_at=WallClock().now(),
            versions={"Python": platform.python_version()}
            | {package: version(package) for package in PACKAGES},
            command=shlex.join(["coral", *sys.argv[1:]]),
            options=used,
            files=_digests(given),
        ),
        refused=[
            {"name": node.name, "reason": node.reason, "message": node.message}
            for node in read.refused
        ],
        notes=read.notes,
        left_out=read.faulty_models,
    )


def _digests(paths: Sequence[Path]) -> list[Any]:
    from coral_cli.report.content import InputFile

    return [
        InputFile(name=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in _files_of(paths)
    ]


def _files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files that were read: of a folder its manifests, and not standard input."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        elif path.is_file():
            found.append(path)
    return found


def _write(content: ReportContent, output: Path | None, png: Path | None) -> None:
    from coral_cli.report.page import render_page, render_pictures

    written: dict[Path, bytes] = {}
    if output is not None:
        written[output] = render_page(content).encode()
    if png is not None:
        written |= {
            png / f"{name}.png": picture for name, picture in render_pictures(content).items()
        }
    try:
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)
        for path, data in written.items():
            path.write_bytes(data)
    except OSError as fault:
        raise InvalidInputError([f"{fault.filename}: cannot be written: {fault.strerror}"]) from (
            fault
        )
    for path in written:
        typer.echo(path)
