"""What the tests of the command line share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[3]
SERVICES = ROOT / "examples" / "three-models.yaml"
INVENTORY = ROOT / "examples" / "inventory.csv"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


class Coral(Protocol):
    """Runs ``coral`` with some arguments."""

    def __call__(self, *arguments: str | Path) -> Finished: ...
