"""CRDs, models, examples and pages agree with each other."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft4Validator

from coral_api.conditions import ConditionType, Reason
from coral_api.crds import RESOURCES, crd_documents, crd_yaml, open_api_schema, write_crds
from coral_api.engine import PLANNED_FLAGS, PLANNED_VARIABLES, EnvironmentVariable
from coral_api.files import load_manifests
from coral_api.generate import differences, generated_files, main
from coral_api.multillmservice import ModelSpec
from coral_operator.children.user_engine import engine_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coral_api.base import KubernetesResource

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
CASES = yaml.safe_load(
    (ROOT / "tests/unit/api/data/bad_manifests.yaml").read_text(encoding="utf-8")
)
BY_KIND = {resource.crd.kind: resource for resource in RESOURCES}

Schema = dict[str, Any]

ALLOWED = {
    "additionalProperties", "anyOf", "default", "description", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum",
    "minItems", "minLength", "minProperties", "minimum", "pattern", "properties", "required",
    "type", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-validations",
}  # fmt: skip
"""What our structural schemas use of what Kubernetes takes."""


def _nodes(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(f"{path}.{name}", child)
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if word in schema:
            yield from _nodes(path + mark, schema[word])


def _fields() -> Iterator[tuple[str, Schema]]:
    """Every part of every spec and status, with its path."""
    for resource in RESOURCES:
        for section in ("spec", "status"):
            properties = open_api_schema(resource)["properties"]
            if section in properties:
                yield from _nodes(f"{resource.crd.kind}.{section}", properties[section])


def _defaulted(schema: Schema, value: Any) -> Any:
    """Apply defaults as the API server does: inside objects that exist."""
    if isinstance(value, dict) and "properties" in schema:
        value = dict(value)
        for name, child in schema["properties"].items():
            if name not in value and "default" in child:
                value[name] = child["default"]
            if name in value:
                value[name] = _defaulted(child, value[name])
        return value
    if isinstance(value, list):
        return [_defaulted(schema["items"], item) for item in value]
    return value


def _pruned(value: Any) -> Any:
    """Leave out what is empty; a list that is absent and an empty one mean the same."""
    if isinstance(value, dict):
        found = {name: _pruned(item) for name, item in value.items()}
        return {name: item for name, item in found.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _documents(path: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]


def test_the_files_in_the_repository_are_those_of_the_models() -> None:
    assert differences(ROOT) == []


def test_a_difference_is_named_and_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    changed = tmp_path / "crds" / "gpupools.serving.coral.dev.yaml"
    changed.write_text(changed.read_text() + "# by hand\n")
    (tmp_path / "docs/reference/api.md").unlink()
    shutil.copy(changed, tmp_path / "helm/coral/crds/widgets.serving.coral.dev.yaml")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "crds/gpupools.serving.coral.dev.yaml: differs from the models",
        "docs/reference/api.md: missing",
        "helm/coral/crds/widgets.serving.coral.dev.yaml: no model makes this file",
        "run `make manifests` and commit the result",
    ]
    assert main(["--root", str(tmp_path)]) == 0
    assert differences(tmp_path) == []


def test_generating_outside_the_repository_is_refused(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_chart_has_the_same_crds() -> None:
    files = generated_files()
    ours = {name: text for name, text in files.items() if name.startswith("crds/")}
    assert len(ours) == len(RESOURCES)
    for name, text in ours.items():
        assert files[f"helm/coral/{name}"] == text


def test_crds_are_written_as_they_are_shown(tmp_path: Path) -> None:
    written = [yaml.safe_load(path.read_text()) for path in write_crds(tmp_path / "new")]
    assert written == list(crd_documents())
    assert list(yaml.safe_load_all(crd_yaml())) == written


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.crd.kind)
def test_a_schema_uses_only_words_of_structural_schemas(
    resource: type[KubernetesResource],
) -> None:
    for path, node in _nodes(resource.crd.kind, open_api_schema(resource)):
        assert set(node) <= ALLOWED, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert ("anyOf" in node) == bool(node.get("x-kubernetes-int-or-string")), path
        assert node.get("default", 0) is not None, path
        if "enum" in node:
            assert None not in node["enum"], path


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    for path, node in _fields():
        if path.endswith(("[]", "{}")):
            continue  # kubectl explains items with the text of their list
        text = node.get("description", "")
        assert text.endswith("."), f"{path}: {text!r}"


def test_every_list_map_and_text_of_a_spec_that_people_write_is_bounded() -> None:
    """Without bounds the API server refuses rules: it prices them at the largest input."""
    for path, node in _fields():
        if ".status" in path:
            continue
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        if node.get("type") == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node.get("type") in ("number", "integer") and not path.startswith("ServingPlan"):
            assert {"minimum", "maximum"} <= set(node), path


def test_a_status_has_no_defaults() -> None:
    for path, node in _fields():
        if ".status" in path:
            assert "default" not in node, path


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.crd.kind)
def test_printer_columns_name_fields_that_exist(resource: type[KubernetesResource]) -> None:
    paths = {path for path, _ in _nodes("", open_api_schema(resource))}
    for column in resource.crd.columns:
        path = column.json_path.replace(".homogeneous", "{}")  # a key of a map
        for kind in ConditionType:
            path = path.replace(f'[?(@.type=="{kind}")]', "[]")
        assert path in paths or path == ".metadata.creationTimestamp", column


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_validates_against_the_schema_and_the_model(path: Path) -> None:
    load_manifests([path])
    for document in _documents(path):
        schema = open_api_schema(BY_KIND[document["kind"]])
        Draft4Validator(schema).validate(document)


def test_there_is_an_example_of_each_kind_that_people_write() -> None:
    kinds = {document["kind"] for path in EXAMPLES for document in _documents(path)}
    assert kinds >= {"MultiLLMService", "GPUPool", "PlanningPolicy"}


@pytest.mark.parametrize(
    "manifest",
    [*CASES["good"], *(document for path in EXAMPLES for document in _documents(path))],
    ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}",
)
def test_defaults_of_the_crd_are_those_of_the_model(manifest: dict[str, Any]) -> None:
    resource = BY_KIND[manifest["kind"]]
    by_server = _defaulted(open_api_schema(resource), manifest)
    by_model = resource.from_manifest(manifest)
    assert resource.from_manifest(by_server) == by_model
    # What the server fills in is all that the model fills in, not only equal to it.
    assert _pruned(by_server["spec"]) == _pruned(json.loads(json.dumps(by_model.to_json()["spec"])))


@pytest.mark.parametrize(
    "case",
    [case for case in CASES["bad"] if case["server"] == "schema"],
    ids=lambda case: case["name"],
)
def test_what_the_schema_is_to_refuse_it_refuses(case: dict[str, Any]) -> None:
    schema = open_api_schema(BY_KIND[case["manifest"]["kind"]])
    assert not Draft4Validator(schema).is_valid(case["manifest"])


@pytest.mark.parametrize(
    "case",
    [case for case in CASES["bad"] if case["server"] == "rule"],
    ids=lambda case: case["name"],
)
def test_what_a_rule_is_to_refuse_has_a_rule_with_the_words_of_the_model(
    case: dict[str, Any],
) -> None:
    messages = [
        rule["message"]
        for _, node in _nodes("", open_api_schema(BY_KIND[case["manifest"]["kind"]]))
        for rule in node.get("x-kubernetes-validations", ())
    ]
    assert any(case["says"].removeprefix("match pattern") in message for message in messages)


def test_every_rule_refuses_one_of_the_bad_manifests() -> None:
    says = [case["says"] for case in CASES["bad"] if case["server"] == "rule"]
    for resource in RESOURCES:
        for path, node in _nodes(resource.crd.kind, open_api_schema(resource)):
            for rule in node.get("x-kubernetes-validations", ()):
                made_by_generator = rule["message"].startswith(("keys must", "must be at least"))
                covered = any(text in rule["message"] for text in says)
                assert covered or made_by_generator, f"{path}: {rule['message']}"


def test_every_condition_and_reason_is_documented() -> None:
    page = (ROOT / "docs/reference/conditions.md").read_text(encoding="utf-8")
    for word in (*ConditionType, *Reason):
        assert f"| `{word}` | {word.description} |" in page
        assert word.description.endswith(".")


def test_every_field_is_on_the_reference_page() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    for path, _ in _fields():
        _, _, field = path.partition(".")
        if "." in field and not field.endswith(("[]", "{}")):
            assert f"| `{field}` |" in page, path


def test_what_the_crd_refuses_for_the_engine_the_operator_refuses_as_well() -> None:
    model = deepcopy(CASES["parts"]["model"])
    spec = ModelSpec.model_validate(model)
    for flag in PLANNED_FLAGS:
        engine = spec.engine.model_copy(update={"args": (flag,)})
        assert engine_problems(spec.model_copy(update={"engine": engine})), flag
    for name in PLANNED_VARIABLES:
        engine = spec.engine.model_copy(update={"env": (EnvironmentVariable(name=name),)})
        assert engine_problems(spec.model_copy(update={"engine": engine})), name
