"""``coral templates`` lists the ways to run a model, cheapest request first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.cli.support import INVENTORY, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


def test_the_list_is_sorted_by_the_price_of_a_request(coral: Coral, template_cache: Path) -> None:
    done = coral(
        "templates", "-f", SERVICES, "--inventory", INVENTORY, "--cache-dir", template_cache,
        "--model", "phi-4", "--top", "3",
    )  # fmt: skip
    assert done.exit_code == 0
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    prices = [float(row[4]) for row in rows]
    assert len(prices) == 3
    assert prices == sorted(prices)


def test_an_unknown_model_is_named_with_those_there_are(coral: Coral) -> None:
    done = coral("templates", "-f", SERVICES, "--inventory", INVENTORY, "--model", "phi-5")
    assert done.exit_code == 2
    assert "'phi-5'" in done.stderr
    assert "default/assistants/phi-4" in done.stderr
