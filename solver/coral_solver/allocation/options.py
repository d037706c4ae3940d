"""Knobs of one allocation, and the tolerance that every comparison of it shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coral_solver.domain.errors import InvalidInputError

SHARE_TOLERANCE = 1e-6
"""Shares of a demand closer than this are equal: the solver's own feasibility tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationOptions:
    """How ``allocate`` searches and which rules it applies.

    Attributes
    ----------
    time_limit_s
        For the whole call, shared by the levels of the objective.
    relative_gap
        A level is proven when its value and its bound differ by no more than this share.
    whole_nodes_only
        A node configuration takes a whole node: it is cut from pools of exactly its size only.
    sum_regions
        Prefill and decode capacity are summed over all regions before they are paired: the
        paper's rule. The default pairs them inside each region, where the KV cache can travel.

    Raises
    ------
    InvalidInputError
        If a limit cannot mean anything.
    """

    time_limit_s: float = 30.0
    relative_gap: float = 1e-4
    whole_nodes_only: bool = False
    sum_regions: bool = False

    def __post_init__(self) -> None:
        faults = []
        if not math.isfinite(self.time_limit_s):
            faults.append(f"time_limit_s {self.time_limit_s} must be a finite number")
        if not 0 <= self.relative_gap < 1:
            faults.append(f"relative_gap {self.relative_gap} must lie in [0, 1)")
        if faults:
            raise InvalidInputError(faults)
