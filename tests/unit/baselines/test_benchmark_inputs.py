"""What the comparison tables are made from: drawn nodes, and placements with one node a stage."""

from __future__ import annotations

import pytest
from benchmarks.peers import draw_nodes
from benchmarks.space_cost import OneNodeAStage

from coral_solver.catalog import PriceSheet, paper_setup
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import Phase
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

SETUP = paper_setup("core")
POOLS = SETUP.pools[PriceSheet.TABLE_1]


def test_nodes_are_drawn_until_their_rent_is_reached_and_no_further():
    drawn = draw_nodes(POOLS, 100.0, seed=3)
    worth = sum(len(pool.nodes) * pool.node_usd_per_hour for pool in drawn)
    dearest = max(pool.node_usd_per_hour for pool in POOLS)
    assert 100.0 <= worth < 100.0 + dearest
    assert drawn == draw_nodes(POOLS, 100.0, seed=3)
    assert drawn != draw_nodes(POOLS, 100.0, seed=4)


def test_every_cell_has_about_the_same_number_of_gpus():
    drawn = draw_nodes(POOLS, 50_000.0, seed=0)
    gpus = [pool.free_gpus for pool in drawn]
    # About 1,800 GPUs a cell; 8-GPU nodes come about 220 times, give or take 15.
    assert min(gpus) > 0.75 * sum(gpus) / len(gpus)
    assert max(gpus) < 1.25 * sum(gpus) / len(gpus)


@pytest.mark.parametrize("same_size", [False, True])
def test_stages_of_one_node_carry_no_more_than_free_placements_of_the_same_nodes(same_size):
    model = next(m for m in SETUP.models if m.arch.name == "qwen3-32b")
    configs = configs_on_offer(POOLS, whole_nodes_only=True)
    source = OneNodeAStage(same_size=same_size, one_decode_stage=True, max_nodes=3)
    paper = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=3))
    best = {
        (t.phase, tuple(sorted(t.configs))): t.capacity_req_per_s
        for t in paper.templates(model, configs)
    }
    found = list(source.templates(model, configs))
    assert {len(t.stages) for t in found if t.phase is Phase.PREFILL} == {1, 2, 3}
    for template in found:
        assert all(len(stage.configs) == 1 for stage in template.stages)
        assert template.phase is Phase.PREFILL or len(template.stages) == 1
        if same_size:
            assert len({config.gpu_count for config in template.configs}) == 1
        free = best.get((template.phase, tuple(sorted(template.configs))))
        # A multiset that is no template of the paper space carries more in parts.
        assert free is None or template.capacity_req_per_s <= free * (1 + 1e-9)
