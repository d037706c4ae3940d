"""Progress of long work on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coral_solver.planning.planner import Progress


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Show which step runs: a spinner on a terminal, one line per step elsewhere.

    Yields
    ------
    Progress
        Takes the name of a step, and the share of it that is done, or None.
    """
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("reading") as status:
            yield lambda step, share: status.update(
                step if share is None else f"{step} {share:.0%}"
            )
        return
    begun: set[str] = set()

    def show_once(step: str, _share: float | None) -> None:
        if step not in begun:
            begun.add(step)
            console.print(f"{step} ...", markup=False)

    yield show_once


def say_on_stderr(label: str, text: str) -> None:
    """Print a line for people; what is in brackets in ``text`` is not taken for colours."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold yellow]{label}[/] {escape(text)}", soft_wrap=True)
