"""A mixed-integer program as plain numbers, before any solver sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Program:
    """Variables with bounds, and linear rows; it grows, nothing is ever taken away.

    Attributes
    ----------
    lower, upper, integer
        By variable.
    row_lower, row_upper
        By row.
    entry_row, entry_variable, entry_value
        The non-zero coefficients, by row and inside a row by variable.
    """

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    entry_row: list[int] = field(default_factory=list)
    entry_variable: list[int] = field(default_factory=list)
    entry_value: list[float] = field(default_factory=list)

    def add_variable(self, lower: float, upper: float, *, integer: bool = False) -> int:
        """Add a variable and return its number."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.lower) - 1

    def add_row(
        self, terms: Iterable[tuple[int, float]], *, lower: float = -float("inf"), upper: float
    ) -> None:
        """Add ``lower <= sum of value * variable <= upper``; terms of one variable add up."""
        summed: dict[int, float] = {}
        for variable, value in terms:
            summed[variable] = summed.get(variable, 0.0) + value
        row = len(self.row_lower)
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        for variable in sorted(summed):
            if summed[variable] != 0.0:
                self.entry_row.append(row)
                self.entry_variable.append(variable)
                self.entry_value.append(summed[variable])

    def copy(self) -> Program:
        """Return a program that can grow on its own."""
        return Program(
            lower=list(self.lower),
            upper=list(self.upper),
            integer=list(self.integer),
            row_lower=list(self.row_lower),
            row_upper=list(self.row_upper),
            entry_row=list(self.entry_row),
            entry_variable=list(self.entry_variable),
            entry_value=list(self.entry_value),
        )
