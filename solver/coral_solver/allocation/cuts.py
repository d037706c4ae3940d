"""Rows that carry the bound of whole plans into the integer program."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.allocation.columns import SearchSpace
    from coral_solver.allocation.model import PlanModel
    from coral_solver.allocation.pricing_problem import Answer, Block, Prices
    from coral_solver.allocation.program import Program

_SAFETY = 1e-7


def add_cuts(
    program: Program,
    model: PlanModel,
    space: SearchSpace,
    prices: Prices,
    answers: Mapping[Block, Answer],
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
        least = answer.value - _SAFETY * (1.0 + abs(answer.value))
        program.add_row(terms[block], lower=least, upper=float("inf"))
