"""What holds for every peer on any problem."""

from __future__ import annotations

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation.support import config, model, pool, problem, seeded, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.allocation.check import check_plan
from coral_solver.baselines.cauchy import cauchy_greedy, cauchy_model_by_model, cauchy_problem
from coral_solver.baselines.homogeneous import homogeneous_problem
from coral_solver.baselines.joint import greedy_joint
from coral_solver.baselines.melange import melange
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.workload import Phase, ServingMode

PEERS = {
    melange: homogeneous_problem,
    greedy_joint: lambda given: given,
    cauchy_model_by_model: cauchy_problem,
    partial(cauchy_greedy, capped=False): cauchy_problem,
    partial(cauchy_greedy, capped=True): cauchy_problem,
}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_every_peer_passes_the_checker_and_is_no_better_than_the_exact_plan(seed):
    rng = seeded(seed)
    pools = []
    for gpu in ("L4", "T4"):
        for region in ("r1", "r2"):
            free = [rng.randint(0, 2) for _ in range(rng.randint(0, 3))]
            elastic = len(free) + rng.randint(0, 2) if rng.random() < 0.3 else None
            pools.append(
                pool(
                    gpu,
                    2,
                    free,
                    region=region,
                    gpu_usd=rng.choice([0.5, 1.0, 1.7]),
                    max_nodes=elastic,
                    start_time_s=rng.choice([0.0, 600.0]),
                    site_factor=rng.choice([1.0, 0.8]),
                )
            )
    modes = [rng.choice(list(ServingMode)) for _ in "ab"]
    models = [
        model(name, rng.choice([0.0, 0.5, 2.0]), serving=mode, headroom=rng.choice([0.0, 0.2]))
        for name, mode in zip("ab", modes, strict=True)
    ]
    configs = [config(gpu, size) for gpu in ("L4", "T4") for size in (1, 2)]
    templates = [
        template(
            name,
            rng.choice([0.3, 0.7, 1.1]) * count,
            *(rng.choice(configs) for _ in range(count)),
            phase=phase,
        )
        for name in "ab"
        for phase in Phase
        for count in (1, 1, 2)
    ]
    asked = problem(models, pools)
    best = allocate(asked, source(*templates))
    for peer, its_problem in PEERS.items():
        plan = peer(asked, source(*templates))
        check_plan(its_problem(asked), plan)
        if best.status is SolveStatus.OPTIMAL and _is_served(plan):
            assert _is_served(best)
            if all(served.headroom == 0 for served in models):
                bound = best.objective[-1].bound
                assert plan.cost_usd_per_hour >= bound * (1 - 1e-6) - 1e-9


def _is_served(plan) -> bool:
    return all(o.reason in ("Served", "NoDemand") for o in plan.outcomes)
