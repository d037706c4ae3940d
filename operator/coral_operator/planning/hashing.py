"""Digests of domain objects that are the same in every process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def digest(*values: object) -> str:
    """Return a digest of values made of dataclasses, tuples, sets, mappings and scalars."""
    text = json.dumps([_plain(value) for value in values], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, (set, frozenset)):
        # The order of a set of strings differs from process to process.
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, dict):
        return _plain_mapping(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _plain_mapping(value: Mapping[object, object]) -> list[list[object]]:
    return sorted(([str(_plain(key)), _plain(item)] for key, item in value.items()), key=repr)
