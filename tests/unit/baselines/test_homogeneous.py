"""Peers with one kind of node configuration a replica."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.allocation.support import config, model, pool, problem, running, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.allocation.options import AllocationOptions
from coral_solver.baselines.homogeneous import (
    homogeneous,
    homogeneous_greedy,
    homogeneous_problem,
)
from coral_solver.baselines.run import BASELINES, run_baselines
from coral_solver.domain.clock import ManualClock
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.workload import ServingMode

L4, L4X2, T4 = config("L4"), config("L4", 2), config("T4")
POOLS = [pool("L4", 2, [2, 2]), pool("T4", 1, [1, 1], gpu_usd=0.4)]
TEMPLATES = [
    template("a", 2, L4, T4),  # 1.4 USD
    template("a", 2, L4, L4),  # 2 USD
    template("a", 0.5, T4),
]


def test_mixed_replicas_are_what_the_peer_does_without():
    given = problem([model("a", 2)], POOLS)
    peer = homogeneous(given, source(*TEMPLATES))
    assert allocate(given, source(*TEMPLATES)).cost_usd_per_hour == pytest.approx(1.4)
    assert peer.cost_usd_per_hour == pytest.approx(2)
    assert all(i.template.is_homogeneous for i in peer.instances)
    assert peer.status is SolveStatus.OPTIMAL
    assert "one kind of node configuration each, among the given templates" in peer.bound_scope


def test_replicas_of_one_model_may_differ_from_each_other():
    # 2.5 req/s: a pair of L4 and one T4.
    peer = homogeneous(problem([model("a", 2.5)], POOLS), source(*TEMPLATES))
    assert peer.cost_usd_per_hour == pytest.approx(2.4)


def test_the_greedy_peer_takes_models_by_id_and_the_best_rate_per_usd():
    # Per USD: T4 carries 1.25, the pair of L4 1. Model a buys both T4 (1 req/s), then the pair,
    # which makes the T4 superfluous, but b has had its turn with what a left: two L4.
    templates = [*TEMPLATES, template("b", 1, L4), template("b", 0.9, T4)]
    given = problem([model("a", 2), model("b", 2)], POOLS)
    peer = homogeneous_greedy(given, source(*templates), capped=False)
    assert peer.unmet_req_per_s == {"ns/svc/a": 0, "ns/svc/b": 0}
    assert peer.rent_usd_per_hour == pytest.approx(2 + 2)
    assert peer.status is SolveStatus.FEASIBLE
    # The best: the pair for a, both T4 and one L4 for b.
    exact = homogeneous(given, source(*templates))
    assert exact.rent_usd_per_hour == pytest.approx(2 + 0.8 + 1)


def test_the_peers_share_one_time_limit(monkeypatch):
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    limits_s = []

    def peer(given, its_source, *, options, clock):
        limits_s.append(options.time_limit_s)
        clock.advance(2.0)
        return homogeneous(given, its_source, options=options)

    monkeypatch.setitem(BASELINES, "homogeneous", peer)
    monkeypatch.setitem(BASELINES, "homogeneous_greedy", peer)
    given = problem([model("a", 2)], POOLS)
    options = AllocationOptions(time_limit_s=5.0)
    run_baselines(given, source(*TEMPLATES), options=options, clock=clock)
    assert limits_s == [5.0, 3.0]


def test_every_peer_is_run_and_checked():
    given = problem([model("a", 2)], POOLS)
    plans = run_baselines(given, source(*TEMPLATES))
    assert list(plans) == list(BASELINES)
    best_usd = allocate(given, source(*TEMPLATES)).rent_usd_per_hour
    for name, plan in plans.items():
        check_plan(homogeneous_problem(given), plan)
        assert plan.rent_usd_per_hour >= best_usd - 1e-9
        if name != "greedy_joint":  # the one peer that may mix
            assert plan.rent_usd_per_hour >= plans["homogeneous"].rent_usd_per_hour - 1e-9


def test_mixed_instances_in_force_are_not_the_peers():
    l4, t4 = POOLS
    mixed = running("a-1", TEMPLATES[0], l4, l4.nodes[0].name, t4.nodes[0].name)
    same = running("a-2", TEMPLATES[2], t4, t4.nodes[1].name)
    given = problem([model("a", 2)], POOLS, in_force=[mixed, same])
    assert homogeneous_problem(given).in_force == (same,)


def test_a_model_without_homogeneous_templates_is_left_unserved():
    given = problem([model("a", 2, serving=ServingMode.AGGREGATED)], POOLS)
    peer = homogeneous(given, source(TEMPLATES[0]))
    assert peer.outcomes[0].reason == "NoTemplate"
    assert peer.outcomes[0].unmet_req_per_s == 2
