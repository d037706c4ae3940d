"""The catalogue: where templates come from, and that it makes no difference."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.templates.test_library import A10G, L4, L40S, pool, served

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.pricing import Allowance, Room
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import Phase, ServingMode
from coral_solver.templates import catalogue as catalogue_module
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue, TemplateMethod
from coral_solver.templates.dynamic_pricer import DynamicPricer
from coral_solver.templates.library import TemplateLibrary
from coral_solver.templates.library_pricer import LibraryPricer

ENDLESS = Allowance(np.array([np.inf]), np.array([np.inf]))
CONFIGS = tuple(sorted([*L4[:3], *A10G[:2], *L40S[:3]]))


def catalogue(**changes):
    options = {"space": PlacementSpace.PAPER, "max_nodes": 3, "method": TemplateMethod.AUTO}
    return TemplateCatalogue(CatalogueOptions(**(options | changes)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_nodes": 0}, "templates have 1 to 12"),
        ({"max_nodes": 13}, "templates have 1 to 12"),
        ({"max_nodes": 7, "method": TemplateMethod.LIBRARY}, "use the method auto or pricing"),
        ({"space": PlacementSpace.VLLM, "method": TemplateMethod.PRICING}, "from a library"),
        ({"rho": float("nan")}, "rho is nan"),
    ],
)
def test_options_that_cannot_be_are_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        catalogue(**values)


def test_all_faults_are_told_at_once():
    with pytest.raises(InvalidInputError) as caught:
        catalogue(max_nodes=0, rho=0.0)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("mode", [ServingMode.AGGREGATED, ServingMode.DISAGGREGATED])
def test_both_ways_price_the_same_templates(mode):
    """On real tables; the library lists no pipeline that its parts replace at the same cost."""
    model = served(serving=mode)
    listed = catalogue(method=TemplateMethod.LIBRARY)
    searched = catalogue(method=TemplateMethod.PRICING)
    rng = np.random.default_rng(0)
    gpus = np.array([config.gpu_count for config in CONFIGS])
    for phase in mode.phases:
        one = listed.pricer(model, phase, CONFIGS)
        two = searched.pricer(model, phase, CONFIGS)
        assert isinstance(one, LibraryPricer)
        assert isinstance(two, DynamicPricer)
        assert one.configs == two.configs == CONFIGS
        for slots in (1000, 2, 1):
            prices = gpus * rng.uniform(0.5, 2.0, len(CONFIGS))
            room = Room(np.eye(len(CONFIGS), dtype=np.int64), np.full(len(CONFIGS), slots))
            expected = one.staircase(prices, room, 1e9)
            found = two.staircase(prices, room, 1e9)
            everything = one.within(prices, room, ENDLESS, 10**6)
            capacity_of = dict(
                zip(map(tuple, everything.counts), everything.capacity_req_per_s, strict=True)
            )
            for rate, cost in zip(expected.capacity_req_per_s, expected.cost, strict=True):
                reached = found.cost[found.capacity_req_per_s >= rate * (1 - 1e-9)]
                assert reached[0] <= cost * (1 + 1e-9)
            for counts, rate, cost in zip(
                found.counts, found.capacity_req_per_s, found.cost, strict=True
            ):
                known = capacity_of.get(tuple(counts))
                if known is not None:
                    assert known == pytest.approx(rate, rel=1e-9)
                reached = expected.cost[expected.capacity_req_per_s >= rate * (1 - 1e-9)]
                assert known is None or reached[0] == pytest.approx(cost, rel=1e-9)
            # Both build the template that they have priced.
            same = np.isin(found.capacity_req_per_s, expected.capacity_req_per_s)
            assert same.any()
            template = two.template(int(found.handles[same][0]))
            row = int(np.flatnonzero(expected.capacity_req_per_s == template.capacity_req_per_s)[0])
            assert one.template(int(expected.handles[row])).config_counts == template.config_counts
            assert template.model_id == model.id
            assert template.made_for == model.targets_digest
            assert template.phase is phase
            assert template.prediction.error_share is not None


def test_gpu_types_that_the_model_may_not_use_are_in_no_template():
    model = served(denied_gpus=frozenset({"L4"}))
    for method in (TemplateMethod.LIBRARY, TemplateMethod.PRICING):
        pricer = catalogue(method=method).pricer(model, Phase.WHOLE, CONFIGS)
        room = Room(np.eye(len(CONFIGS), dtype=np.int64), np.full(len(CONFIGS), 9))
        found = pricer.staircase(np.ones(len(CONFIGS)), room, 1e9)
        assert len(found.cost) > 0
        assert pricer.configs == CONFIGS
        assert not found.counts[:, [c.gpu == "L4" for c in CONFIGS]].any()


@pytest.mark.parametrize("method", list(TemplateMethod))
def test_there_is_no_pricer_where_there_is_no_template(method):
    model = served(allowed_gpus=frozenset())
    assert catalogue(method=method).pricer(model, Phase.WHOLE, CONFIGS) is None


def test_the_library_is_taken_where_it_is_small(monkeypatch):
    model = served()
    assert catalogue().is_listed(model, CONFIGS)
    assert not catalogue(max_nodes=12).is_listed(model, CONFIGS)
    assert catalogue(space=PlacementSpace.VLLM, max_nodes=12).is_listed(model, CONFIGS)
    # 8 configurations: 8 + 36 + 120 multisets of 1 to 3.
    monkeypatch.setattr(catalogue_module, "MOST_LISTED", 163)
    assert not catalogue().is_listed(model, CONFIGS)
    assert catalogue(method=TemplateMethod.LIBRARY).is_listed(model, CONFIGS)


def test_prepare_builds_libraries_only_where_they_are_used():
    problem = PlanningProblem(models=(served(),), pools=(pool("L4", 4), pool("L40S", 4)))
    reports = []
    catalogue(method=TemplateMethod.PRICING).prepare(problem, lambda *done: reports.append(done))
    assert reports == []
    catalogue().prepare(problem, lambda *done: reports.append(done))
    assert reports[-1] == (9, 9)  # 2 + 3 + 4 multisets


def test_no_library_is_built_for_a_problem_that_takes_too_many_in_all(monkeypatch):
    one = PlanningProblem(models=(served(),), pools=(pool("L4", 4), pool("L40S", 4)))
    two = PlanningProblem(
        models=(served(id="a"), served(id="b", demand_req_per_s=5.0)), pools=one.pools
    )
    monkeypatch.setattr(catalogue_module, "MOST_LISTED_IN_ALL", 9)  # 2 + 3 + 4 of one model
    source, reports = catalogue(), []
    configs = configs_on_offer(two.pools, whole_nodes_only=True)

    source.prepare(two, lambda *done: reports.append(done))

    assert reports == []
    for model in two.models:
        pricer = source.pricer(model, Phase.WHOLE, configs)
        assert isinstance(pricer, DynamicPricer)
        assert source.pricer(model, Phase.WHOLE, configs) is pricer
    source.prepare(one, lambda *done: reports.append(done))
    assert isinstance(source.pricer(one.models[0], Phase.WHOLE, configs), LibraryPricer)


def test_the_others_have_their_libraries_where_one_model_is_too_large_for_one(monkeypatch):
    small = served(id="a", allowed_gpus=frozenset({"L40S"}))
    large = served(id="b")
    pools = (pool("L4", 4), pool("L40S", 4))
    configs = configs_on_offer(pools, whole_nodes_only=True)
    monkeypatch.setattr(catalogue_module, "MOST_LISTED", 8)  # 3 of one configuration, 9 of two
    source, reports = catalogue(), []

    source.prepare(
        PlanningProblem(models=(small, large), pools=pools), lambda *done: reports.append(done)
    )

    assert reports[-1] == (3, 3)
    monkeypatch.setattr(source, "_dynamic_pricer", None)  # nothing is left to build
    assert isinstance(source.pricer(small, Phase.WHOLE, configs), LibraryPricer)
    assert isinstance(source.pricer(large, Phase.WHOLE, configs), DynamicPricer)


def test_a_large_model_without_demand_changes_nothing_for_the_others(monkeypatch):
    small = served(id="a", allowed_gpus=frozenset({"L40S"}))
    idle = served(id="b", demand_req_per_s=0.0)
    monkeypatch.setattr(catalogue_module, "MOST_LISTED", 8)
    monkeypatch.setattr(catalogue_module, "MOST_LISTED_IN_ALL", 8)
    source, reports = catalogue(), []
    monkeypatch.setattr(source, "_dynamic_pricer", None)  # nor is anything built for it
    source.prepare(
        PlanningProblem(models=(small, idle), pools=(pool("L4", 4), pool("L40S", 4))),
        lambda *done: reports.append(done),
    )
    assert reports[-1] == (3, 3)


def test_all_pricers_of_one_problem_are_kept(monkeypatch):
    monkeypatch.setattr(catalogue_module, "KEPT_PRICERS", 2)
    pools = (pool("L4", 4), pool("L40S", 4))
    configs = configs_on_offer(pools, whole_nodes_only=True)
    models = tuple(served(id=name) for name in "abcd")
    source = catalogue(method=TemplateMethod.PRICING)
    built = []
    build = source._dynamic_pricer
    monkeypatch.setattr(
        source,
        "_dynamic_pricer",
        lambda model, *rest: built.append(model.id) or build(model, *rest),
    )

    source.prepare(PlanningProblem(models=models[:2], pools=pools))
    source.prepare(PlanningProblem(models=models, pools=pools))
    for model in models:
        assert source.pricer(model, Phase.WHOLE, configs) is not None
    assert sorted(built) == list("abcd")

    # A smaller one has no use for the oldest.
    source.prepare(PlanningProblem(models=(served(id="e"),), pools=pools))
    assert source.pricer(models[0], Phase.WHOLE, configs) is not None
    assert sorted(built) == list("aabcde")


def test_the_scope_says_how_many_nodes_a_template_may_have():
    assert "at most 12 node configurations" in catalogue(max_nodes=12).scope
    assert "paper placement space" in catalogue(max_nodes=12).scope


def test_slices_are_prepared_for_a_plan_that_may_cut_nodes(monkeypatch):
    model, pools = served(), (pool("L40S", 4),)
    source = catalogue(max_nodes=2)
    source.prepare(PlanningProblem(models=(model,), pools=pools), whole_nodes_only=False)

    def search(*_args, **_kwargs):
        raise AssertionError("a search inside the time of the plan")

    monkeypatch.setattr(TemplateLibrary, "_search", search)
    configs = configs_on_offer(pools, whole_nodes_only=False)
    assert len(configs) == 3
    assert source.pricer(model, model.serving.phases[0], configs) is not None
