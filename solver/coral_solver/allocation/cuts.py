"""Rows that carry the bound of whole plans into the integer program."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.model import PlanModel
    from coral_solver.allocation.pricing_problem import Answer, Block, Prices
    from coral_solver.allocation.program import Program

_SAFETY = 1e-7


class Raised(NamedTuple):
    """What a block's plan costs at least unless its model is an exception.

    Attributes
    ----------
    value
        The cost; infinite if only an exception is possible.
    less
        The binary that says that the model is one.
    """

    value: float
    less: int


def add_cuts(
    program: Program,
    model: PlanModel,
    space: SearchSpace,
    prices: Prices,
    answers: Mapping[Block, Answer],
    raised: Mapping[Block, Raised] | None = None,
) -> None:
    """Demand that every block's plan costs, at some prices, what its cheapest one costs at least.

    Whole numbers that meet the block's needs satisfy such a row at any prices; fractions do not.

    Parameters
    ----------
    program
        Where the rows go.
    model, space
        The program's variables, and what they mean.
    prices, answers
        Of one evaluation. The plan must meet the needs that it was made for.
    raised
        By block: needs that its plan meets unless its model is an exception.
    """
    block_of = {(block.model, phase): block for block in answers for phase in block.phases}
    terms: dict[Block, list[tuple[int, float]]] = defaultdict(list)
    for variable, column in zip(model.started, space.columns, strict=True):
        cost = prices.of_column(column)
        terms[block_of[column.model, column.phase]].append((variable, cost))
    for index, (variable, keep) in enumerate(zip(model.kept, space.keeps, strict=True)):
        block = block_of.get((keep.model, keep.phase))
        if block is not None:
            terms[block].append((variable, float(prices.keeps[index])))
    for block, answer in answers.items():
        row, least = terms[block], _below(answer.value)
        more = None if raised is None else raised.get(block)
        if more is not None and np.isfinite(more.value):
            full = max(least, _below(more.value))
            row, least = [*row, (more.less, full - least)], full
        elif more is not None:
            program.lower[more.less] = 1.0
        program.add_row(row, lower=least, upper=float("inf"))


def _below(value: float) -> float:
    return value - _SAFETY * (1.0 + abs(value))
