"""The paper's setups as data."""

import pytest

from coral_solver.catalog import DemandMix, PriceSheet, paper_setup, paper_workload
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.workload import Phase

CELLS = {
    # node configurations x regions: 3 x 4 x 2 and 5 x 4 x 3; of the latter 32 are sold.
    ("core", PriceSheet.TABLE_1): 24,
    ("core", PriceSheet.LIST): 18,
    ("extended", PriceSheet.TABLE_1): 60,
    ("extended", PriceSheet.LIST): 32,
}


@pytest.mark.parametrize(("setup", "sheet"), CELLS)
def test_the_cells_on_offer(setup, sheet):
    pools = paper_setup(setup).pools[sheet]
    assert len(pools) == len({pool.key for pool in pools}) == CELLS[setup, sheet]
    assert all(pool.node_usd_per_hour > 0 for pool in pools)


def test_table_1_prices_scale_with_the_gpus():
    prices = {pool.name: pool.node_usd_per_hour for pool in paper_setup("core").pools["table-1"]}
    # Table 1: an A10G costs 1.2 L4; an L4 costs 0.8048 USD.
    assert prices["us-east-2/A10Gx8-pcie/on-demand"] == pytest.approx(1.2 * 8 * 0.8048)
    assert prices["us-east-2/L4x1-pcie/on-demand"] == pytest.approx(0.8048)


def test_models_have_the_papers_targets_and_demand():
    core = {model.id: model for model in paper_setup("core").models}
    assert set(core) == {"paper/phi-4-14b", "paper/gpt-oss-20b", "paper/qwen3-32b"}
    phi = core["paper/phi-4-14b"]
    assert (phi.slo.ttft_s, phi.slo.tpot_s, phi.demand_req_per_s) == (1.2, 0.06, 10.0)
    assert phi.serving.phases == (Phase.PREFILL, Phase.DECODE)
    extended = paper_setup("extended").models
    assert len(extended) == 6
    assert {model.demand_req_per_s for model in extended} == {25.0}


@pytest.mark.parametrize(
    ("name", "input_tokens", "output_tokens"),
    [
        # Means of the traces: 1154.7 and 211.1; 2047.8 and 27.9.
        ("azure-conv", 1154.7, 211.13),
        ("azure-code", 2047.85, 27.88),
        ("burstgpt", 1025.5, 165.4),
    ],
)
def test_workloads_keep_the_means_of_their_traces(name, input_tokens, output_tokens):
    workload = paper_workload(name)
    assert workload.input_tokens.mean_tokens == pytest.approx(input_tokens, rel=1e-3)
    assert workload.output_tokens.mean_tokens == pytest.approx(output_tokens, rel=1e-3)
    for lengths in (workload.input_tokens, workload.output_tokens):
        assert list(lengths.points_tokens) == sorted(lengths.points_tokens)


def test_every_substitute_is_listed():
    text = "\n".join(paper_setup("core").substitutes)
    assert "BurstGPT" in text
    assert "ServeGen" in text


def test_unknown_names_get_a_proposal():
    with pytest.raises(CatalogError, match="did you mean extended"):
        paper_setup("extendet")
    with pytest.raises(CatalogError, match="did you mean azure-co"):
        paper_workload("azure")


@pytest.mark.parametrize(
    ("setup", "mix", "large", "other"),
    [
        # 30 req/s over 1 large model and 2 others; 150 over 3 and 3.
        ("core", DemandMix.LARGE_HEAVY, 30 * 4 / 6, 30 * 1 / 6),
        ("core", DemandMix.SMALL_HEAVY, 30 * 0.25 / 2.25, 30 * 1 / 2.25),
        ("extended", DemandMix.LARGE_HEAVY, 150 * 4 / 15, 150 * 1 / 15),
        ("extended", DemandMix.SMALL_HEAVY, 150 * 0.25 / 3.75, 150 * 1 / 3.75),
    ],
)
def test_a_mix_moves_demand_between_models_and_keeps_its_sum(setup, mix, large, other):
    demands = {m.arch.name: m.demand_req_per_s for m in paper_setup(setup, mix).models}
    is_large = {
        "core": {"qwen3-32b"},
        "extended": {"qwen3-235b-a22b", "gpt-oss-120b", "llama-3-70b"},
    }
    for name, demand in demands.items():
        assert demand == pytest.approx(large if name in is_large[setup] else other)
    assert paper_setup(setup, mix).mix is mix
