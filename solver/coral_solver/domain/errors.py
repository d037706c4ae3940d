"""Typed faults. Outcomes (an infeasible demand, a time limit) are data, not exceptions."""

from __future__ import annotations


class CoralError(Exception):
    """Base of every fault that Coral raises on purpose.

    Parameters
    ----------
    message
        What is wrong and what to change, in one or two sentences.
    reason
        CamelCase word; it is exactly the reason of the Kubernetes condition that reports the fault.
    """

    reason = "InternalError"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class CatalogError(CoralError):
    """A name that the catalogue does not know, or package data that does not validate."""

    reason = "UnknownName"


class InvalidInputError(CoralError):
    """Input that cannot mean anything: every problem found is in ``problems``."""

    reason = "InvalidInput"

    def __init__(self, problems: list[str] | tuple[str, ...], *, reason: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems), reason=reason)


class SolverError(CoralError):
    """The solver crashed, or returned something that is not a solution."""

    reason = "SolverFailed"


class PlanCheckError(CoralError):
    """The independent checker rejects a plan; ``violations`` says why, one entry each."""

    reason = "PlanRejected"

    def __init__(self, violations: tuple[str, ...]) -> None:
        self.violations = violations
        super().__init__("the plan breaks its own constraints: " + "; ".join(violations))
