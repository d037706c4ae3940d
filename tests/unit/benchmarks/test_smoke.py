"""Every benchmark runs at a tiny size, and the page of their tables can be renewed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from benchmarks import publish

ROOT = Path(__file__).parents[3]
NO_SMOKE = {
    "instances": "prints what is in the instances; test_instances.py",
    "reaction": "needs the local control plane; part of `make bench` only",
    "publish": "runs the others",
}
SCRIPTS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if "\nif __name__ ==" in path.read_text(encoding="utf-8")
}


def test_every_benchmark_has_a_tiny_size():
    assert {name for name, text in SCRIPTS.items() if '"--smoke"' not in text} <= set(NO_SMOKE)


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - NO_SMOKE.keys()))
def test_a_benchmark_prints_its_table_at_a_tiny_size(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", [name, "--smoke"])
    importlib.import_module(f"benchmarks.{name}").main()
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) >= 3
    assert re.search(r"\d", shown)


def test_every_table_of_the_pages_names_a_command_that_exists():
    pages = publish.pages()
    assert ROOT / "docs" / "benchmarks.md" in pages
    for page in pages:
        for block in publish.BLOCK.finditer(page.read_text(encoding="utf-8")):
            found = re.match(r"python -m benchmarks\.(\w+)", block["command"])
            assert found, block["command"]
            assert found[1] in SCRIPTS, block["command"]
    assert "benchmarks.publish" in (ROOT / "Makefile").read_text(encoding="utf-8")


PAGE = """Words before.
<!-- made by: python -c "print('| a |'); print('|---|')" -->
old
<!-- end -->
Between.
<!-- made by: python -c "print(6 * 7)" -->
<!-- end -->
"""


def test_a_page_is_renewed_block_by_block(capsys):
    page = publish.renewed(PAGE)
    assert "old" not in page
    assert "\n| a |\n|---|\n\n<!-- end -->" in page
    assert "\n```\n42\n```\n\n<!-- end -->" in page
    assert page.startswith("Words before.")
    assert publish.renewed(page) == page
    assert "6 * 7" in capsys.readouterr().err


def test_only_some_tables_are_renewed_and_a_failure_changes_nothing():
    assert "old" in publish.renewed(PAGE, only="6 * 7")
    broken = PAGE.replace("6 * 7", "1 / 0")
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        publish.renewed(broken)
