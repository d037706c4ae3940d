"""Conditions change only when something changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from coral_api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    condition,
    set_condition,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def _planned(status: ConditionStatus, reason: Reason, message: str = "") -> tuple[Condition, ...]:
    return set_condition((), ConditionType.PLANNED, status, reason, message, now=NOW)


def test_a_new_condition_has_the_time_in_whole_seconds() -> None:
    (found,) = _planned(ConditionStatus.TRUE, Reason.PLANNED)
    assert found.last_transition_time == datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    assert found.to_json()["lastTransitionTime"] == "2026-11-22T12:00:00Z"


def test_setting_the_same_condition_again_changes_nothing() -> None:
    before = _planned(ConditionStatus.TRUE, Reason.PLANNED, "three instances")
    after = set_condition(
        before,
        ConditionType.PLANNED,
        ConditionStatus.TRUE,
        Reason.PLANNED,
        "three instances",
        now=LATER,
    )
    assert after == before


def test_a_new_message_does_not_move_the_time_of_the_transition() -> None:
    before = _planned(ConditionStatus.TRUE, Reason.PLANNED, "three instances")
    (after,) = set_condition(
        before, ConditionType.PLANNED, ConditionStatus.TRUE, Reason.PLAN_CHANGED, "", now=LATER
    )
    assert after.reason == "PlanChanged"
    assert after.last_transition_time == before[0].last_transition_time


def test_a_new_status_moves_the_time_of_the_transition() -> None:
    before = _planned(ConditionStatus.TRUE, Reason.PLANNED)
    (after,) = set_condition(
        before,
        ConditionType.PLANNED,
        ConditionStatus.FALSE,
        Reason.SOLVER_FAILED,
        "",
        now=LATER,
        observed_generation=4,
    )
    assert after.last_transition_time == LATER.replace(microsecond=0)
    assert after.observed_generation == 4


def test_the_given_conditions_are_not_changed_and_the_order_is_fixed() -> None:
    conditions: tuple[Condition, ...] = ()
    for kind in reversed(ConditionType):
        longer = set_condition(
            conditions, kind, ConditionStatus.UNKNOWN, Reason.PLANNING, "", now=NOW
        )
        assert len(conditions) == len(longer) - 1
        conditions = longer
    assert [c.type for c in conditions] == list(ConditionType)


def test_a_condition_is_found_by_its_type() -> None:
    conditions = _planned(ConditionStatus.TRUE, Reason.PLANNED)
    assert condition(conditions, ConditionType.PLANNED) is conditions[0]
    assert condition(conditions, ConditionType.READY) is None


def test_a_condition_that_a_newer_version_wrote_can_be_read() -> None:
    read = Condition.model_validate(
        {
            "type": "Ready",
            "status": "False",
            "reason": "SomethingNew",
            "lastTransitionTime": "2026-11-22T12:00:00Z",
            "observedBy": "v2",
        }
    )
    assert read.reason == "SomethingNew"


def test_a_reason_is_one_word() -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Condition(
            type=ConditionType.READY,
            status=ConditionStatus.TRUE,
            reason="not a word",
            last_transition_time=NOW,
        )
