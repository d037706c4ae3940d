"""Names of instances."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.names import MAX_NAME_LENGTH, NameBook

L4 = config("L4")


@pytest.mark.parametrize(
    ("model_id", "start"),
    [
        ("ns/svc/Qwen3_32B", "qwen3-32b-"),
        ("ns/svc/7b-chat", "m-7b-chat-"),
        ("ns/svc/--", "m-"),
        ("ns/svc/" + "x" * 60, "x" * 28 + "-"),
    ],
)
def test_names_are_short_dns_labels(model_id, start):
    what = replace(template("a", 1, L4), model_id=model_id)
    name = NameBook([]).give(what)
    assert name.startswith(start)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= MAX_NAME_LENGTH


def test_a_name_is_never_given_twice():
    what = template("a", 1, L4)
    book = NameBook([])
    names = [book.give(what) for _ in range(3)]
    assert len(set(names)) == 3
    assert NameBook(names).give(what) not in names


def test_models_of_the_same_short_name_differ_in_the_digest():
    one, two = (replace(template("a", 1, L4), model_id=f"ns/{svc}/a") for svc in ("x", "y"))
    assert NameBook([]).give(one) != NameBook([]).give(two)


def test_a_dropped_name_is_not_reused_in_the_same_plan():
    # The instance in force loses its node; the new one of the same template has another name.
    l4 = pool("L4", 1, [1])
    what = template("a", 1, L4)
    first = allocate(problem([model()], [l4]), source(what)).instances[0]
    lost = running(first.name, what, l4, "gone")
    again = allocate(problem([model()], [l4], in_force=[lost]), source(what)).instances[0]
    assert again.name != first.name
    assert again.name.rsplit("-", 1)[0] == first.name.rsplit("-", 1)[0]
