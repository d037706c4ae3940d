"""Label selectors, as Kubernetes has them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from coral_api.base import ApiModel, CelRule, LabelKey, LabelValue

if TYPE_CHECKING:
    from collections.abc import Mapping


class SelectorOperator(StrEnum):
    """How a selector's term compares a label with its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelExpression(ApiModel):
    """One term of a label selector."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
            " : !has(self.values) || size(self.values) == 0",
            "values must be given for In and NotIn, and only for them",
        ),
    )

    key: LabelKey = Field(description="Key of the label.")
    operator: SelectorOperator = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: tuple[LabelValue, ...] = Field(
        (), max_length=32, description="Values for In and NotIn."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        wants_values = self.operator in (SelectorOperator.IN, SelectorOperator.NOT_IN)
        if wants_values != bool(self.values):
            raise ValueError(self.cel_rules[0].message)
        return self

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with these labels meets the term."""
        if self.operator is SelectorOperator.EXISTS:
            return self.key in labels
        if self.operator is SelectorOperator.DOES_NOT_EXIST:
            return self.key not in labels
        inside = labels.get(self.key) in self.values
        return inside if self.operator is SelectorOperator.IN else not inside


class LabelSelector(ApiModel):
    """Selects objects by their labels; all terms must hold, and there must be one at least."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0)"
            " || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "an empty selector would select everything; give matchLabels or matchExpressions",
        ),
    )

    match_labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that must be equal."
    )
    match_expressions: tuple[LabelExpression, ...] = Field(
        (), max_length=16, description="Further terms on labels."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.match_labels and not self.match_expressions:
            raise ValueError(self.cel_rules[0].message)
        return self

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            term.matches(labels) for term in self.match_expressions
        )
