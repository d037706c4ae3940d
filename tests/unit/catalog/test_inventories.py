"""Inventories that come with Coral, and how they become pools."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_solver.catalog import (
    InventoryRow,
    inventory,
    inventory_names,
    inventory_pools,
)
from coral_solver.domain.errors import CatalogError, InvalidInputError
from coral_solver.domain.hardware import CapacityKind, PoolScaling

NAME = "alibaba-spot-gpu-2026"


def row(**changes):
    values = {"gpu": "L4", "gpus_per_node": 4, "nodes": 2, "region": "us-east-2", "where": "line 2"}
    return InventoryRow(**(values | changes))


def test_the_packaged_inventory_has_the_counts_of_its_source():
    counts = {(r.gpu, r.gpus_per_node): r.nodes for r in inventory(NAME)}
    # A10 2,494; A100 432 + A800 22; H800 219 (see SOURCES.md).
    assert counts == {("A10G", 1): 2494, ("A100-80GB", 8): 432 + 22, ("H100", 8): 219}


def test_every_packaged_inventory_is_priced():
    for name in inventory_names():
        assert inventory_pools(inventory(name))


def test_scaling_down_keeps_one_of_each_and_the_proportions():
    # 13 nodes beyond one each: 13 * (2494, 454, 219) / 3167 = 10.24, 1.86, 0.90; two remainders.
    counts = [r.nodes for r in inventory(NAME, nodes=16)]
    assert counts == [11, 3, 2]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(3, 3167))
def test_scaling_gives_exactly_the_nodes_asked_for(nodes):
    rows = inventory(NAME, nodes=nodes)
    assert sum(r.nodes for r in rows) == nodes
    assert all(r.nodes >= 1 for r in rows)


@pytest.mark.parametrize("nodes", [2, 3168, -1])
def test_an_impossible_size_is_refused(nodes):
    with pytest.raises(InvalidInputError, match="from 3 to 3167"):
        inventory(NAME, nodes=nodes)


def test_an_unknown_inventory_gets_a_proposal():
    with pytest.raises(CatalogError, match=f"did you mean {NAME}"):
        inventory("alibaba-spot-2026")


def test_rows_of_one_pool_are_added_up_and_nodes_are_free():
    (pool,) = inventory_pools([row(), row(nodes=3, where="line 3")])
    assert (len(pool.nodes), pool.free_gpus, pool.node_usd_per_hour) == (5, 20, 4.6016)
    assert pool.nodes[0].name == "us-east-2-l4x4-on-demand-00001"
    assert pool.scaling is PoolScaling.FIXED


def test_a_given_price_goes_first_and_a_ceiling_makes_a_pool_elastic():
    (pool,) = inventory_pools(
        [row(gpu="A10", gpus_per_node=1, nodes=0, node_usd_per_hour=0.5, max_nodes=7)]
    )
    assert pool.node_usd_per_hour == 0.5
    assert (pool.scaling, pool.max_nodes, pool.nodes) == (PoolScaling.ELASTIC, 7, ())


def test_every_row_without_a_price_or_with_two_is_named():
    with pytest.raises(InvalidInputError) as caught:
        inventory_pools(
            [
                row(gpu="A10", gpus_per_node=1, where="line 2"),
                row(kind=CapacityKind.RESERVED, where="line 3"),
                row(node_usd_per_hour=1.0, where="line 4"),
                row(node_usd_per_hour=2.0, where="line 5"),
            ]
        )
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    for words in ("line 2: the price catalogue has no", "line 3: ", "line 4 and line 5: "):
        assert words in text
