"""The cheapest plan and its bound, against the integer program over all templates."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.unit.allocation.support import (
    config,
    model,
    pool,
    problem,
    running,
    seeded,
    source,
    template,
)

from coral_solver.allocation import cheapest
from coral_solver.allocation import pool as pool_module
from coral_solver.allocation.affordable import affordable_items
from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.cheapest import CheapestSearch
from coral_solver.allocation.columns import build_space, target_req_per_s
from coral_solver.allocation.coupling import Coupling
from coral_solver.allocation.cuts import add_cuts
from coral_solver.allocation.ground import build_ground
from coral_solver.allocation.master import Master, Relaxation
from coral_solver.allocation.model import PlanModel
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.pool import ColumnPool
from coral_solver.allocation.pricing_problem import Need, PricingProblem
from coral_solver.allocation.scarce import ScarceSearch
from coral_solver.allocation.solver import MipResult, MipStatus, solve_mip
from coral_solver.allocation.table_pricer import TablePricer
from coral_solver.domain.errors import SolverError
from coral_solver.domain.hardware import CapacityKind
from coral_solver.domain.workload import Phase, ServingMode

GPUS = ("A10G", "L4", "T4")
SEEDS = range(30)


def random_instance(seed):
    """Make two or three models on a few pools, with all features on; some do not fit."""
    rng = seeded(seed)
    modes, scale = list(ServingMode), rng.choice([1, 1, 5])
    models = [
        model(
            name,
            round(rng.uniform(0.5, 4) * scale, 2),
            serving=rng.choice(modes),
            headroom=rng.choice([0.0, 0.25]),
            min_replicas=rng.choice([0, 0, 1, 2]),
        )
        for name in "abc"[: rng.randint(2, 3)]
    ]
    pools = []
    for region in ("r1", "r2"):
        for gpu in GPUS:
            size = rng.choice([1, 2, 4])
            free = [rng.randint(0, size) for _ in range(rng.randint(1, 4))]
            made = pool(
                gpu,
                size,
                free,
                region=region,
                gpu_usd=round(rng.uniform(0.3, 2), 2),
                max_nodes=rng.choice([None, None, 4]),
                start_time_s=rng.choice([0.0, 300.0]),
                site_factor=rng.choice([1.0, 1.0, 0.8]),
            )
            pools.append(made)
        spot = CapacityKind.SPOT
        pools.append(pool("L4", 2, [2], region=region, kind=spot, gpu_usd=0.4, site_factor=0.9))
    templates = [
        template(m.id[-1], round(rng.uniform(0.3, 1.2) * n * len(stages), 2), *stages, phase=phase)
        for m in models
        for phase in m.serving.phases
        for n in (1, 2)
        for gpu in GPUS
        for stages in ([config(gpu, n)], [config(gpu, n), config(rng.choice(GPUS), n)])
        if rng.random() < 0.7
    ]
    in_force = []
    for number, what in enumerate(rng.sample(templates, min(3, len(templates)))):
        where = next((p for p in pools if p.key.gpu == what.configs[0].gpu), None)
        fits = [node.name for node in where.nodes if node.free_gpus >= what.configs[0].gpu_count]
        if len(what.configs) == 1 and fits:
            in_force.append(running(f"old-{number}", what, where, fits[0]))
    given = problem(models, sorted(pools, key=lambda p: p.key), in_force=in_force)
    options = AllocationOptions(sum_regions=rng.random() < 0.5, relative_gap=1e-6)
    return given, source(*templates), options


def relaxation_of(given, offered, options):
    ground = build_ground(given, offered, options)
    needs = {
        index: Need(target_req_per_s(m), m.min_replicas) for index, m in enumerate(given.models)
    }
    return Relaxation(ground, PricingProblem(ground, needs), Coupling(ground))


def program_of(space):
    """Return the model and a program in which every wish is met."""
    plan_model = PlanModel(space)
    program = plan_model.program.copy()
    for variable in plan_model.served.values():
        program.lower[variable] = program.upper[variable]
    for variable in plan_model.missing_replicas.values():
        program.upper[variable] = 0.0
    return plan_model, program


def oracle(given, offered, options):
    """Solve over all templates at once; None where the models cannot all be served."""
    space = build_space(given, offered, options)
    plan_model, program = program_of(space)
    if len(plan_model.served) < len(given.models):
        return None
    result = solve_mip(program, plan_model.cost, maximize=False, time_limit_s=60, relative_gap=0.0)
    if result.status is MipStatus.INFEASIBLE:
        return None
    assert result.status is MipStatus.OPTIMAL
    return space, plan_model, program, result


@cache
def solved(seed):
    """Solve a random instance over all templates, once for all tests."""
    return oracle(*random_instance(seed))


def search_of(relaxation, *, time_left_s=lambda: 60.0):
    return CheapestSearch(
        relaxation, ColumnPool(relaxation.ground), incumbent=None, time_left_s=time_left_s
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_and_the_bound_agree_with_the_program_over_all_templates(seed):
    given, offered, options = random_instance(seed)
    exact = solved(seed)
    relaxation = relaxation_of(given, offered, options)
    if len(relaxation.pricing.blocks) == 0 or exact is None:
        served = {block.model for block in relaxation.pricing.blocks}
        if len(served) == len(given.models):
            search = search_of(relaxation)
            search.run()
            assert search.best is None
        return
    best = sum(v * exact[3].values[i] for i, v in exact[1].cost.items())
    search = search_of(relaxation)
    search.run()
    assert not search.impossible
    assert search.bound <= best * (1 + 1e-7) + 1e-7
    assert search.bound == pytest.approx(best, rel=2e-6)
    plan_model = PlanModel(search.best.space)
    values = plan_model.values(search.best.decision)
    assert sum(v * values[i] for i, v in plan_model.cost.items()) == pytest.approx(best, rel=2e-6)


def test_the_instances_are_of_both_kinds():
    found = [solved(seed) is None for seed in SEEDS]
    assert 5 <= sum(found) <= 20


@pytest.mark.parametrize("seed", SEEDS)
def test_at_any_duals_bound_cuts_and_affordable_templates_are_true_of_the_best_plan(seed):
    given, offered, options = random_instance(seed)
    exact = solved(seed)
    if exact is None:
        return
    space, plan_model, _, result = exact
    best = sum(v * result.values[i] for i, v in plan_model.cost.items())
    ground, pricing, coupling = relaxation = relaxation_of(given, offered, options)
    master = Master(pricing, coupling, lambda: 60.0)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        duals = -rng.uniform(0.0, 1.0, coupling.num_rows) * coupling.scales()
        found = master.evaluate(duals)
        assert found.bound <= best + 1e-7
        prices = coupling.prices(found.duals)
        # The best plan, among all columns of the source, satisfies every cut.
        program = plan_model.program.copy()
        first = len(program.row_lower)
        add_cuts(program, plan_model, space, prices, found.answers)
        left = np.zeros(len(program.row_lower))
        np.add.at(
            left,
            program.entry_row,
            np.array(program.entry_value) * result.values[program.entry_variable],
        )
        assert np.all(left[first:] >= np.array(program.row_lower)[first:] - 1e-7)
        # And each of its templates is affordable.
        items = affordable_items(
            ground, pricing, prices, found.answers, best - found.bound, 10**6, lambda: 60.0
        )
        chosen = ColumnPool(ground)
        chosen.add(items, pricing)
        kinds = {(c.model, c.region, c.site_factor, c.template) for c in chosen.space().columns}
        for index in np.flatnonzero(np.round(result.values[plan_model.started])):
            column = space.columns[index]
            assert (column.model, column.region, column.site_factor, column.template) in kinds
    assert relaxation.ground is ground


def test_regions_that_do_not_pair_cost_what_pairing_costs():
    # Prefill is cheap in r1 and decode in r2, but the two must meet in one region: each region
    # costs 1 + 5 USD for 1 req/s, and 1 + 1 if they need not meet.
    apart = ServingMode.DISAGGREGATED
    pools = [
        pool("L4", 1, [1] * 4, region="r1", gpu_usd=1.0),
        pool("T4", 1, [1] * 4, region="r1", gpu_usd=5.0),
        pool("L4", 1, [1] * 4, region="r2", gpu_usd=5.0),
        pool("T4", 1, [1] * 4, region="r2", gpu_usd=1.0),
    ]
    offered = source(
        template("a", 1.0, config("L4"), phase=Phase.PREFILL),
        template("a", 1.0, config("T4"), phase=Phase.DECODE),
    )
    given = problem([model("a", 1.0, serving=apart)], pools)
    for sum_regions, cost in ((False, 6.0), (True, 2.0)):
        relaxation = relaxation_of(given, offered, AllocationOptions(sum_regions=sum_regions))
        master = Master(relaxation.pricing, relaxation.coupling, lambda: 60.0)
        assert master.best.bound == pytest.approx(cost)


def test_replicas_are_part_of_the_bound():
    # One L4 carries all; two replicas are wanted, three beside a demand of nothing.
    offered = source(template("a", 5.0, config("L4")), template("b", 5.0, config("L4")))
    given = problem(
        [model("a", 1.0, min_replicas=2), model("b", 0.0, min_replicas=3)],
        [pool("L4", 1, [1] * 6)],
    )
    relaxation = relaxation_of(given, offered, AllocationOptions())
    search = search_of(relaxation)
    search.run()
    assert search.bound == pytest.approx(5.0)


def test_what_no_mix_of_plans_can_do_is_impossible():
    offered = source(template("a", 1.0, config("L4")), template("b", 1.0, config("L4")))
    given = problem([model("a", 2.0), model("b", 2.0)], [pool("L4", 1, [1] * 3)])
    search = search_of(relaxation_of(given, offered, AllocationOptions()))
    search.run()
    assert search.impossible
    assert search.best is None


def test_without_time_there_is_no_plan_and_a_bound_that_holds():
    given, offered, options = next(
        random_instance(seed) for seed in SEEDS if solved(seed) is not None
    )
    best = oracle(given, offered, options)[3].bound
    search = search_of(relaxation_of(given, offered, options), time_left_s=lambda: 0.0)
    search.run()
    assert search.best is None
    assert not search.impossible
    assert 0.0 <= search.bound <= best + 1e-7


def test_a_solver_that_finds_nothing_leaves_the_plan_that_was_known(monkeypatch):
    given, offered, options = next(
        random_instance(seed) for seed in SEEDS if solved(seed) is not None
    )
    relaxation = relaxation_of(given, offered, options)
    known = search_of(relaxation)
    known.run()

    def nothing(*_args, **_kwargs):
        return MipResult(status=MipStatus.NO_SOLUTION, values=None, bound=-np.inf)

    monkeypatch.setattr(cheapest, "solve_mip", nothing)
    search = CheapestSearch(
        relaxation, ColumnPool(relaxation.ground), incumbent=known.best, time_left_s=lambda: 60.0
    )
    search._pool.add(known._pool._columns, relaxation.pricing)
    search.run()
    assert search.best is known.best
    assert search.bound <= known.bound * (1 + 1e-6)


def test_a_bound_does_not_depend_on_the_order_of_anything():
    given, offered, options = random_instance(1)
    first = relaxation_of(given, offered, options)
    again = relaxation_of(given, replace(offered, given=offered.given[::-1]), options)
    bounds = [Master(r.pricing, r.coupling, lambda: 60.0).best.bound for r in (first, again)]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-12)


def test_needs_below_the_targets_are_what_the_plan_is_held_to():
    # 3 req/s are wanted, one L4 is there: the needs say 1 req/s, and one replica of two.
    offered = source(template("a", 1.0, config("L4")), template("a", 2.0, config("L4", 2)))
    given = problem([model("a", 3.0, min_replicas=2)], [pool("L4", 2, [1, 1])])
    ground = build_ground(given, offered, AllocationOptions())
    pricing = PricingProblem(ground, {0: Need(1.0, 1)})
    search = search_of(Relaxation(ground, pricing, Coupling(ground)))
    search.run()
    assert search.best is not None
    assert search.bound == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_a_cost_bound_where_gpus_are_short_holds_without_a_list_of_all_templates(monkeypatch, seed):
    given, offered, options = random_instance(seed)
    short = replace(
        given,
        models=tuple(replace(m, demand_req_per_s=4 * m.demand_req_per_s) for m in given.models),
    )
    options = replace(options, time_limit_s=4.0)
    listed = allocate(short, offered, options=options)
    monkeypatch.setattr(pool_module, "_EVERYTHING", 0)
    priced = allocate(short, offered, options=options)
    assert priced.objective[0].bound >= listed.objective[0].value - 1e-6
    assert listed.objective[0].bound >= priced.objective[0].value - 1e-6
    # Same shares for the same models: then the bounds are about the same plans.
    shares = [
        [round(outcome.capacity_req_per_s, 5) for outcome in plan.outcomes]
        for plan in (listed, priced)
    ]
    if shares[0] == shares[1]:
        assert priced.objective[-1].bound <= listed.objective[-1].value * (1 + 1e-6)


def test_a_pricer_that_gives_up_does_not_lose_what_is_known(monkeypatch):
    given, offered, options = next(
        random_instance(seed) for seed in SEEDS if solved(seed) is not None
    )
    relaxation = relaxation_of(given, offered, options)
    known = search_of(relaxation)
    known.run()
    search = CheapestSearch(relaxation, known._pool, incumbent=known.best, time_left_s=lambda: 60.0)

    def give_up(*_args, **_kwargs):
        raise SolverError("too many templates are worth a look")

    monkeypatch.setattr(TablePricer, "staircase", give_up)
    monkeypatch.setattr(TablePricer, "within", give_up)
    search.run()
    assert search.best is not None
    assert search.bound <= known.bound * (1 + 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_ever_wider_programs_prove_the_same_cost(monkeypatch, seed):
    exact = solved(seed)
    if exact is None:
        return  # GPUs are short
    monkeypatch.setattr(cheapest, "_WIDTHS", (1, 2, 4, 60_000))
    relaxation = relaxation_of(*random_instance(seed))
    widened = search_of(relaxation)
    widened.run()
    assert widened.bound == pytest.approx(exact[3].bound, rel=2e-6)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 6, 7, 9, 11])  # the others take seconds each
def test_served_levels_are_solved_by_the_program_with_the_bound_in_it(monkeypatch, seed):
    # Without a guess at the shares, every plan comes from the program that the cuts are rows of.
    given, offered, options = random_instance(seed)
    options = replace(options, relative_gap=1e-3)
    short = replace(
        given,
        models=tuple(replace(m, demand_req_per_s=4 * m.demand_req_per_s) for m in given.models),
    )
    listed = allocate(short, offered, options=options)
    monkeypatch.setattr(pool_module, "_EVERYTHING", 0)
    monkeypatch.setattr(ScarceSearch, "_try_shares", lambda *_: None)
    priced = allocate(short, offered, options=options)
    first = listed.objective[0].value
    assert priced.objective[0].value == pytest.approx(first, rel=2e-3, abs=1e-9)
    assert priced.objective[0].gap <= 1.01e-3
