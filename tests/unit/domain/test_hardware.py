"""Which node configurations nodes can be cut into."""

from __future__ import annotations

from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    Link,
    NodeConfig,
    PoolKey,
    configs_on_offer,
)


def _pool(gpu: str, gpus_per_node: int) -> GpuPool:
    key = PoolKey(gpu, gpus_per_node, Link.PCIE, "here", CapacityKind.ON_DEMAND)
    return GpuPool(key=key, node_usd_per_hour=1.0)


def test_configurations_on_offer_are_the_powers_of_two_of_each_shape() -> None:
    pools = [_pool("T4", 2), _pool("L4", 6)]
    l4, l4x2, l4x4, t4, t4x2 = (
        NodeConfig(gpu, n, Link.PCIE)
        for gpu, n in (("L4", 1), ("L4", 2), ("L4", 4), ("T4", 1), ("T4", 2))
    )
    assert configs_on_offer(pools) == (l4, l4x2, l4x4, t4, t4x2)
    assert configs_on_offer(pools, whole_nodes_only=True) == (t4x2,)


def test_pools_of_one_shape_offer_their_configurations_once() -> None:
    assert configs_on_offer([_pool("L4", 1), _pool("L4", 1)]) == (NodeConfig("L4", 1, Link.PCIE),)
