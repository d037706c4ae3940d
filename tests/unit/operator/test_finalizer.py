"""A deleted service waits for its children, within a bound, and for nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from fake_kube import FakeKube
from operator_builders import NOW, changed, inputs_of, service

from coral_operator import finalizer
from coral_operator.finalizer import FINALIZER
from coral_operator.kube.errors import KubeError
from coral_operator.kube.kinds import MULTI_LLM_SERVICES

LIMIT = timedelta(seconds=120)


def read(manifest: dict, **metadata: object):
    (found,) = inputs_of(changed(manifest, **metadata))
    return found


def deleted(seconds_ago: float, *finalizers: str):
    stamp = (NOW - timedelta(seconds=seconds_ago)).isoformat()
    return read(service(), deletionTimestamp=stamp, finalizers=list(finalizers))


def test_only_services_that_may_have_children_are_marked():
    assert finalizer.needs_finalizer(read(service()))
    assert not finalizer.needs_finalizer(read(service(mode="Shadow")))
    assert not finalizer.needs_finalizer(read(service(), finalizers=[FINALIZER]))
    assert not finalizer.needs_finalizer(deleted(1))


@pytest.mark.parametrize(
    ("seconds_ago", "has_children", "goes"),
    [(1, True, False), (1, False, True), (121, True, True)],
    ids=["children are still there", "all gone", "too long"],
)
def test_a_deleted_service_goes_with_its_children_or_when_the_limit_passes(
    seconds_ago, has_children, goes
):
    found = finalizer.may_release(
        deleted(seconds_ago, FINALIZER), has_children=has_children, now=NOW, limit=LIMIT
    )
    assert found is goes


def test_a_service_that_is_not_deleted_or_not_marked_is_not_released():
    marked = read(service(), finalizers=[FINALIZER])
    for found in (marked, deleted(500, "other/one")):
        assert not finalizer.may_release(found, has_children=False, now=NOW, limit=LIMIT)


def test_marking_and_releasing_leave_other_finalizers_alone():
    kube = FakeKube()
    kube.put(MULTI_LLM_SERVICES, changed(service(), finalizers=["other/one"]))
    stored = kube.objects["multillmservices", "default", "chat"]
    asyncio.run(finalizer.mark(kube, inputs_of(stored)[0]))
    assert stored["metadata"]["finalizers"] == ["other/one", FINALIZER]
    asyncio.run(finalizer.release(kube, inputs_of(stored)[0]))
    assert stored["metadata"]["finalizers"] == ["other/one"]


def test_a_service_that_changed_since_it_was_read_is_not_written():
    kube = FakeKube()
    kube.put(MULTI_LLM_SERVICES, service())
    stale = read(service(), resourceVersion="long ago")
    with pytest.raises(KubeError):
        asyncio.run(finalizer.mark(kube, stale))
