"""Template caches that were damaged, or cannot be: the plan is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.planning.small_problem import GOOD, OPTIONS, checked

from coral_solver.planning.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def damage_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_foreign(path: Path) -> None:
    path.write_bytes(b"\x7fELF" + bytes(1000))


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damage_leftover(path: Path) -> None:
    """As a process leaves it that is killed half way through a write."""
    path.rename(path.with_suffix(".part"))


@pytest.mark.parametrize(
    "damage", [damage_half, damage_empty, damage_foreign, damage_folder, damage_leftover]
)
def test_a_damaged_cache_gives_the_same_plan(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    cached = replace(OPTIONS, cache_dir=tmp_path)
    before = Planner(cached).plan(GOOD).plan
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        damage(path)
    after = Planner(cached).plan(GOOD).plan
    assert replace(after, solve_s=0.0) == replace(before, solve_s=0.0)


def test_a_cache_folder_that_is_a_file_is_no_fault(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("not a folder", encoding="utf-8")
    plan = checked(Planner(replace(OPTIONS, cache_dir=taken)), GOOD)
    assert plan.outcomes[0].reason == "Served"
    assert taken.read_text(encoding="utf-8") == "not a folder"
