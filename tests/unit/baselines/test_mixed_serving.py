"""One solve may mix aggregated and disaggregated serving of one model, and sometimes should."""

from __future__ import annotations

import pytest
from benchmarks.mixed_serving import compare, in_words
from tests.unit.allocation.support import config, model, pool, problem, source, template

from coral_solver.allocation.allocate import allocate
from coral_solver.catalog import paper_setup
from coral_solver.domain.plan import SolveStatus
from coral_solver.domain.workload import Phase, ServingMode
from coral_solver.templates.library import TemplateLibrary

L4, T4 = config("L4"), config("T4")


def test_auto_beats_either_mode_alone_on_a_made_up_instance():
    # 5 req/s. Aggregated: four L4 carry 3 for 4 USD, a T4 carries 1 for 2 USD; twice the four L4,
    # or once and two T4: 8 USD. Disaggregated: a pair carries 4 for 1 + 2 USD; two pairs: 6 USD.
    # Mixed: a pair and a T4: 5 USD.
    pools = [pool("L4", 1, [1] * 8), pool("T4", 1, [1] * 8, gpu_usd=2.0)]
    templates = [
        template("a", 1, T4),
        template("a", 3, L4, L4, L4, L4),
        template("a", 4, L4, phase=Phase.PREFILL),
        template("a", 4, L4, L4, phase=Phase.DECODE),
    ]
    usd = {}
    for mode in ServingMode:
        plan = allocate(problem([model("a", 5, serving=mode)], pools), source(*templates))
        assert plan.status is SolveStatus.OPTIMAL
        assert sum(plan.unmet_req_per_s.values()) == 0
        usd[mode] = plan.cost_usd_per_hour
    assert usd[ServingMode.AGGREGATED] == pytest.approx(8)
    assert usd[ServingMode.DISAGGREGATED] == pytest.approx(6)
    assert usd[ServingMode.AUTO] == pytest.approx(5)


def test_auto_is_proven_cheaper_than_both_on_predicted_templates():
    # Which demands show it depends on the predictions; that some do does not.
    models = {served.arch.name: served for served in paper_setup("extended").models}
    library = TemplateLibrary()
    found = [compare(models["phi-4-14b"], demand, library) for demand in range(20, 44, 3)]
    winners = [compared for compared in found if compared.auto_wins]
    assert winners
    assert all(compared.saved_share > 1e-3 for compared in winners)
    assert all("whole" in in_words(c.auto) and "prefill" in in_words(c.auto) for c in winners)
    for compared in found:
        for plan in compared[:2]:
            assert compared.auto.objective[-1].bound <= plan.cost_usd_per_hour + 1e-6
