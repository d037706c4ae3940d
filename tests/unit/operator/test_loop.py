"""The loop acts when it may, waits when it must, and its heart tells the two from being stuck."""

from __future__ import annotations

import asyncio

import pytest
from fake_kube import FakeKube
from operator_builders import clock

from coral_operator.heart import Heart, LoopStuckError
from coral_operator.kube.errors import KubeUnavailableError
from coral_operator.loop import FIRST_BACKOFF_S, TURN_S, Loop
from coral_operator.nudge import Nudge
from coral_operator.observe.audit import Audit
from coral_operator.observe.store import WATCHED, Store
from coral_operator.settings import Settings
from coral_operator.status.metrics import ERRORS, LEADER, Metrics
from coral_operator.status.writer import StatusWriter


class FakeStep:
    def __init__(self) -> None:
        self.runs = 0
        self.stale: list[str] = []
        self.fault: Exception | None = None
        self.wait_s: float | None = None

    async def run(self) -> float | None:
        self.runs += 1
        if self.fault is not None:
            raise self.fault
        return self.wait_s

    async def report_stale(self, problem) -> None:
        self.stale.append(problem.reason.value)


class FakeLease:
    is_held = True


class World:
    def __init__(self) -> None:
        self.clock = clock()
        self.step, self.lease = FakeStep(), FakeLease()
        self.store = Store(self.clock, lambda: None)
        self.store.attach({watched.index_id: {} for watched in WATCHED})
        self.heart = Heart(self.clock, 100.0)
        self.metrics = Metrics()
        self.kube = FakeKube()
        self.loop = Loop(
            clock=self.clock,
            settings=Settings(resync_s=60.0, stale_after_s=30.0),
            store=self.store,
            audit=Audit(self.store, self.kube),
            lease=self.lease,
            step=self.step,
            statuses=StatusWriter(self.kube),
            nudge=Nudge(self.clock),
            heart=self.heart,
            counters=self.metrics,
        )

    def turn(self) -> float:
        return asyncio.run(self.loop.turn())

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def world() -> World:
    made = World()
    made.store.pulse()
    return made


def test_a_sound_operator_does_steps_at_the_usual_distance(world):
    assert world.turn() == 60.0
    world.step.wait_s = 3.0
    assert world.turn() == 3.0
    assert world.step.runs == 2


def test_without_the_lease_nothing_is_done_and_the_operator_counts_as_alive(world):
    world.lease.is_held = False
    world.clock.advance(99)
    assert world.turn() == TURN_S
    world.clock.advance(99)
    world.heart.check()
    assert (world.step.runs, world.sample(LEADER.name)) == (0, 0.0)


def test_before_all_lists_are_complete_nothing_is_done():
    world = World()
    assert world.turn() == TURN_S
    assert world.step.runs == 0


def test_stale_inputs_stop_the_work_and_are_told_once(world):
    world.clock.advance(31)
    world.turn()
    world.turn()
    assert (world.step.runs, world.step.stale) == (0, ["StaleInput"])
    world.store.pulse()
    world.turn()
    assert world.step.runs == 1


def test_watches_that_stay_silent_end_in_a_restart(world):
    world.turn()
    for _ in range(14):
        world.clock.advance(10)
        world.turn()
    # Believed for the first 30 of 140 s.
    with pytest.raises(LoopStuckError, match="silent for 110 s"):
        world.heart.check()


def test_a_fault_of_the_api_server_is_waited_out_longer_and_longer(world):
    world.step.fault = KubeUnavailableError("down", status=503)
    waits = [world.turn() for _ in range(7)]
    assert waits == [FIRST_BACKOFF_S, 2, 4, 8, 16, 30, 30]
    assert world.sample(f"{ERRORS.name}_total", reason="ApiUnavailable") == 7
    world.step.fault = None
    assert world.turn() == 60.0
    world.step.fault = KubeUnavailableError("down", status=503)
    assert world.turn() == FIRST_BACKOFF_S


def test_a_bug_is_survived_but_the_heart_stops_so_that_the_process_is_restarted(world):
    world.step.fault = ZeroDivisionError("a bug")
    for _ in range(11):
        world.store.pulse()
        world.turn()
        world.clock.advance(10)
    assert world.sample(f"{ERRORS.name}_total", reason="InternalError") == 11
    with pytest.raises(LoopStuckError):
        world.heart.check()


def test_the_indexes_are_audited_at_the_start_and_after_a_cut_stream(world):
    def audits() -> int:
        return sum(1 for verb, plural in world.kube.requests if (verb, plural) == ("list", "nodes"))

    world.turn()
    world.turn()
    assert audits() == 1
    world.store.relisted = True
    world.turn()
    assert audits() == 2
    world.clock.advance(301)
    world.store.pulse()
    world.turn()
    assert audits() == 3


def test_a_burst_of_changes_is_one_step():
    async def scenario() -> list[bool]:
        nudge = Nudge(clock())
        for _ in range(50):
            nudge()
        return [await nudge.wait(0.01), await nudge.wait(0.01)]

    assert asyncio.run(scenario()) == [True, False]


def test_a_burst_that_never_ends_is_cut():
    async def scenario() -> bool:
        time = clock()
        nudge = Nudge(time)

        async def keep_nudging() -> None:
            while True:
                nudge()
                time.advance(0.1)
                await asyncio.sleep(0)

        task = asyncio.create_task(keep_nudging())
        try:
            return await nudge.wait(1.0)
        finally:
            task.cancel()

    assert asyncio.run(scenario())
