"""Files that cannot be what they should be: ``coral`` says why, without a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral, Finished

WRONG_INPUT = 2
SOMETHING_UNSERVED = 3


def service(**changes: Any) -> str:
    """Return the example's service with the first model's fields changed."""
    manifest = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    for path, value in changes.items():
        place = manifest["spec"]["models"][0]
        *parents, last = path.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return yaml.safe_dump(manifest)


def inventory(row: str) -> str:
    return INVENTORY.read_text(encoding="utf-8") + row + "\n"


def refused(done: Finished) -> str:
    """Return what was said, after checking how."""
    assert done.exit_code == WRONG_INPUT
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"demand__requestsPerSecond": float("nan")}, "requestsPerSecond"),
        ({"demand__requestsPerSecond": float("inf")}, "requestsPerSecond"),
        ({"demand__requestsPerSecond": 1e300}, "requestsPerSecond"),
        ({"demand__requestsPerSecond": "many"}, "requestsPerSecond"),
        ({"slo__tpotMilliseconds": float("nan")}, "tpotMilliseconds"),
        ({"slo__tpotMilliseconds": -5}, "tpotMilliseconds"),
        ({"slo__ttftMilliseconds": 10**12}, "ttftMilliseconds"),
        ({"slo": None}, "slo"),
        ({"workload__inputTokens": {"mean": float("nan")}}, "inputTokens"),
        ({"workload__inputTokens": {"mean": -1}}, "inputTokens"),
        ({"name": "qwen3-32b"}, "qwen3-32b"),  # a name that another model has
    ],
    ids=str,
)
def test_a_service_that_cannot_mean_anything_is_refused(
    coral: Coral, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(service(**changes), encoding="utf-8")
    assert says in refused(coral("plan", "-f", bad, "--inventory", INVENTORY))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": {"huggingFace": "microsoft/phi-44"}}, "did you mean microsoft/phi-4?"),
        ({"gpuTypes": {"allow": ["L5"]}}, "did you mean L4?"),
    ],
)
def test_a_model_with_an_unknown_name_is_left_out_and_the_others_are_planned(
    coral: Coral, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(service(**changes), encoding="utf-8")
    done = coral("plan", "-f", bad, "--inventory", INVENTORY, "--no-baselines")
    assert done.exit_code == SOMETHING_UNSERVED
    assert says in done.stderr
    assert "qwen3-32b" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no MultiLLMService"),
        (b"spec: [", "bad.yaml"),
        (b"just words", "bad.yaml"),
        (b"\x00\x01\xff\xfe" * 50, "bad.yaml"),
        (b"kind: MultiLLMService\n", "apiVersion"),
        (SERVICES.read_bytes()[: SERVICES.stat().st_size // 2], "bad.yaml"),
        (b"a: &a [*a]\n", "bad.yaml"),
    ],
    ids=["empty", "open bracket", "words", "binary", "no version", "cut in half", "itself"],
)
def test_a_file_that_is_no_manifest_is_refused(
    coral: Coral, tmp_path: Path, content: bytes, says: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(content)
    assert says in refused(coral("plan", "-f", bad, "--inventory", INVENTORY))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (inventory("L4,4,nan,us-east-2,on-demand"), "nodes"),
        (inventory("L4,4,-3,us-east-2,spot"), "nodes"),
        (inventory("L4,4,1e99,us-east-2,spot"), "nodes"),
        (inventory("L4,0,1,us-east-2,spot"), "gpus_per_node"),
        (inventory("L5,4,1,us-east-2,spot"), "L5"),
        (inventory("L4,4,1,us-east-2,rented"), "kind"),
        (inventory("L4,4,1,nowhere-9,on-demand"), "nowhere-9"),
        (inventory("L4,4"), "nodes"),
        ("", "inventory.csv"),
        ("a,b\n1,2\n", "gpu"),
        ("gpu,gpus_per_node,nodes,region,kind,node_usd_per_hour\nL4,4,1,x,spot,nan\n", "usd"),
        ("gpu,gpus_per_node,nodes,region,kind,node_usd_per_hour\nL4,4,1,x,spot,-1\n", "usd"),
        ("gpu,gpus_per_node,nodes,region,kind,node_usd_per_hour\nL4,4,1,x,spot,1e9\n", "usd"),
    ],
)
def test_an_inventory_that_cannot_be_is_refused(
    coral: Coral, tmp_path: Path, content: str, says: str
) -> None:
    bad = tmp_path / "inventory.csv"
    bad.write_text(content, encoding="utf-8")
    assert says in refused(coral("plan", "-f", SERVICES, "--inventory", bad))


def test_files_that_are_not_there_are_named(coral: Coral, tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    assert "absent.yaml" in refused(coral("plan", "-f", absent, "--inventory", INVENTORY))
    assert "absent.yaml" in refused(coral("plan", "-f", SERVICES, "--inventory", absent))
    assert refused(coral("plan", "-f", tmp_path, "--inventory", tmp_path))


def test_a_cache_that_cannot_be_written_or_read_does_not_stop_a_plan(
    coral: Coral, tmp_path: Path, template_cache: Path
) -> None:
    arguments = ["plan", "-f", SERVICES, "--inventory", INVENTORY, "--no-baselines", "-o", "json"]
    taken = tmp_path / "taken"
    taken.write_text("not a folder", encoding="utf-8")
    assert coral(*arguments, "--cache-dir", taken).exit_code == 0
    assert coral(*arguments, "--cache-dir", taken / "below").exit_code == 0
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    coral(*arguments, "--cache-dir", template_cache)
    for path in template_cache.rglob("*.templates"):
        (damaged / path.name).write_bytes(path.read_bytes()[:100])
    assert list(damaged.iterdir())
    done = coral(*arguments, "--cache-dir", damaged)
    assert done.exit_code == 0
    assert '"OPTIMAL"' in done.stdout


def test_a_cache_whose_files_are_folders_does_not_stop_a_plan(
    coral: Coral, tmp_path: Path, template_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody can write these, whatever the rights: the tests may run as root.
    arguments = ["plan", "-f", SERVICES, "--inventory", INVENTORY, "--no-baselines", "-o", "json"]
    coral(*arguments, "--cache-dir", template_cache)
    names = {path.name for path in template_cache.rglob("*.templates")}
    assert names
    for name in names:
        (tmp_path / name).mkdir()
    caplog.clear()
    done = coral(*arguments, "--cache-dir", tmp_path)
    assert done.exit_code == 0
    assert '"OPTIMAL"' in done.stdout
    assert "cannot be read and is ignored" in caplog.text
    assert "cannot be written" in caplog.text
    assert {path.name for path in tmp_path.iterdir()} == names  # no half-written file is left


@pytest.mark.parametrize("limit", ["0", "-1", "0.001", "nan", "soon", ""])
def test_a_limit_that_leaves_no_time_is_refused(coral: Coral, limit: str) -> None:
    done = coral("plan", "-f", SERVICES, "--inventory", INVENTORY, "--time-limit", limit)
    assert "limit" in refused(done)


def test_no_limit_is_a_limit_too(coral: Coral, template_cache: Path) -> None:
    done = coral(
        "plan", "-f", SERVICES, "--inventory", INVENTORY, "--no-baselines", "-o", "json",
        "--cache-dir", template_cache, "--time-limit", "inf",
    )  # fmt: skip
    assert done.exit_code in (0, WRONG_INPUT)
    assert '"ERROR"' not in done.stdout
