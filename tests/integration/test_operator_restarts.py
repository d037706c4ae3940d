"""The operator dies, is doubled, is stopped: the cluster ends up the same and loses nothing."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from operator_support import (
    PATIENCE_S,
    Bench,
    Operator,
    demand_of,
    fresh_nodes,
    install,
    model,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kubeconfig(cluster, tmp_path_factory):
    cluster.add_nodes(fresh_nodes(3, "L40S", 4))
    yield install(cluster, tmp_path_factory.mktemp("account"))
    cluster.remove_nodes()


@pytest.fixture
def bench(cluster, kubeconfig):
    bench = Bench(cluster)
    yield bench
    bench.clean()
    cluster.kubectl("delete", "servingplans", "--all")
    cluster.kubectl("delete", "lease", "coral-operator", "--ignore-not-found")


@pytest.fixture
def start(kubeconfig, tmp_path):
    """Start operators by name; none outlives the test."""
    started: list[Operator] = []

    def start(name: str = "operator", *arguments: str) -> Operator:
        started.append(Operator(kubeconfig, tmp_path, arguments, name=name))
        return started[-1]

    yield start
    for operator in started:
        if operator.is_running:
            operator.end(signal.SIGKILL)


def settled(bench: Bench, name: str = "chat") -> None:
    bench.wait_for(name, Planned="Planned", Applied="Applied", Ready="AllReady")
    wanted = {f"{i['name']}-s0" for i in bench.plans()[-1]["spec"]["instances"]}
    bench.wait_until(lambda: set(bench.pods()) == wanted, f"the pods {sorted(wanted)}")
    assert set(bench.children()) == wanted


def uids(bench: Bench) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in bench.pods().items()}


MOMENTS: dict[str, Callable[[Bench, int], object]] = {
    "before it sees the service": lambda _bench, _plans: True,
    "the plan is written": lambda bench, plans: len(bench.plans()) > plans,
    "a child was made": lambda bench, plans: len(bench.plans()) > plans and bench.children(),
    "all is done": lambda bench, plans: (
        len(bench.plans()) > plans
        and bench.conditions("chat").get("Applied") == ("True", "Applied")
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_operator_that_is_killed_at_any_moment_is_continued_by_the_next(bench, start, moment):
    first = start("same-pod")
    bench.apply(service("chat"), service("steady", model("phi-4", demand=0.5)))
    settled_before = len(bench.plans())
    bench.wait_until(lambda: MOMENTS[moment](bench, settled_before), moment)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = start("same-pod")
    settled(bench)
    bench.wait_for("steady", Ready="AllReady")
    before = uids(bench)
    second.end(signal.SIGKILL)
    bench.patch_service("chat", demand_of(8.0))
    start("same-pod")
    settled(bench)
    steady = {n: u for n, u in before.items() if uids(bench).get(n) == u}
    # The other service's instance went through two deaths of the operator.
    assert steady


def test_a_restart_without_any_change_writes_no_plan_and_restarts_no_pod(bench, start):
    first = start("same-pod")
    bench.apply(service("chat"))
    settled(bench)
    before, plans = uids(bench), [p["metadata"]["name"] for p in bench.plans()]
    versions = {n: d["metadata"]["generation"] for n, d in bench.children().items()}
    assert first.end() == 0
    second = start("same-pod", "--resync-seconds=1")
    bench.wait_until(lambda: steps(second) >= 3, "the new operator's steps")
    assert uids(bench) == before
    assert [p["metadata"]["name"] for p in bench.plans()] == plans
    assert {n: d["metadata"]["generation"] for n, d in bench.children().items()} == versions


def steps(operator: Operator) -> float:
    return operator.metrics_or_none().get("coral_steps_total", 0.0)


def test_a_service_deleted_while_no_operator_runs_is_finished_by_the_next(bench, start):
    first = start("same-pod")
    bench.apply(service("chat"))
    settled(bench)
    first.end(signal.SIGKILL)
    bench.cluster.kubectl("delete", "mls", "chat", "--wait=false")
    assert bench.service("chat")["metadata"]["deletionTimestamp"]
    start("same-pod")
    bench.wait_until(lambda: not bench.items("mls"), "no service")
    bench.wait_until(lambda: not bench.pods() and not bench.children(), "no child")


def test_of_two_operators_one_acts_and_the_other_takes_over_when_it_goes(bench, start):
    first = start("first")
    bench.wait_until(lambda: steps(first) > 0, "the first operator's step")
    second = start("second")
    bench.wait_until(
        lambda: "another operator (first) holds the Lease" in second.log(), "the second to say so"
    )
    bench.apply(service("chat"))
    settled(bench)
    assert second.metrics()["coral_leader"] == 0.0
    assert second.health() == '{"loop": "ok"}'
    assert steps(second) == 0
    # Kindly ended, the first gives the Lease up, and the second need not wait for it to run out.
    assert first.end() == 0
    bench.patch_service("chat", demand_of(5.0))
    settled(bench)
    assert second.metrics()["coral_leader"] == 1.0
    assert len(bench.plans()) == 2


def test_an_operator_that_was_frozen_past_its_lease_ends_instead_of_acting(bench, start):
    frozen = start("frozen")
    bench.apply(service("chat"))
    settled(bench)
    frozen.process.send_signal(signal.SIGSTOP)
    second = start("second")
    bench.wait_until(lambda: second.metrics_or_none().get("coral_leader") == 1.0, "the second")
    bench.patch_service("chat", demand_of(5.0))
    settled(bench)
    plans = len(bench.plans())
    frozen.process.send_signal(signal.SIGCONT)
    assert frozen.process.wait(timeout=PATIENCE_S) == 1
    assert "LeaseLost" in frozen.log()
    assert len(bench.plans()) == plans


def test_without_the_crds_the_operator_says_what_to_install(cluster, kubeconfig, start):
    crd = "gpupools.serving.coral.dev"
    text = cluster.kubectl("get", "crd", crd, "-o", "json")
    cluster.kubectl("delete", "crd", crd)
    try:
        operator = start()
        assert operator.process.wait(timeout=PATIENCE_S) == 1
        assert "does not know GPUPool" in operator.log()
        assert "kubectl apply --server-side -f crds/" in operator.log()
    finally:
        crd_again = json.loads(text)
        crd_again.pop("status")
        crd_again["metadata"] = {"name": crd}
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(crd_again))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{crd}")


def test_a_solver_that_dies_keeps_the_plan_and_is_replaced(bench, start):
    operator = start()
    bench.apply(service("chat"))
    settled(bench)
    before = uids(bench)
    os.kill(operator.worker_pid(), signal.SIGKILL)
    bench.patch_service("chat", demand_of(5.0))
    settled(bench)
    kept = {f"{name}-s0" for name in bench.plans()[-1]["spec"]["diff"]["kept"]}
    assert {n: u for n, u in uids(bench).items() if n in kept} == {n: before[n] for n in kept}
    assert operator.is_running


def test_only_services_of_the_operators_namespaces_are_looked_at(bench, start):
    with bench.cluster.namespace() as mine, bench.cluster.namespace() as theirs:
        start("scoped", f"--namespace={mine}")
        bench.apply(service("in", namespace=mine), service("out", namespace=theirs))
        bench.wait_until(
            lambda: bench.conditions("in", mine).get("Ready") == ("True", "AllReady"), "ours"
        )
        out = bench.service("out", theirs)
        assert "status" not in out
        assert "finalizers" not in out["metadata"]
        bench.cluster.kubectl("delete", "mls", "in", "-n", mine, "--timeout=60s")
