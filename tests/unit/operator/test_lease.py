"""Of all operators one acts; the others wait, on their own clocks."""

from __future__ import annotations

import asyncio

import pytest
from fake_kube import FakeKube
from operator_builders import clock

from coral_operator.kube.errors import KubeUnavailableError, LeaseLostError
from coral_operator.kube.kinds import LEASES
from coral_operator.kube.lease import Lease, LeaseOptions


class World:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.clock = clock()
        self.gained: list[str] = []

    def lease(self, identity: str) -> Lease:
        options = LeaseOptions(namespace="ns", name="coral", identity=identity, duration_s=15)
        return Lease(self.kube, options, self.clock, lambda: self.gained.append(identity))

    def stored(self) -> dict:
        return self.kube.objects["leases", "ns", "coral"]["spec"]


def look(*leases: Lease) -> None:
    for lease in leases:
        asyncio.run(lease.look())


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_to_look_holds_it(world):
    a, b = world.lease("a"), world.lease("b")
    look(a, b)
    assert (a.is_held, b.is_held, b.holder) == (True, False, "a")
    assert world.gained == ["a"]


def test_a_holder_that_renews_keeps_the_others_out_for_ever(world):
    a, b = world.lease("a"), world.lease("b")
    for _ in range(20):
        look(a, b)
        world.clock.advance(4)
    assert (a.is_held, b.is_held) == (True, False)


def test_a_silent_holder_stops_acting_before_another_may_start(world):
    a, b = world.lease("a"), world.lease("b")
    look(a, b)
    # 2/3 of 15 s is how long it may act, 15 s is how long it keeps others out.
    world.clock.advance(10.5)
    look(b)
    assert (a.is_held, b.is_held) == (False, False)
    world.clock.advance(4)
    look(b)
    assert not b.is_held
    world.clock.advance(1)
    look(b)
    assert b.is_held
    assert world.stored()["leaseTransitions"] == 1


def test_a_waiting_operator_counts_from_what_it_saw_itself(world):
    """The other's clock may be wrong: its stamps are compared, never subtracted."""
    a, b = world.lease("a"), world.lease("b")
    look(a)
    world.clock.advance(1000)
    look(b)
    assert not b.is_held


def test_a_released_lease_is_free_at_once(world):
    a, b = world.lease("a"), world.lease("b")
    look(a, b)
    asyncio.run(a.release())
    look(b)
    assert (a.is_held, b.is_held) == (False, True)


def test_releasing_takes_nothing_from_another_holder(world):
    a, b = world.lease("a"), world.lease("b")
    look(a, b)
    lease = asyncio.run(world.kube.get(LEASES, "coral", "ns"))
    lease["spec"]["holderIdentity"] = "b"
    world.kube.put(LEASES, lease)
    asyncio.run(a.release())
    assert world.stored()["holderIdentity"] == "b"


def test_one_failed_renewal_is_survived(world):
    a = world.lease("a")
    look(a)
    world.kube.faults["get", "coral"] = KubeUnavailableError("down", status=503)
    world.clock.advance(4)
    look(a)
    assert a.is_held
    world.kube.faults.clear()
    world.clock.advance(4)
    look(a)
    world.clock.advance(9)
    assert a.is_held


def test_a_restarted_operator_with_the_same_identity_goes_on_at_once(world):
    look(world.lease("pod-1"))
    again = world.lease("pod-1")
    look(again)
    assert again.is_held
    assert world.stored()["leaseTransitions"] == 0


def test_losing_the_lease_ends_the_operator(world):
    async def scenario() -> None:
        lease = world.lease("a")
        await lease.look()
        stolen = await world.kube.get(LEASES, "coral", "ns")
        stolen["spec"]["holderIdentity"] = "b"
        world.kube.put(LEASES, stolen)
        world.clock.advance(11)
        await lease.keep()

    with pytest.raises(LeaseLostError, match="could not be renewed in time"):
        asyncio.run(scenario())
