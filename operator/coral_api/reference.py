"""The generated reference pages: every field of every kind, every condition and reason."""

from __future__ import annotations

import json
from typing import Any

from coral_api.base import API_VERSION
from coral_api.conditions import ConditionType, Reason
from coral_api.crds import RESOURCES, Schema, open_api_schema

_NOTE = "<!-- Generated from operator/coral_api by `make manifests`; do not edit. -->\n"


def api_page() -> str:
    """Return the reference page of the custom resources."""
    parts = [
        _NOTE,
        "# Custom resources\n",
        f"All kinds belong to `{API_VERSION}`. `kubectl explain` shows the same text."
        " An optional field that is not given is absent, never null.\n",
    ]
    for resource in RESOURCES:
        info = resource.crd
        schema = open_api_schema(resource)
        parts += [
            f"## {info.kind}\n",
            f"{schema['description']}\n",
            f"Scope: {info.scope}. Short names: {', '.join(f'`{n}`' for n in info.short_names)}.\n",
        ]
        for section in ("spec", "status"):
            if section in schema["properties"]:
                parts.append("| field | type | default | meaning |\n| --- | --- | --- | --- |")
                parts.append("\n".join(_rows(section, schema["properties"][section])) + "\n")
        rules = [
            f"- `{path}`: {rule['message']}"
            for path, node in _nodes("", schema)
            for rule in node.get("x-kubernetes-validations", ())
        ]
        if rules:
            parts.append("Rules over several fields:\n\n" + "\n".join(rules) + "\n")
    return "\n".join(parts)


def conditions_page() -> str:
    """Return the reference page of the condition types and the reasons."""
    parts = [
        _NOTE,
        "# Conditions and reasons\n",
        "| condition | `True` means |\n| --- | --- |",
        "\n".join(f"| `{kind}` | {kind.description} |" for kind in ConditionType) + "\n",
        "The reasons below are those of conditions, of Kubernetes events, of a model's outcome in"
        " a plan, and of what set off a plan.\n",
        "| reason | meaning |\n| --- | --- |",
        "\n".join(f"| `{reason}` | {reason.description} |" for reason in Reason) + "\n",
    ]
    return "\n".join(parts)


def _nodes(path: str, schema: Schema) -> list[tuple[str, Schema]]:
    """List a schema and all inside it with their paths; ``[]`` marks items, ``{}`` map values."""
    found = [(path or ".", schema)]
    for name, child in schema.get("properties", {}).items():
        found += _nodes(f"{path}.{name}" if path else name, child)
    if "items" in schema:
        found += _nodes(f"{path}[]", schema["items"])
    if "additionalProperties" in schema:
        found += _nodes(f"{path}{{}}", schema["additionalProperties"])
    return found


def _rows(section: str, schema: Schema) -> list[str]:
    rows = []
    for path, node in _nodes(section, schema):
        if "description" not in node or path == section or path.endswith("[]"):
            continue
        required = _is_required(path, section, schema)
        default = "required" if required else _default(node)
        text = node["description"].replace("|", "\\|")
        rows.append(f"| `{path}` | {_type(node)} | {default} | {text} |")
    return rows


def _is_required(path: str, section: str, schema: Schema) -> bool:
    parent, _, name = path.rpartition(".")
    node = dict(_nodes(section, schema))[parent]
    return name in node.get("required", ())


def _default(node: Schema) -> str:
    default: Any = node.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`"


def _type(node: Schema) -> str:
    name: str = node.get("type", "")
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in node:
        return "enum: " + ", ".join(f"`{value}`" for value in node["enum"])
    if name == "array":
        return f"list of {_type(node['items'])}"
    if name == "object" and "additionalProperties" in node:
        return f"map to {_type(node['additionalProperties'])}"
    bounds = [f"≥ {node['minimum']:g}"] if "minimum" in node else []
    bounds += [f"≤ {node['maximum']:g}"] if "maximum" in node else []
    return name + (f" ({', '.join(bounds)})" if bounds else "")
