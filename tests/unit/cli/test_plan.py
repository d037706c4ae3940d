"""``coral plan``: from manifests and an inventory to a plan, for people and programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral


@pytest.fixture
def arguments(template_cache: Path) -> list[str]:
    """What every plan of these tests is given."""
    return [
        "plan", "-f", str(SERVICES), "--inventory", str(INVENTORY),
        "--cache-dir", str(template_cache),
    ]  # fmt: skip


def test_the_table_says_what_runs_where_and_what_it_costs(
    coral: Coral, arguments: list[str]
) -> None:
    done = coral(*arguments)
    assert done.exit_code == 0
    for said in (
        "What runs where",
        "qwen3-32b",
        "baseline homogeneous",
        "bound holds for",
        "USD/h",
    ):
        assert said in done.stdout


def test_json_goes_to_standard_output_and_progress_does_not(
    coral: Coral, arguments: list[str]
) -> None:
    done = coral(*arguments, "-o", "json")
    document = json.loads(done.stdout)
    assert document["status"] == "OPTIMAL"
    assert "stage 2" in done.stderr


def test_yaml_says_the_same_as_json(coral: Coral, arguments: list[str]) -> None:
    as_json = json.loads(coral(*arguments, "-o", "json", "--no-baselines").stdout)
    as_yaml = yaml.safe_load(coral(*arguments, "-o", "yaml", "--no-baselines").stdout)
    timings = ("solve_s", "templates_s")
    assert {k: v for k, v in as_json.items() if k not in timings} == {
        k: v for k, v in as_yaml.items() if k not in timings
    }


def test_every_key_of_the_json_is_documented(coral: Coral, arguments: list[str]) -> None:
    page = (ROOT / "docs" / "reference" / "plan-json.md").read_text(encoding="utf-8")
    document = json.loads(coral(*arguments, "-o", "json").stdout)
    keys = {
        *document,
        *document["instances"][0],
        *document["instances"][0]["engine"],
        *document["models"][0],
        *document["objective"][0],
        *document["baselines"]["homogeneous"],
    }
    assert not sorted(key for key in keys if f"`{key}" not in page)


def test_the_parts_of_the_cost_add_up(coral: Coral, arguments: list[str]) -> None:
    document = json.loads(coral(*arguments, "-o", "json").stdout)
    rent = sum(instance["usd_per_hour"] for instance in document["instances"])
    assert document["rent_usd_per_hour"] == pytest.approx(rent)
    assert document["cost_usd_per_hour"] == pytest.approx(rent + document["switching_usd_per_hour"])


def test_demand_beyond_the_gpus_is_stated_and_sets_the_exit_code(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"][0]["demand"]["requestsPerSecond"] = 10_000
    large = tmp_path / "large.yaml"
    large.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral(*["plan", "-f", str(large), *arguments[3:]], "-o", "json")
    document = json.loads(done.stdout)
    assert done.exit_code == 3
    short = document["unmet_req_per_s"]["default/assistants/phi-4"]
    assert 9_000 < short < 10_000


def test_every_problem_of_the_input_is_named_without_a_traceback(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"][0]["demand"]["requestsPerSecond"] = -1
    service["spec"]["models"][1]["slo"]["tpotMilliseconds"] = 0
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral("plan", "-f", bad, *arguments[3:])
    assert done.exit_code == 2
    assert "requestsPerSecond" in done.stderr
    assert "tpotMilliseconds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_needs_to_know_the_gpus(coral: Coral) -> None:
    done = coral("plan", "-f", SERVICES)
    assert done.exit_code == 2
    assert "--inventory" in done.stderr


def test_a_cluster_dump_is_planned_like_the_cluster(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "gpu-1",
            "labels": {
                "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
                "nvidia.com/gpu.count": "8",
                "topology.kubernetes.io/region": "us-east-2",
                "node.kubernetes.io/instance-type": "p5.48xlarge",
            },
        },
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    cordoned = node | {
        "metadata": node["metadata"] | {"name": "gpu-2"},
        "spec": {"unschedulable": True},
    }
    dump = tmp_path / "cluster.yaml"
    dump.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [node, cordoned]}),
        encoding="utf-8",
    )
    done = coral("plan", "-f", SERVICES, "--cluster", dump, "-o", "json", *arguments[5:])
    document = json.loads(done.stdout)
    assert {name for i in document["instances"] for name in i["nodes"]} == {"gpu-1"}
    assert [node["name"] for node in document["refused_nodes"]] == ["gpu-2"]


def _edited(tmp_path: Path, **fields: object) -> Path:
    """Write the example's services with other fields for the first model."""
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"][0].update(fields)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(service), encoding="utf-8")
    return path


def test_brackets_in_a_message_are_not_taken_for_colours(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    edited = _edited(tmp_path, catalogModel="[/bold]")
    done = coral("plan", "-f", edited, *arguments[3:], "--no-baselines")
    assert done.exit_code == 3
    assert "left out default/assistants/phi-4: model '[/bold]' is not in" in done.stderr


def test_a_narrow_terminal_still_shows_models_and_pools(
    coral: Coral, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coral_cli.render.PIPE_WIDTH", 80)
    done = coral(*arguments)
    lines = done.stdout.splitlines()
    table = lines[: lines.index(next(line for line in lines if line.startswith("Models")))]
    assert all(len(line) <= 80 for line in table)
    assert any(line.strip().startswith("gpt-oss-20b") for line in table)
    # The pool is the last column, folded.
    folded = "".join(line.split(" ")[-1] for line in (row.rstrip() for row in table) if line)
    assert "us-east-2/H100x8-nvlink/on-demand" in folded


def test_pools_that_an_inventory_replaces_are_named(coral: Coral, arguments: list[str]) -> None:
    done = coral(*arguments, "-f", ROOT / "examples" / "gpupools.yaml", "--no-baselines")
    assert done.exit_code == 0
    assert "note GPUPool h100-elastic not used" in done.stderr


def test_objects_of_other_kinds_are_named(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        "\n---\n".join(
            f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{i}}}}}" for i in range(12)
        ),
        encoding="utf-8",
    )
    done = coral(*arguments, "-f", other, "--no-baselines")
    assert done.exit_code == 0
    assert "ConfigMap c0" in done.stderr
    assert "note ignored 2 more" in done.stderr  # 12 objects, 10 of them shown


def test_elastic_pools_alone_are_gpus_enough(coral: Coral, arguments: list[str]) -> None:
    done = coral(
        *arguments[:3], "-f", ROOT / "examples" / "gpupools.yaml", *arguments[5:], "-o", "json"
    )
    assert done.exit_code == 0
    (opened,) = json.loads(done.stdout)["opened_nodes"].items()
    assert opened == ("us-east-2/H100x8-nvlink/on-demand", 1)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"- a\n", b"a: [\n", b"clusters: 3\n", b""])
def test_a_file_that_is_no_kubeconfig_is_a_message(
    coral: Coral, tmp_path: Path, content: bytes
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_bytes(content)
    done = coral("plan", "-f", SERVICES, "--kubeconfig", kubeconfig)
    assert done.exit_code == 2
    assert "is not a kubeconfig" in done.stderr


def test_a_context_without_a_kubeconfig_is_refused(coral: Coral, arguments: list[str]) -> None:
    done = coral(*arguments, "--context", "prod")
    assert done.exit_code == 2
    assert "give --kubeconfig too" in done.stderr


PROFILE = ROOT / "examples" / "performance-profile.yaml"


def test_a_margin_is_shown_with_what_it_costs(coral: Coral, arguments: list[str]) -> None:
    asked = (*arguments, "--no-baselines", "--robustness", "1")
    document = json.loads(coral(*asked, "-o", "json").stdout)
    plain = json.loads(coral(*arguments, "--no-baselines", "-o", "json").stdout)
    assert (document["robustness"], plain["robustness"]) == (1.0, 0.0)
    assert plain["without_margin"] is None
    without = document["without_margin"]["cost_usd_per_hour"]
    assert without == pytest.approx(plain["cost_usd_per_hour"])
    extra = document["cost_usd_per_hour"] - without
    assert extra >= 0
    shown = coral(*asked).stdout
    assert f"1 of the error bars: {extra:+.2f} USD/h; without it {without:.2f} USD/h" in shown


def test_measured_points_among_the_files_correct_the_plan(
    coral: Coral, arguments: list[str]
) -> None:
    done = coral(*arguments, "-f", str(PROFILE), "--no-baselines", "-o", "json")
    document = json.loads(done.stdout)
    rests_on = {
        i["model"].rsplit("/")[-1]: "measured points of this model" in i["prediction_source"]
        for i in document["instances"]
    }
    assert rests_on == {"gpt-oss-20b": False, "phi-4": False, "qwen3-32b": True}
    assert all(i["error_share"] > 0 for i in document["instances"])


def test_points_of_no_model_in_the_files_are_noted(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    text = PROFILE.read_text(encoding="utf-8").replace("Qwen/Qwen3-32B", "openai/gpt-oss-120b")
    other.write_text(text, encoding="utf-8")
    done = coral(*arguments, "-f", str(other), "--no-baselines")
    assert done.exit_code == 0
    assert "no model of a service: gpt-oss-120b (mxfp4) on H100, TP 2, PP 1" in " ".join(
        done.stderr.split()
    )


def test_profiles_that_contradict_each_other_are_refused(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    text = PROFILE.read_text(encoding="utf-8").replace("name: qwen3", "name: again-qwen3")
    other.write_text(text.replace("46.02", "92.04"), encoding="utf-8")
    done = coral(*arguments, "-f", str(PROFILE), "-f", str(other))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "PerformanceProfile again-qwen3-32b-h100-tp2" in done.stderr
    assert "tpot_s is 0.04602" in done.stderr
