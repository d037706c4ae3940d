"""CRDs from the pydantic models: pydantic's JSON schema made structural.

Kubernetes takes a subset of JSON schema ("structural schemas"): no references, no titles, no
``const``, no ``propertyNames``, no ``additionalProperties: false``. What the subset cannot say
becomes a CEL rule.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import yaml

from coral_api.base import GROUP, VERSION, KubernetesResource
from coral_api.gpupool import GPUPool
from coral_api.multillmservice import MultiLLMService
from coral_api.performanceprofile import PerformanceProfile
from coral_api.planningpolicy import PlanningPolicy
from coral_api.servingplan import ServingPlan

if TYPE_CHECKING:
    from pathlib import Path

RESOURCES: tuple[type[KubernetesResource], ...] = (
    GPUPool,
    MultiLLMService,
    PerformanceProfile,
    PlanningPolicy,
    ServingPlan,
)
"""Every kind of the API group, by name."""

HEADER = "# Generated from operator/coral_api by `make manifests`; do not edit.\n"

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
)


def _without_null(node: Schema) -> Schema:
    """Merge ``anyOf: [X, null]`` into X; an optional field is absent, never null."""
    options = node.get("anyOf")
    if options is None or "x-kubernetes-int-or-string" in node:
        return node
    options = [option for option in options if option != {"type": "null"}]
    if len(options) != 1:
        raise ValueError(f"not structural: {node}")
    return {**options[0], **{k: v for k, v in node.items() if k != "anyOf"}}


def _resolved(node: Schema, definitions: Schema) -> Schema:
    """Put the definition in place of a reference; what stands beside the reference wins."""
    node = _without_null(node)
    while "$ref" in node:
        definition = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = _without_null({**definition, **{k: v for k, v in node.items() if k != "$ref"}})
    return node


def structural(node: Schema, definitions: Schema, *, defaults: bool = True) -> Schema:
    """Return a JSON schema of pydantic as a structural schema.

    Parameters
    ----------
    node
        The schema, or a part of it.
    definitions
        Its ``$defs``.
    defaults
        Whether to keep default values. A status has none: what the operator did not report is
        absent.

    Raises
    ------
    ValueError
        If the schema says something that has no structural form.
    """
    node = _resolved(node, definitions)
    result = {key: deepcopy(node[key]) for key in _KEPT if key in node}
    result |= {key: deepcopy(value) for key, value in node.items() if key.startswith("x-")}
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    if "x-kubernetes-int-or-string" in node:
        result["anyOf"] = deepcopy(node["anyOf"])
        del result["maxLength"]  # an integer has no length; the pattern bounds the text
    if "const" in node:
        result["enum"] = [node["const"]]
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            result[bound.lower()] = node[f"exclusive{bound}"]
            result[f"exclusive{bound}"] = True
    if node.get("minimum", 0) % 1:
        # The API server cuts the bound to a whole number where the value is one: 0 passes 0.05.
        rule = {
            "rule": f"self >= {node['minimum']}",
            "message": f"must be at least {node['minimum']}",
        }
        result["x-kubernetes-validations"] = [rule]
    if defaults and node.get("default") not in (None, [], {}):
        result["default"] = node["default"]
    if "properties" in node:
        result["properties"] = {
            name: structural(child, definitions, defaults=defaults)
            for name, child in node["properties"].items()
        }
        if defaults:
            result["properties"] |= {
                name: _default_of_parent(child, result["properties"][name])
                for name, child in node["properties"].items()
                if name not in node.get("required", ())
            }
    elif "patternProperties" in node:  # a map whose keys have a pattern
        ((pattern, values),) = node["patternProperties"].items()
        result["additionalProperties"] = structural(values, definitions, defaults=defaults)
        result["x-kubernetes-validations"] = [_key_rule(pattern)]
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = structural(
            node["additionalProperties"], definitions, defaults=defaults
        )
    if "items" in node:
        result["items"] = structural(node["items"], definitions, defaults=defaults)
    return result


def _default_of_parent(node: Schema, schema: Schema) -> Schema:
    """Give an object that may be left out its fields' defaults.

    The API server applies the default of a field only inside an object that exists, and checks
    the rules of the object against the object's own default as it is written.
    """
    is_nullable = "anyOf" in node
    if is_nullable or "properties" not in schema or "required" in schema:
        return schema
    values = {
        name: child["default"] for name, child in schema["properties"].items() if "default" in child
    }
    return {**schema, "default": values}


def _key_rule(pattern: str) -> dict[str, str]:
    """Return the rule that checks the keys of a map, which structural schemas cannot."""
    return {"rule": f"self.all(k, k.matches('{pattern}'))", "message": f"keys must match {pattern}"}


def open_api_schema(resource: type[KubernetesResource]) -> Schema:
    """Return the structural schema of a kind.

    Parameters
    ----------
    resource
        The model of the kind.
    """
    schema = resource.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    properties = schema["properties"]
    metadata = structural(properties["metadata"], definitions, defaults=False)
    result: Schema = {
        "type": "object",
        "description": " ".join((resource.__doc__ or "").split()),
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": properties["apiVersion"]["description"],
            },
            "kind": {"type": "string", "description": properties["kind"]["description"]},
            # Of the metadata, Kubernetes lets a CRD restrict the name and nothing else.
            "metadata": {
                "type": "object",
                "properties": {"name": metadata["properties"]["name"]},
            },
            "spec": structural(properties["spec"], definitions),
        },
    }
    if "spec" in schema["required"]:
        result["required"] = ["spec"]
    else:
        spec = _default_of_parent(properties["spec"], result["properties"]["spec"])
        result["properties"]["spec"] = spec
    if "status" in properties:
        result["properties"]["status"] = structural(
            properties["status"], definitions, defaults=False
        )
    if resource.cel_rules:
        result["x-kubernetes-validations"] = schema["x-kubernetes-validations"]
    return result


def crd_document(resource: type[KubernetesResource]) -> Schema:
    """Return the CustomResourceDefinition of a kind.

    Parameters
    ----------
    resource
        The model of the kind.
    """
    info = resource.crd
    schema = open_api_schema(resource)
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            {
                "name": column.name,
                "type": column.type,
                "jsonPath": column.json_path,
                "description": column.description,
                "priority": column.priority,
            }
            for column in info.columns
        ],
    }
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": info.scope,
            "names": {
                "kind": info.kind,
                "listKind": f"{info.kind}List",
                "plural": info.plural,
                "singular": info.singular,
                "shortNames": list(info.short_names),
                "categories": ["coral"],
            },
            "versions": [version],
        },
    }


def crd_documents() -> tuple[Schema, ...]:
    """Return the CustomResourceDefinitions of all kinds, sorted by kind."""
    return tuple(crd_document(resource) for resource in RESOURCES)


class _PlainDumper(yaml.SafeDumper):
    """Writes every value out: two equal parts of a schema do not become an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def crd_files() -> dict[str, str]:
    """Return the text of each CRD file by file name."""
    return {
        f"{document['metadata']['name']}.yaml": HEADER
        + yaml.dump(document, Dumper=_PlainDumper, sort_keys=True, width=100, allow_unicode=True)
        for document in crd_documents()
    }


def crd_yaml() -> str:
    """Return all CRDs as one YAML text of several documents, for ``kubectl apply -f -``."""
    return "---\n".join(crd_files().values())


def write_crds(folder: Path) -> tuple[Path, ...]:
    """Write one YAML file per kind.

    Parameters
    ----------
    folder
        Where to; made if it is missing.

    Returns
    -------
    tuple of Path
        The files, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in crd_files().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return tuple(paths)
