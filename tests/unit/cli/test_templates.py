"""``coral templates`` lists the ways to run a model, cheapest request first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
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


def test_a_phase_shows_only_the_latency_that_it_has(
    coral: Coral, template_cache: Path, tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"] = service["spec"]["models"][:1]
    service["spec"]["models"][0]["serving"] = "Disaggregated"
    split = tmp_path / "split.yaml"
    split.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral(
        "templates", "-f", split, "--inventory", INVENTORY, "--cache-dir", template_cache,
        "--top", "1",
    )  # fmt: skip
    prefill, decode = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert ("ms" in prefill[5], prefill[6].strip()) == (True, "-")
    assert (decode[5].strip(), "ms" in decode[6]) == ("-", True)


def test_a_model_that_is_left_out_is_named(
    coral: Coral, template_cache: Path, tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"][0]["gpuTypes"] = {"allow": ["H1OO"]}
    typo = tmp_path / "typo.yaml"
    typo.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral("templates", "-f", typo, "--inventory", INVENTORY, "--cache-dir", template_cache)
    assert "left out default/assistants/phi-4" in done.stderr
    assert "did you mean H100?" in done.stderr
