"""Progress of long work on standard error, so that standard output stays clean for pipes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def progress_on_stderr() -> Iterator[Callable[[str], None]]:
    """Show which step runs: a spinner on a terminal, a line per step elsewhere.

    Yields
    ------
    Callable
        Takes the name of the step that begins.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda step: console.print(f"{step} ...", markup=False)
        return
    with console.status("reading") as status:
        yield status.update
