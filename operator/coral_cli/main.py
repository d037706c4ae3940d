"""The ``coral`` command: one typer application, one module per command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from coral_cli.compare import compare
from coral_cli.crds import crds
from coral_cli.explain import explain
from coral_cli.plan import plan
from coral_cli.predict import predict
from coral_cli.profile import profile_app
from coral_cli.report.command import report
from coral_cli.templates import templates
from coral_cli.whatif import whatif
from coral_solver.domain.errors import CoralError, InvalidInputError

EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="coral",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Decide which GPUs serve which LLM, with which parallelism, in how many replicas, at the "
        "lowest cost that meets every model's demand within its latency targets.\n\n"
        "Reads the same manifests as the operator and runs the same code; no cluster is needed.\n\n"
        "Start with `coral plan -f examples/three-models.yaml --inventory examples/inventory.csv`."
    ),
)
app.command()(plan)
app.command()(explain)
app.command()(whatif)
app.command()(compare)
app.command()(templates)
app.command()(predict)
app.command()(report)
app.command()(crds)
app.add_typer(profile_app, name="profile")


def main() -> None:
    """Run the command line; a fault of the input is a message, not a traceback."""
    try:
        app()
    except CoralError as fault:
        console = Console(stderr=True, highlight=False)
        problems = fault.problems if isinstance(fault, InvalidInputError) else (str(fault),)
        for problem in problems:
            console.print(f"[bold red]error[/] ({fault.reason}): ", end="")
            console.print(problem, markup=False, soft_wrap=True)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
