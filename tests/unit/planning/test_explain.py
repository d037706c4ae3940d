"""Explanations of tiny plans, with every number worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.unit.allocation.support import (
    config,
    model,
    pool,
    problem,
    running,
    seeded,
    template,
)
from tests.unit.planning.support import GivenPlanner

from coral_solver.domain.clock import ManualClock
from coral_solver.domain.errors import SolverError
from coral_solver.domain.plan import Policy, ScarcityPolicy
from coral_solver.planning.difference import Effect
from coral_solver.planning.explain import MOST_NODES_TRIED, ExplainOptions, explain
from coral_solver.planning.explanation import Limit

L4, T4, A10G = config("L4"), config("T4"), config("A10G")
TEMPLATES = (template("a", 1.0, L4), template("a", 0.5, T4))


def given(demand: float = 3.0):
    """Two L4 at 1 USD (1 req/s each) and eight T4 at 0.9 USD (0.5 req/s each).

    3 req/s take both L4 (2 USD, 2 req/s) and two T4 (1.8 USD, 1 req/s): 3.8 USD/h.
    """
    return problem(
        [model(demand=demand)], [pool("L4", 1, [1, 1]), pool("T4", 1, [1] * 8, gpu_usd=0.9)]
    )


def pool_of(explanation, gpu):
    return next(pool for pool in explanation.pools if pool.gpu == gpu)


def test_one_more_node_saves_exactly_what_a_third_l4_saves():
    found = explain(given(), GivenPlanner(*TEMPLATES))
    assert found.plan.cost_usd_per_hour == pytest.approx(3.8)
    # Three L4 carry 3 req/s for 3 USD: 0.8 USD/h less.
    l4 = pool_of(found, "L4")
    assert l4.one_more_node.effect is Effect.CHEAPER
    assert l4.one_more_node.cost_usd_per_hour == pytest.approx(-0.8)
    assert (l4.is_full, l4.binds, l4.gpus_used, l4.gpus) == (True, True, 2, 2)
    # A ninth T4 would stay idle like six of the eight.
    t4 = pool_of(found, "T4")
    assert t4.one_more_node.effect is Effect.SAME
    assert (t4.is_full, t4.binds, t4.gpus_used, t4.gpus) == (False, False, 2, 8)


def test_without_a_gpu_type_the_plan_costs_what_the_next_best_costs():
    found = explain(given(), GivenPlanner(*TEMPLATES))
    (a,) = found.models
    dearer, less = a.alternatives
    # Without L4 (which is: on T4 only) six T4 cost 5.4: +1.6.
    assert (dearer.limit, dearer.gpu) == (Limit.WITHOUT, "L4")
    assert dearer.difference.cost_usd_per_hour == pytest.approx(1.6)
    assert dearer.difference.effect is Effect.DEARER
    assert dearer.gpus_now == {"T4": 6}
    # Without T4 the two L4 carry 2 of 3 req/s.
    assert (less.limit, less.gpu) == (Limit.WITHOUT, "T4")
    assert less.difference.effect is Effect.SERVES_LESS
    assert less.difference.unmet_req_per_s == pytest.approx(1.0)
    assert less.gpus_now == {"L4": 2}


def test_a_type_that_is_not_used_is_asked_for_as_well():
    pools = [pool("L4", 1, [1] * 4), pool("T4", 1, [1] * 8, gpu_usd=0.9), pool("A10G", 1, [1] * 2)]
    found = explain(problem([model(demand=3)], pools), GivenPlanner(*TEMPLATES))
    (a,) = found.models
    asked = {(other.limit, other.gpu): other.difference for other in a.alternatives}
    # Three L4 cost 3 and six T4 cost 5.4: +2.4, with L4 forbidden or with T4 alone.
    assert asked[Limit.WITHOUT, "L4"].cost_usd_per_hour == pytest.approx(2.4)
    assert asked[Limit.ONLY, "T4"].cost_usd_per_hour == pytest.approx(2.4)
    # Nothing runs on A10G.
    assert asked[Limit.ONLY, "A10G"].level == "NoTemplate"
    assert asked[Limit.ONLY, "A10G"].unmet_req_per_s == pytest.approx(3.0)
    # It runs on L4 alone already: not asked.
    assert (Limit.ONLY, "L4") not in asked


def test_the_only_gpu_type_that_is_allowed_has_no_alternative():
    planner = GivenPlanner(*TEMPLATES)
    only = problem([model(demand=2, allowed=frozenset({"L4"}))], given().pools)
    (a,) = explain(only, planner).models
    assert a.alternatives == ()


def test_tokens_cost_the_rent_over_what_is_served():
    (a,) = explain(given(), GivenPlanner(*TEMPLATES)).models
    # 3.8 USD/h over 3 req/s * 3600 s * (100 + 100) tokens = 2.16 million tokens an hour.
    assert a.usd_per_million_tokens == pytest.approx(3.8 / 2.16)
    assert a.usd_per_million_output_tokens == pytest.approx(3.8 / 1.08)


def test_latencies_are_shown_with_what_is_left_of_the_target():
    (a,) = explain(given(), GivenPlanner(*TEMPLATES)).models
    # Predicted 0.5 s of 1 s, 0.05 s of 0.1 s.
    assert [(use.gpu, use.copies, use.ttft_margin, use.tpot_margin) for use in a.templates] == [
        ("L4", 2, pytest.approx(0.5), pytest.approx(0.5)),
        ("T4", 2, pytest.approx(0.5), pytest.approx(0.5)),
    ]


def test_error_bars_are_those_of_the_predictions():
    l4 = replace(TEMPLATES[0], prediction=replace(TEMPLATES[0].prediction, error_share=0.2))
    (a,) = explain(given(), GivenPlanner(l4, TEMPLATES[1])).models
    assert [use.error_share for use in a.templates] == [0.2, None]


def test_a_shortage_names_the_least_number_of_nodes_that_ends_it():
    # 4 req/s on two L4 and one T4 is 2.5; an A10G has no template.
    pools = [pool("L4", 1, [1, 1]), pool("T4", 1, [1], gpu_usd=0.9), pool("A10G", 1, [1])]
    found = explain(problem([model(demand=4)], pools), GivenPlanner(*TEMPLATES))
    (a,) = found.models
    assert a.shortage.reason == "CapacityShort"
    l4, t4, a10g = a.shortage.remedies
    # Two L4 more: 4 + 0.5 >= 4; one more: 3.5. Three T4 more: 2 + 4 * 0.5 = 4; two: 3.5.
    assert (l4.pool, l4.nodes, l4.is_least) == ("r1/L4x1-pcie/on-demand", 2, True)
    assert (t4.pool, t4.nodes, t4.is_least) == ("r1/T4x1-pcie/on-demand", 3, True)
    # The plan with four L4 costs 4, with two L4 and four T4 5.6; this one costs 2.9.
    assert l4.difference.cost_usd_per_hour == pytest.approx(1.1)
    assert t4.difference.cost_usd_per_hour == pytest.approx(2.7)
    assert l4.difference.unmet_req_per_s == pytest.approx(-1.5)
    assert (a10g.nodes, a10g.tried_nodes) == (None, MOST_NODES_TRIED)


def test_a_shortage_that_one_node_ends_needs_no_further_question():
    planner = GivenPlanner(TEMPLATES[0])
    found = explain(problem([model(demand=3)], [pool("L4", 1, [1, 1])]), planner)
    (remedy,) = found.models[0].shortage.remedies
    assert (remedy.nodes, remedy.is_least) == (1, True)
    assert len(planner.asked) == found.solves == 2  # one more node is the pool's question, too


@pytest.mark.parametrize("missing", [2, 3, 7, 65])
def test_the_search_for_the_least_number_is_exact(missing):
    # Each L4 carries 1 req/s: exactly ``missing`` more are needed.
    tiny = problem([model(demand=1 + missing)], [pool("L4", 1, [1])])
    (remedy,) = explain(tiny, GivenPlanner(TEMPLATES[0])).models[0].shortage.remedies
    assert remedy.nodes == (missing if missing <= MOST_NODES_TRIED else None)
    assert remedy.is_least is (missing <= MOST_NODES_TRIED)


def test_a_model_without_any_template_is_short_for_another_reason():
    found = explain(problem([model(demand=1)], [pool("A10G", 1, [1])]), GivenPlanner(*TEMPLATES))
    (a,) = found.models
    assert a.shortage.reason == "NoTemplate"
    assert a.shortage.usable_pools == ()
    assert a.usd_per_million_tokens is None


def test_a_model_without_demand_raises_no_question():
    planner = GivenPlanner(*TEMPLATES)
    (a,) = explain(problem([model(demand=0)], [pool("L4", 1, [1])]), planner).models
    assert (a.alternatives, a.shortage, a.templates) == ((), None, ())
    assert len(planner.asked) == 2  # the plan, and one more node


def test_only_the_asked_models_are_explained_and_all_are_planned():
    planner = GivenPlanner(*TEMPLATES, template("b", 1.0, L4))
    both = problem([model("a", 1), model("b", 1)], [pool("L4", 1, [1] * 3)])
    found = explain(both, planner, options=ExplainOptions(models={"ns/svc/b"}))
    assert [one.model for one in found.models] == ["ns/svc/b"]
    assert len(found.plan.outcomes) == 2


def test_what_the_time_does_not_allow_is_said():
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    planner = GivenPlanner(*TEMPLATES, clock=clock, takes_s=10.0)
    found = explain(given(), planner, options=ExplainOptions(budget_s=25.0), clock=clock)
    # The plan ends at 10 s, the first question at 20 s, the second at 30 s; then it is too late.
    assert found.solves == 3
    assert len(found.models[0].alternatives) == 2
    assert found.unanswered == (
        "r1/L4x1-pcie/on-demand with 1 more node",
        "r1/T4x1-pcie/on-demand with 1 more node",
    )
    assert all(pool.one_more_node is None and not pool.binds for pool in found.pools)


def test_a_number_of_nodes_that_the_time_cuts_short_is_not_called_the_least():
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    planner = GivenPlanner(TEMPLATES[0], clock=clock, takes_s=1.0)
    short = problem([model(demand=11)], [pool("L4", 1, [1])])
    options = ExplainOptions(budget_s=4.5)
    # The plan, +1, +64, +2 and +4 nodes; then the time is up.
    (remedy,) = explain(short, planner, options=options, clock=clock).models[0].shortage.remedies
    assert (remedy.nodes, remedy.is_least) == (MOST_NODES_TRIED, False)


def test_a_question_that_the_solver_fails_at_leaves_the_others_answered():
    class Failing(GivenPlanner):
        def plan(self, problem, *, progress=None):
            if len(self.asked) == 1:  # the first question: without L4
                self.asked.append(problem)
                raise SolverError("numerical trouble")
            return super().plan(problem, progress=progress)

    found = explain(given(), Failing(*TEMPLATES))
    assert found.unanswered == ("ns/svc/a without L4 (SolverFailed: numerical trouble)",)
    assert [other.gpu for other in found.models[0].alternatives] == ["T4"]
    assert pool_of(found, "L4").binds


def test_every_question_starts_from_what_is_in_force_and_is_charged_alike():
    where = pool("L4", 1, [1, 1], start_time_s=900)
    other = pool("T4", 1, [1] * 4, gpu_usd=0.9, start_time_s=900)
    in_force = [
        running("a-1", TEMPLATES[0], where, where.nodes[0].name),
        running("a-2", TEMPLATES[0], where, where.nodes[1].name),
    ]
    planner = GivenPlanner(*TEMPLATES)
    found = explain(problem([model(demand=2)], [where, other], in_force=in_force), planner)
    assert found.charges_switching
    assert all(len(asked.in_force) == 2 for asked in planner.asked)
    # Two L4 stay for 2 USD; four T4 would cost 3.6 and a quarter of it for starting: +2.5.
    assert found.plan.cost_usd_per_hour == pytest.approx(2.0)
    (a,) = found.models
    assert a.alternatives[0].difference.cost_usd_per_hour == pytest.approx(2.5)
    assert a.alternatives[0].difference.rent_usd_per_hour == pytest.approx(1.6)


def test_under_priority_a_node_more_serves_whoever_comes_first():
    # One L4 for two models that want 2 req/s each: all of it goes to priority 10.
    policy = Policy(scarcity=ScarcityPolicy.PRIORITY)
    models = [model("a", 2, priority=10), model("b", 2)]
    planner = GivenPlanner(template("a", 1.0, L4), template("b", 1.0, L4))
    found = explain(problem(models, [pool("L4", 1, [1])], policy=policy), planner)
    (l4,) = found.pools
    assert l4.one_more_node.level == "served_share_p10"
    assert l4.one_more_node.unmet_by_model == {"ns/svc/a": pytest.approx(-1.0)}
    # a needs one more; b is served once a is: three more.
    needed = {one.model: one.shortage.remedies[0].nodes for one in found.models}
    assert needed == {"ns/svc/a": 1, "ns/svc/b": 3}


def test_an_elastic_pool_at_its_ceiling_binds():
    # Whole nodes of two GPUs at 2 USD; 3 req/s need two, and one may be open.
    elastic = pool("L4", 2, [], max_nodes=1)
    found = explain(problem([model(demand=3)], [elastic]), GivenPlanner(TEMPLATES[0]))
    (l4,) = found.pools
    assert (l4.gpus, l4.gpus_used, l4.is_elastic, l4.opened_nodes) == (2, 2, True, 1)
    assert l4.one_more_node.effect is Effect.SERVES_MORE
    assert l4.one_more_node.cost_usd_per_hour == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_node_more_never_hurts_and_a_type_less_never_helps(seed):
    rng = seeded(seed)
    pools = [
        pool("L4", 2, [2] * rng.randint(1, 2), gpu_usd=rng.choice([0.7, 1.0])),
        pool("T4", 1, [1] * rng.randint(1, 3), gpu_usd=rng.choice([0.3, 0.5])),
    ]
    templates = [
        template("a", rng.choice([1.0, 1.3]), L4),
        template("a", rng.choice([0.4, 0.6]), T4),
        template("b", rng.choice([1.7, 2.2]), L4, T4),
        template("b", 0.8, L4),
    ]
    models = [model("a", rng.choice([1, 2, 4])), model("b", rng.choice([0.5, 2]))]
    found = explain(problem(models, pools), GivenPlanner(*templates))
    worse = {Effect.DEARER, Effect.SERVES_LESS, Effect.MEETS_FEWER_WISHES}
    better = {Effect.CHEAPER, Effect.SERVES_MORE, Effect.MEETS_MORE_WISHES}
    assert not any(pool.one_more_node.effect in worse for pool in found.pools)
    assert not any(
        other.difference.effect in better for one in found.models for other in one.alternatives
    )
