"""Makes a report: collects what is in it, and writes the page and the pictures."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import typer

from coral_api.files import SUFFIXES
from coral_cli.render import short_names
from coral_cli.report.content import InputFile, Provenance, ReportContent
from coral_cli.report.page import render_page, render_pictures
from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import with_measurements
from coral_solver.domain.template import PlacementSpace
from coral_solver.report.figures import report_figures
from coral_solver.report.frontier import template_frontiers
from coral_solver.templates.library import LibraryOptions, TemplateLibrary, most_listed_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coral_cli.inputs import ReadProblem
    from coral_solver.planning.planner import PlanningOptions, Progress

PACKAGES = ("coral-serving", "ortools", "numba", "numpy", "matplotlib")


def report_content(
    read: ReadProblem,
    document: dict[str, Any],
    options: PlanningOptions,
    given: Sequence[Path],
    step: Progress,
    *,
    is_planned_here: bool,
) -> ReportContent:
    """Collect everything that a report is made from.

    Parameters
    ----------
    read
        What was planned, and what was left out.
    document
        The plan, as ``plan_document`` gives it.
    options
        How it was planned; which templates are drawn beside it.
    given
        Files and folders that were named.
    step
        Is told how far the templates are.
    is_planned_here
        Whether the plan was made for this report, so that the limits of its solve are known.
    """
    most_nodes = min(options.max_nodes, most_listed_nodes(options.space))
    library = TemplateLibrary(
        LibraryOptions(
            space=options.space,
            max_nodes=most_nodes,
            rho=options.rho,
            cache_dir=options.cache_dir,
        )
    )
    notes = list(read.notes)
    if most_nodes < options.max_nodes:
        notes.append(
            f"templates of more than {most_nodes} node configurations are not among those drawn: "
            f"the {options.space} space has too many to list"
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
        notes=notes,
        left_out=read.faulty_models,
    )


def _digests(paths: Sequence[Path]) -> list[InputFile]:
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


def write_report(content: ReportContent, output: Path | None, png: Path | None) -> None:
    """Write the page, the pictures or both, and print the paths that were written.

    Raises
    ------
    InvalidInputError
        If a file cannot be written.
    """
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
