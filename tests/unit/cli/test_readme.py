"""What the README shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral

BLOCKS = re.findall(
    r"<!-- (\w+) -->\n```console\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_readme_shows_what_the_command_prints(
    coral: Coral, template_cache: Path, name: str, block: str
) -> None:
    lines = block.splitlines()
    prompts = [line for line in lines if line.startswith("$ coral ")]
    assert len(prompts) == 1
    words = shlex.split(prompts[0].removeprefix("$ coral ").replace("$F", ""))
    assert words[0] == name
    printed = coral(
        *words, "-f", SERVICES, "--inventory", INVENTORY, "--cache-dir", template_cache
    ).stdout.splitlines()
    rest = iter([line.rstrip() for line in printed])
    shown = [line for line in lines if not line.startswith("$ ") and line not in ("...", "")]
    assert shown
    for line in shown:
        assert line in rest, f"not printed, or not in this order: {line}"


def test_the_readme_shows_three_commands() -> None:
    assert [name for name, _ in BLOCKS] == ["plan", "explain", "whatif"]
