"""Files of manifests become typed objects, or a list of problems with their places."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from coral_api.files import STDIN, load_manifests
from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

POOL = """\
apiVersion: serving.coral.dev/v1alpha1
kind: GPUPool
metadata: {name: NAME}
spec:
  nodeSelector: {matchLabels: {pool: l4}}
"""
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p1", "namespace": "a"}}


def _problems(*paths: Path) -> list[str]:
    with pytest.raises(InvalidInputError) as raised:
        load_manifests(paths)
    return list(raised.value.problems)


def test_several_documents_of_several_files_are_sorted_by_name(
    tmp_path: Path, service_manifest: dict[str, Any]
) -> None:
    first, second = tmp_path / "pools.yaml", tmp_path / "service.json"
    first.write_text(POOL.replace("NAME", "b") + "---\n" + POOL.replace("NAME", "a") + "---\n")
    second.write_text(json.dumps(service_manifest))
    read = load_manifests([first, second])
    assert [pool.metadata.name for pool in read.pools] == ["a", "b"]
    assert [service.metadata.name for service in read.services] == ["chat"]
    assert read.policy is None


def test_a_directory_is_read_without_its_folders(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(POOL.replace("NAME", "one"))
    (tmp_path / "two.yml").write_text(POOL.replace("NAME", "two"))
    (tmp_path / "readme.md").write_text("not a manifest")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "three.yaml").write_text(POOL.replace("NAME", "three"))
    assert [pool.metadata.name for pool in load_manifests([tmp_path]).pools] == ["one", "two"]


def test_the_standard_input_is_read_for_a_dash() -> None:
    read = load_manifests([STDIN], stdin=io.StringIO(POOL.replace("NAME", "l4")))
    assert [pool.metadata.name for pool in read.pools] == ["l4"]


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_a_list_as_kubectl_prints_it_gives_its_items(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "cluster"
    pool = yaml.safe_load(POOL.replace("NAME", "l4"))
    path.write_text(write({"apiVersion": "v1", "kind": "List", "items": [NODE, POD, pool]}))
    read = load_manifests([path])
    assert read.nodes == (NODE,)
    assert read.pods == (POD,)
    assert len(read.pools) == 1


def test_the_items_of_a_node_list_need_no_kind(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    item = {"metadata": {"name": "n1"}}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "NodeList", "items": [item]}))
    assert [node["metadata"]["name"] for node in load_manifests([path]).nodes] == ["n1"]


def test_pods_with_one_name_in_two_namespaces_are_two(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    other = {**POD, "metadata": {"name": "p1", "namespace": "b"}}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [POD, other]}))
    assert len(load_manifests([path]).pods) == 2


def test_objects_of_other_kinds_are_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(
        POOL.replace("NAME", "l4") + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: hub}\n"
    )
    assert load_manifests([path]).ignored == (f"{path}:7: Secret hub",)


def test_every_problem_of_every_file_is_reported_with_its_line(tmp_path: Path) -> None:
    bad, worse = tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    bad.write_text(POOL.replace("NAME", "l4") + "  siteFactor: 0\n  gpuTyp: L4\n")
    worse.write_text("kind: [\n")
    found = _problems(bad, worse, tmp_path / "missing.yaml")
    # The pool has five lines; siteFactor stands on the sixth, gpuTyp on the seventh.
    assert found[0] == (
        f"{bad}:6: spec.siteFactor: input should be greater than or equal to 0.05, not 0"
    )
    assert found[1] == f"{bad}:7: spec.gpuTyp: unknown field; did you mean gpuType?"
    assert found[2].startswith(f"{worse}:2: not YAML: ")
    assert found[3] == f"{tmp_path / 'missing.yaml'}: there is no such file"
    assert len(found) == 4


def test_a_missing_field_has_the_line_of_the_part_that_lacks_it(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(
        POOL.replace("NAME", "l4").replace("  nodeSelector", "  # nodeSelector") + "  {}"
    )
    assert _problems(path) == [f"{path}:6: spec.nodeSelector: this field is missing"]


def test_a_problem_inside_a_list_has_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- apiVersion: serving.coral.dev/v1alpha1\n  kind: GPUPool\n  metadata: {name: a}\n"
        "  spec:\n    nodeSelector: {matchLabels: {a: b}}\n    siteFactor: 9\n"
    )
    assert _problems(path) == [
        f"{path}:9: spec.siteFactor: input should be less than or equal to 2, not 9"
    ]


def test_not_a_number_in_a_file_is_refused(
    tmp_path: Path, service_manifest: dict[str, Any]
) -> None:
    service_manifest["spec"]["models"][0]["demand"]["requestsPerSecond"] = float("nan")
    as_json, as_yaml = tmp_path / "nan.json", tmp_path / "nan.yaml"
    as_json.write_text(json.dumps(service_manifest))
    as_yaml.write_text(yaml.safe_dump(service_manifest))
    for path in (as_json, as_yaml):
        (problem,) = _problems(path)
        assert "requestsPerSecond: input should be a finite number" in problem


def test_an_object_that_is_given_twice_is_refused_and_both_places_named(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(POOL.replace("NAME", "l4") + "---\n" + POOL.replace("NAME", "l4"))
    assert _problems(path) == [f"{path}:7: GPUPool l4 is given twice, first at {path}:1"]


def test_an_object_that_is_given_twice_in_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [POD, POD]}))
    assert _problems(path) == [f"{path}: Pod a/p1 is given twice, first at {path}"]


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(POOL.replace("NAME", "l4") + "  gpuType: L4\n  gpuType: T4\n")
    assert _problems(path) == [f"{path}:7: gpuType: this key is given twice"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "apiVersion: serving.coral.dev/v1alpha1\nkind: MultiLMService\n",
            ":2: unknown kind 'MultiLMService'; did you mean MultiLLMService?",
        ),
        (
            "apiVersion: serving.coral.dev/v1alpha1\nkind: Widget\n",
            ":2: unknown kind 'Widget'; known: GPUPool, MultiLLMService,",
        ),
        (
            "kind: GPUPool\napiVersion: serving.coral.dev/v1\n",
            ":2: apiVersion of a GPUPool must be serving.coral.dev/v1alpha1,",
        ),
        ("kind: GPUPool\n", ":1: apiVersion of a GPUPool must be serving.coral.dev/v1alpha1,"),
        ("- a\n- b\n", ":1: this is no Kubernetes object: no kind"),
        ("name: x\n", ":1: this is no Kubernetes object: no kind"),
    ],
)
def test_what_is_no_manifest_of_ours_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    (problem,) = _problems(path)
    assert problem.startswith(f"{path}{says}")


def test_a_directory_without_manifests_is_a_problem(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path)
    assert problem == f"{tmp_path}: the directory has no .yaml, .yml, .json file"


def test_a_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert _problems(path) == [f"{path}: the file is not UTF-8 text"]


def test_yaml_in_flow_style_is_not_taken_for_json(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("{apiVersion: v1, kind: Node, metadata: {name: n1}}\n")
    assert len(load_manifests([path]).nodes) == 1


SERVICE_HEAD = "apiVersion: serving.coral.dev/v1alpha1\nkind: MultiLLMService\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("inside-itself.yaml", SERVICE_HEAD + "a: &a [*a]\n", "a: unknown field"),
        # Read as a tree, the last mapping would have 2^60 leaves.
        (
            "doubling.yaml",
            SERVICE_HEAD
            + "a:\n - &n0 {x: 1}\n"
            + "".join(f" - &n{i} {{x: *n{i - 1}, y: *n{i - 1}}}\n" for i in range(1, 60)),
            "a: unknown field",
        ),
        ("deep.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_a_file_made_to_exhaust_its_reader_is_refused(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert any(says in problem for problem in _problems(path))


def test_a_key_given_twice_behind_an_anchor_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(SERVICE_HEAD + "a: &a {x: 1, x: 2}\nb: *a\n")
    twice = [problem for problem in _problems(path) if "given twice" in problem]
    assert twice == [f"{path}:3: x: this key is given twice"]


def test_a_standard_input_that_is_not_text_is_a_problem() -> None:
    broken = io.StringIO(b"kind: \xff".decode(errors="surrogateescape"))
    with pytest.raises(InvalidInputError, match="<stdin>: the input is not UTF-8 text"):
        load_manifests([STDIN], stdin=broken)


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (NODE | {"spec": {"taints": "x"}}, "spec.taints of a Node"),
        (NODE | {"status": {"conditions": [None]}}, "status.conditions of a Node"),
        (POD | {"spec": {"containers": [None]}}, "spec.containers of a Pod"),
        (POD | {"spec": {"initContainers": {"a": 1}}}, "spec.initContainers of a Pod"),
    ],
)
def test_a_node_or_a_pod_that_no_cluster_has_is_a_problem(
    tmp_path: Path, manifest: dict[str, Any], field: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(manifest))
    (problem,) = _problems(path)
    assert problem.endswith(f"{field} must be a list of mappings")
