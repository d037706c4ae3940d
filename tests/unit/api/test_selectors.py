"""Label selectors select as Kubernetes does."""

from __future__ import annotations

from typing import Any

import pytest

from coral_api.selectors import LabelSelector

LABELS = {"app": "vllm", "team": "search"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"matchLabels": {"app": "vllm"}}, True),
        ({"matchLabels": {"app": "vllm", "team": "chat"}}, False),
        ({"matchLabels": {"tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["vllm", "tgi"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["vllm"]}]}, False),
        # An absent label is not in any set.
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        (
            {
                "matchLabels": {"app": "vllm"},
                "matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["search"]}],
            },
            False,
        ),
    ],
)
def test_a_selector_selects_by_all_of_its_terms(selector: dict[str, Any], matches: bool) -> None:
    assert LabelSelector.model_validate(selector).matches(LABELS) is matches
