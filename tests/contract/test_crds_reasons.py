"""Every reason that the code reports is a documented one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from coral_api.conditions import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in ("solver/coral_solver", "operator/coral_api", "operator/coral_operator")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "conditions.py"
)

NEVER_REPORTED = {"UnknownInventory", "UnknownSetup", "UnknownWorkload"}
"""Of inputs that only the command line and the benchmarks read."""


def _texts(node: ast.expr | None) -> Iterator[str]:
    """Texts that an expression may be: a constant, or either side of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _reasons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason":
            yield from _texts(node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == "reason":
                    yield from _texts(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "NodeRefusedError":
            yield from _texts(node.args[0] if node.args else None)


def _used(tree: ast.AST) -> Iterator[str]:
    """Members that are named, and texts that could be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "Reason":
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_documented_reason_is_one_that_the_code_reports() -> None:
    used = {text for path in SOURCES for text in _used(ast.parse(path.read_text(encoding="utf-8")))}
    assert [reason for reason in Reason if not used & {reason.name, reason.value}] == []


def test_every_reason_in_the_code_is_documented() -> None:
    found = {
        (text, str(path.relative_to(ROOT)))
        for path in SOURCES
        for text in _reasons(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert {text for text, _ in found} >= {"Cordoned", "UnknownModel", "Served"}
    unknown = {(text, path) for text, path in found if text not in set(Reason)}
    assert {(text, path) for text, path in unknown if text not in NEVER_REPORTED} == set()
