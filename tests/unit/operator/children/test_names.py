"""Names are legal, short enough and never meet."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_operator.children.names import (
    deployment_name,
    dns_name,
    instance_label,
    leader_service_name,
)

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
texts = st.text(min_size=1, max_size=120)


@settings(deadline=None, derandomize=True)
@given(texts, st.integers(12, 63))
def test_every_text_becomes_a_dns_label_within_the_limit(text, limit):
    name = dns_name(text, limit=limit)
    assert LABEL.fullmatch(name)
    assert len(name) <= limit


@settings(deadline=None, derandomize=True)
@given(st.sets(st.text(alphabet="abAB-._/0", min_size=1, max_size=70), min_size=2, max_size=20))
def test_different_texts_get_different_names(names):
    assert len({dns_name(name) for name in names}) == len(names)


def test_a_legal_name_is_kept():
    assert dns_name("chat-llama-8b-0") == "chat-llama-8b-0"


@pytest.mark.parametrize("text", ["8b-chat", "Chat", "chat/llama", "a" * 64, "chat-"])
def test_an_illegal_name_gets_a_digest(text):
    assert re.search(r"-[0-9a-f]{8}$", dns_name(text))


@settings(deadline=None, derandomize=True)
@given(texts, st.integers(0, 63))
def test_names_of_children_fit_whatever_the_instance_is_called(text, stage):
    for name in (instance_label(text), deployment_name(text, stage), leader_service_name(text)):
        assert LABEL.fullmatch(name)
        assert len(name) <= 63
