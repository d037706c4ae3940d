"""Validation errors as sentences that say which field is wrong and what to change."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from coral_api.crds import open_api_schema

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from coral_api.base import KubernetesResource

Location = tuple[str | int, ...]


def validation_problems(
    error: ValidationError, resource: type[KubernetesResource]
) -> tuple[tuple[Location, str], ...]:
    """Return each problem of a manifest with the place of the field.

    Parameters
    ----------
    error
        What validating the manifest raised.
    resource
        The kind that it was validated against.

    Returns
    -------
    tuple of (location, text)
        Location: field names and list indices from the root. Text: the field's path and what is
        wrong with it.
    """
    details = [(_plain(detail["loc"]), detail) for detail in error.errors(include_url=False)]
    found = []
    for location, detail in details:
        # pydantic calls a list whose only item is wrong too short as well.
        if detail["type"] == "too_short" and any(
            len(other) > len(location) and other[: len(location)] == location
            for other, _ in details
        ):
            continue
        path = field_path(location)
        text = _text(detail, location, resource)
        found.append((location, f"{path}: {text}" if path else text))
    return tuple(found)


def problem_text(error: ValidationError, resource: type[KubernetesResource]) -> str:
    """Return all problems of a manifest in one line."""
    return "; ".join(text for _, text in validation_problems(error, resource))


def field_path(location: Location) -> str:
    """Return a location as people write it: ``spec.models[0].slo``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _plain(location: Location) -> Location:
    # pydantic marks a problem with a map's key by an extra part.
    return tuple(part for part in location if part != "[key]")


def _text(detail: ErrorDetails, location: Location, resource: type[KubernetesResource]) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "this field is missing"
    if kind == "extra_forbidden":
        name = str(location[-1])
        near = get_close_matches(name, _fields_at(resource, location[:-1]), n=1, cutoff=0.6)
        return "unknown field" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    message = detail["msg"].replace("Tuple should", "List should").replace(" after validation", "")
    message = message[0].lower() + message[1:]
    given = detail["input"]
    if given is None or isinstance(given, str | int | float):
        return f"{message}, not {given!r}" if given is not None else f"{message}, not null"
    return message


@cache
def _schema(resource: type[KubernetesResource]) -> dict[str, Any]:
    return open_api_schema(resource)


def _fields_at(resource: type[KubernetesResource], location: Location) -> list[str]:
    node = _schema(resource)
    for part in location:
        node = node.get("items" if isinstance(part, int) else "properties", {})
        if isinstance(part, str):
            node = node.get(part, {})
    return sorted(node.get("properties", {}))
