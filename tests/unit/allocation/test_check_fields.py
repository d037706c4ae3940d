"""Every field of a plan, changed one at a time: the checker rejects it, or it promises nothing.

The plan is walked down to its leaves, so a field that is added later is here at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum

import pytest
from tests.unit.allocation.support import source
from tests.unit.allocation.test_check import PROBLEM, TEMPLATES

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.domain.errors import PlanCheckError
from coral_solver.domain.workload import Phase

WORDS_OR_TIMES = {
    "bound_scope": "words for people",
    "solve_s": "how long it took; nothing follows from it",
    "status": "a worse status promises less; a better one is in test_check.py",
    "outcomes.message": "words for people; that there are some is checked",
    "instances.name": "any new name is as good as another; its form is checked",
}
"""Fields of the plan itself that may hold another value of their type."""

OF_THE_PREDICTION = {
    "ttft_s",
    "tpot_s",
    "batch_per_stage",
    "source",
    "error_share",
}
"""What the prediction says beside the capacity; the checker has no performance model."""

OF_THE_ENGINE = {
    "max_model_len_tokens",
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
}
"""Settings that the prediction assumes and the placement does not fix."""


PLAN = allocate(PROBLEM, source(*TEMPLATES))


def leaves(value, path=()):
    """Yield (path, leaf) for everything inside; a path has field names and indices."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def changed_at(value, path, new):
    """Return the value with the leaf at a path replaced."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    if is_dataclass(value):
        return replace(value, **{first: changed_at(getattr(value, first), rest, new)})
    if isinstance(value, Mapping):
        return {**value, first: changed_at(value[first], rest, new)}
    if isinstance(first, str):
        return value._replace(**{first: changed_at(getattr(value, first), rest, new)})
    return (*value[:first], changed_at(value[first], rest, new), *value[first + 1 :])


def others(leaf):
    """Return values that the leaf could have instead."""
    if isinstance(leaf, Enum):
        return [member for member in type(leaf) if member is not leaf]
    if isinstance(leaf, bool) or leaf is None:
        return []
    if isinstance(leaf, int):
        return [leaf + 1, leaf - 1, -leaf - 2]
    if isinstance(leaf, float):
        return [leaf * 1.01 + 0.01, leaf * 0.99 - 0.01, -leaf - 1.0, math.nan, math.inf]
    return [f"{leaf}x", ""]


def name_of(path):
    return ".".join(str(part) for part in path if isinstance(part, str))


def promises_nothing(path, new):
    """Return whether another value at this place is no lie that the checker could find."""
    if name_of(path) in WORDS_OR_TIMES and (new != "" or path == ("bound_scope",)):
        return True
    leaf = path[-1] if isinstance(path[-1], str) else path[-2]
    if "prediction" in path:
        # The phase that is not the slower one may say any higher rate: nothing is made of it.
        paired = PLAN.instances[path[1]].template.phase is not Phase.WHOLE
        return leaf in OF_THE_PREDICTION or (paired and new > 0 and math.isfinite(new))
    return "engine" in path and leaf in OF_THE_ENGINE


MUTANTS = [
    pytest.param(path, new, id=f"{'.'.join(map(str, path))}={new!r}")
    for path, leaf in leaves(PLAN)
    for new in others(leaf)
    if not promises_nothing(path, new)
]


def test_there_are_mutants_of_every_part_of_a_plan():
    parts = {param.values[0][0] for param in MUTANTS}
    assert parts >= {field.name for field in fields(PLAN)} - {"bound_scope", "solve_s", "status"}
    assert len(MUTANTS) > 200


@pytest.mark.parametrize(("path", "new"), MUTANTS)
def test_a_plan_with_one_field_changed_is_rejected(path, new):
    with pytest.raises(PlanCheckError):
        check_plan(PROBLEM, changed_at(PLAN, path, new))
