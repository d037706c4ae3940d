"""The first thing that a new user asks for: help, at once, and examples that are commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer
from tests.unit.cli.support import ROOT

from coral_cli import options
from coral_cli.main import app
from coral_solver.templates import placements

if TYPE_CHECKING:
    from tests.unit.cli.support import Coral

COMMANDS = typer.main.get_command(app)


def subcommands(command: Any) -> dict[str, Any]:
    """Return the commands below one by name; none below one that does something."""
    return getattr(command, "commands", {})


def leaves(command: Any, *path: str) -> list[tuple[str, ...]]:
    """Return the words of every command that does something."""
    below = subcommands(command)
    return [leaf for name in below for leaf in leaves(below[name], *path, name)] or [path]


def command_of(path: tuple[str, ...]) -> Any:
    command = COMMANDS
    for name in path:
        command = subcommands(command)[name]
    return command


def test_help_waits_for_no_solver() -> None:
    heavy = "coral_api", "kubernetes", "matplotlib", "numba", "numpy", "ortools", "pydantic"
    done = subprocess.run(
        [
            sys.executable, "-c",
            f"import coral_cli.main, sys; print([m for m in {heavy} if m in sys.modules])",
        ],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [(), *leaves(COMMANDS)], ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(
    coral: Coral, path: tuple[str, ...]
) -> None:
    done = coral(*path, "--help")
    assert done.exit_code == 0
    silent = [p.name for p in command_of(path).params if not getattr(p, "help", None)]
    assert not silent


@pytest.mark.parametrize("path", leaves(COMMANDS), ids=" ".join)
def test_every_example_of_a_help_text_is_a_command_that_can_be_read(path: tuple[str, ...]) -> None:
    text = (command_of(path).help or "").replace(
        "$F", "-f examples/three-models.yaml --inventory examples/inventory.csv"
    )
    examples = [
        part.strip()
        for quoted in re.findall(r"`([^`]*coral [^`]*)`", text)
        for part in re.split(r"[|;]", quoted.replace("\n", " "))
        if part.strip().startswith("coral ")
    ]
    assert examples
    for example in examples:
        words = shlex.split(example.split(" > ")[0])[1:]
        command = COMMANDS
        while subcommands(command):
            command = subcommands(command)[words.pop(0)]
        words = [word for word in words if word != "..."]
        assert command.make_context("example", words).params


def test_the_most_nodes_of_the_options_are_those_of_the_solver() -> None:
    assert options.MOST_NODES == placements.MOST_NODES  # written twice: help must not load it
