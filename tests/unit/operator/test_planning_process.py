"""The planning process answers, and whatever becomes of it the operator knows."""

from __future__ import annotations

import asyncio
import io
import sys
import textwrap
from typing import ClassVar

import pytest
from operator_builders import allocation, pool

from coral_operator.planning.messages import PlanningAnswer, PlanningFault, PlanningRequest
from coral_operator.planning.process import (
    PlanningProcess,
    PlanTimedOutError,
    WorkerCrashedError,
)
from coral_operator.planning.worker import read_message, serve, write_message
from coral_solver.domain.errors import CoralError, InvalidInputError
from coral_solver.domain.plan import PeerOutcome, PlanningProblem
from coral_solver.planning.planner import PlanningResult

REQUEST = PlanningRequest(
    problem=PlanningProblem(models=(), pools=(pool(),)), time_limit_s=5.0, cache_dir=None
)

PROGRAM = """
import sys
from coral_operator.planning.worker import read_message, write_message
from coral_operator.planning.messages import PlanningFault
source, sink = sys.stdin.buffer, sys.stdout.buffer
while True:
    read_message(source)
    {act}
"""


def plan_with(act: str, *, limit_s: float = 30.0, times: int = 1):
    """Ask a process that does something else than planning."""

    async def scenario():
        process = PlanningProcess((sys.executable, "-c", PROGRAM.replace("{act}", act)))
        try:
            errors = []
            for _ in range(times):
                with pytest.raises(CoralError) as caught:
                    await process.plan(REQUEST, limit_s=limit_s)
                errors.append((type(caught.value), caught.value.reason, str(caught.value)))
            return errors
        finally:
            await process.stop()

    return asyncio.run(scenario())


def test_a_process_that_dies_is_told_with_its_status_and_replaced():
    first, second = plan_with("sys.exit(7)", times=2)
    assert first == second
    assert first[:2] == (WorkerCrashedError, "WorkerCrashed")
    assert "status 7" in first[2]


def test_a_process_that_does_not_answer_is_ended():
    ((kind, reason, message),) = plan_with("import time; time.sleep(600)", limit_s=0.5)
    assert (kind, reason) == (PlanTimedOutError, "PlanTimedOut")
    assert "solveTimeLimitSeconds" in message


def test_a_fault_of_planning_keeps_its_reason():
    ((_, reason, message),) = plan_with("write_message(sink, PlanningFault('SolverFailed', 'no'))")
    assert (reason, message) == ("SolverFailed", "no")


def test_an_answer_that_makes_no_sense_is_a_crash():
    ((kind, _, _),) = plan_with("write_message(sink, 5)")
    assert kind is WorkerCrashedError


class FakePlanner:
    def __init__(self, options) -> None:
        self.options = options
        self.fault: Exception | None = None
        self.made.append(self)

    made: ClassVar[list[FakePlanner]] = []

    def plan(self, problem) -> PlanningResult:
        if not problem.pools:
            raise InvalidInputError(["a", "b"])
        if problem.pools[0].nodes[0].free_gpus == 0:
            raise ZeroDivisionError("a bug")
        return PlanningResult(
            plan=allocation(), baselines={"homogeneous": allocation()}, templates_s=1.0
        )


def served(*requests: PlanningRequest) -> list[object]:
    source, sink = io.BytesIO(), io.BytesIO()
    for request in requests:
        write_message(source, request)
    source.seek(0)
    FakePlanner.made = []
    serve(source, sink, FakePlanner)
    sink.seek(0)
    return [read_message(sink) for _ in requests]


def test_the_worker_answers_with_the_plan_and_the_rent_of_its_peers():
    (answer,) = served(REQUEST)
    assert isinstance(answer, PlanningAnswer)
    peer = PeerOutcome.of(allocation())
    assert (answer.plan, dict(answer.baselines)) == (allocation(), {"homogeneous": peer})


def test_the_worker_survives_faults_and_bugs_and_keeps_its_templates():
    no_pools = PlanningRequest(
        problem=PlanningProblem(models=(), pools=()), time_limit_s=5.0, cache_dir=None
    )
    bug = PlanningRequest(
        problem=PlanningProblem(models=(), pools=(pool(("a", 0)),)),
        time_limit_s=5.0,
        cache_dir=None,
    )
    answers = served(no_pools, bug, REQUEST)
    assert answers[0] == PlanningFault("InvalidInput", "a; b")
    assert answers[1] == PlanningFault("InternalError", "ZeroDivisionError: a bug")
    assert isinstance(answers[2], PlanningAnswer)
    assert len(FakePlanner.made) == 1


def test_other_options_get_another_planner():
    other = PlanningRequest(problem=REQUEST.problem, time_limit_s=9.0, cache_dir=None)
    served(REQUEST, other)
    assert [p.options.time_limit_s for p in FakePlanner.made] == [5.0, 9.0]


def test_the_operators_own_process_does_not_load_the_solver():
    """The solver's native libraries cost 100 MB, which only the planning process pays."""
    program = textwrap.dedent(
        """
        import sys
        import coral_operator.run
        heavy = [m for m in ("ortools", "numba", "coral_solver.allocation") if m in sys.modules]
        sys.exit(", ".join(heavy) or 0)
        """
    )

    async def scenario() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE
        )
        _, err = await process.communicate()
        return process.returncode, err

    assert asyncio.run(scenario()) == (0, b"")
