"""From Node and Pod manifests to GPU pools: what is free, node by node, and what is refused.

Everything here is a pure function of its inputs; the order of nodes and pods does not matter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coral_api.gpu_labels import GPU_RESOURCES, NodeRefusedError, offers_gpus
from coral_api.pods import Manifest, is_finished, node_of, requested_gpus
from coral_api.pool_override import (
    TOLERATED_TAINT_KEYS,
    PoolOverride,
    override_problems,
    tolerated_taint_keys,
)
from coral_api.usable_node import (
    Notice,
    UsableNode,
    node_labels,
    node_name,
    offered_resources,
    usable_node,
)
from coral_solver.catalog import NoPrice, gpu_type, node_price
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import (
    CapacityKind,
    GpuPool,
    PoolKey,
    PoolNode,
    PoolScaling,
    RefusedNode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "DEFAULT_START_TIME_S",
    "GPU_RESOURCES",
    "TOLERATED_TAINT_KEYS",
    "Discovery",
    "Notice",
    "PoolOverride",
    "discover",
    "requested_gpus",
    "tolerated_taint_keys",
]

DEFAULT_START_TIME_S = 300.0
"""Time until a new instance serves, where no GPUPool says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What a cluster offers.

    Attributes
    ----------
    pools
        Sorted by key.
    refused
        GPU nodes that cannot be used, sorted by name.
    notices
        Sorted by subject.
    unpriced
        Kinds of node that cannot be used only because nobody gave a price, sorted.
    overrides
        Name of the GPUPool that speaks for a GPU node, by node; absent: none does.
    """

    pools: tuple[GpuPool, ...]
    refused: tuple[RefusedNode, ...]
    notices: tuple[Notice, ...]
    unpriced: tuple[PoolKey, ...]
    overrides: Mapping[str, str]


class _Settings(NamedTuple):
    """What a pool has from its GPUPool."""

    scaling: PoolScaling
    max_nodes: int
    start_time_s: float
    site_factor: float


class _Found(NamedTuple):
    """Pools, and what to say about them."""

    pools: tuple[GpuPool, ...]
    notices: tuple[Notice, ...] = ()
    unpriced: tuple[PoolKey, ...] = ()


def discover(
    nodes: Sequence[Manifest],
    pods: Sequence[Manifest],
    overrides: Sequence[PoolOverride] = (),
    *,
    ours: Callable[[Manifest], bool],
    free_for: Callable[[Manifest], bool] = lambda _pod: False,
    default_start_time_s: float = DEFAULT_START_TIME_S,
) -> Discovery:
    """Find the GPU pools of a cluster.

    Parameters
    ----------
    nodes, pods
        Manifests of the cluster, as ``kubectl get nodes,pods -A -o json`` gives them.
    overrides
        The GPUPools. The first by name that selects a node speaks for it.
    ours
        Whether Coral made a pod. The GPUs of such pods count as free.
    free_for
        Whether a pod is one that a service is to replace; its GPUs count as free too.
    default_start_time_s
        Start time of pools for which no GPUPool gives one.

    Returns
    -------
    Discovery
        Nodes without GPUs are in none of its lists.

    Raises
    ------
    InvalidInputError
        If a GPUPool cannot mean anything (reason ``InvalidPool``), or a node has
        no name of its own.
    """
    ordered = sorted(overrides, key=lambda pool: pool.name)
    _check(nodes, ordered)
    held = _held(pods, ours=ours, free_for=free_for)
    usable: list[UsableNode] = []
    refused: list[RefusedNode] = []
    notices: list[Notice] = []
    unpriced: set[PoolKey] = set()
    speaking: dict[str, str] = {}
    for node in sorted(nodes, key=node_name):
        name, labels = node_name(node), node_labels(node)
        if not offers_gpus(labels, offered_resources(node)):
            continue
        matching = [pool for pool in ordered if pool.selects(labels)]
        if matching:
            speaking[name] = matching[0].name
        if len(matching) > 1:
            others = ", ".join(pool.name for pool in matching[1:])
            text = f"GPUPool {matching[0].name} speaks for it; {others} selects it too"
            notices.append(Notice(subject=name, reason="SeveralPools", message=text))
        try:
            found = usable_node(node, held.get(name, ()), matching[0] if matching else None)
        except NodeRefusedError as error:
            text = f"node {name}: {error.message}"
            refused.append(RefusedNode(name=name, reason=error.reason, message=text))
            unpriced.update([error.unpriced] if error.unpriced else [])
        else:
            usable.append(found)
            notices.extend(found.notices)
    pools = _pools_of_nodes(usable, default_start_time_s)
    empty = _pools_without_nodes(ordered, usable, default_start_time_s)
    notices += [*pools.notices, *empty.notices]
    return Discovery(
        pools=tuple(sorted((*pools.pools, *empty.pools), key=lambda pool: pool.key)),
        refused=tuple(refused),
        notices=tuple(sorted(notices, key=lambda notice: (notice.subject, notice.reason))),
        unpriced=tuple(sorted(unpriced.union(empty.unpriced))),
        overrides=speaking,
    )


def _check(nodes: Sequence[Manifest], overrides: Sequence[PoolOverride]) -> None:
    counts = Counter(node_name(node) for node in nodes)
    faults = [f"node {name} is there twice" for name in sorted(counts) if name and counts[name] > 1]
    faults += ["a node has no metadata.name"] if "" in counts else []
    if faults:
        raise InvalidInputError(faults)
    problems = [problem for pool in overrides for problem in override_problems(pool)]
    if problems:
        raise InvalidInputError(problems, reason="InvalidPool")


def _held(
    pods: Sequence[Manifest],
    *,
    ours: Callable[[Manifest], bool],
    free_for: Callable[[Manifest], bool],
) -> Mapping[str, Sequence[Manifest]]:
    """Return the pods that take something away from Coral, by node."""
    held: dict[str, list[Manifest]] = defaultdict(list)
    for pod in pods:
        node = node_of(pod)
        if node is not None and not is_finished(pod) and not ours(pod) and not free_for(pod):
            held[node].append(pod)
    return held


def _pools_of_nodes(usable: Sequence[UsableNode], default_start_time_s: float) -> _Found:
    """Group nodes that are interchangeable."""
    groups: dict[PoolKey, list[UsableNode]] = defaultdict(list)
    for node in usable:
        groups[node.key].append(node)
    pools: list[GpuPool] = []
    notices: list[Notice] = []
    for key, group in groups.items():
        usd = group[0].usd_per_hour
        prices = sorted({node.usd_per_hour for node in group})
        if len(prices) > 1:
            # Existing nodes are paid in any case; the mean keeps their total rent right.
            usd = math.fsum(node.usd_per_hour for node in group) / len(group)
            text = (
                f"its nodes cost {prices[0]:g} to {prices[-1]:g} USD per hour; the mean, {usd:.4g},"
                " is used for each"
            )
            notices.append(Notice(subject=str(key), reason="SeveralPrices", message=text))
        speaking = {node.override.name: node.override for node in group if node.override}
        first = speaking[min(speaking)] if speaking else None
        settings = _settings(first, default_start_time_s)
        if any(_settings(node.override, default_start_time_s) != settings for node in group):
            text = (
                "its nodes differ in scaling, maxNodes, start time or site factor; what GPUPool"
                f" {min(speaking)} says is used for each"
            )
            notices.append(Notice(subject=str(key), reason="SeveralPools", message=text))
        nodes = tuple(sorted(PoolNode(node.name, node.free_gpus) for node in group))
        pools.append(_pool(key, usd, nodes, settings))
    return _Found(tuple(pools), tuple(notices))


def _pools_without_nodes(
    overrides: Sequence[PoolOverride], usable: Sequence[UsableNode], default_start_time_s: float
) -> _Found:
    """Return the elastic pools that have no node yet: one for each capacity kind with a price."""
    names_by_key: dict[PoolKey, set[str]] = defaultdict(set)
    for node in usable:
        names_by_key[node.key].add(node.override.name if node.override else "")
    pools: dict[PoolKey, GpuPool] = {}
    notices: list[Notice] = []
    unpriced: list[PoolKey] = []
    for override in overrides:
        if override.scaling is not PoolScaling.ELASTIC:
            continue
        kinds = {override.kind} if override.kind else set(override.node_usd_per_hour)
        for key in _elastic_keys(override, kinds or {CapacityKind.ON_DEMAND}):
            if override.name in names_by_key.get(key, ()):
                continue
            price = _elastic_price(override, key)
            text = ""
            if isinstance(price, NoPrice):
                text, reason = f"{price.message}; give its price under pricing", "NoPrice"
                unpriced.append(key)
            elif key in names_by_key or key in pools:
                text, reason = f"other nodes or GPUPools already form {key}", "SeveralPools"
            else:
                pools[key] = _pool(key, price, (), _settings(override, default_start_time_s))
            if text:
                notices.append(Notice(subject=override.name, reason=reason, message=text))
    return _Found(tuple(pools.values()), tuple(notices), tuple(unpriced))


def _elastic_keys(override: PoolOverride, kinds: set[CapacityKind]) -> list[PoolKey]:
    if override.gpu is None or override.gpus_per_node is None or override.region is None:
        return []
    gpu = gpu_type(override.gpu)
    link = override.link or gpu.link
    return [
        PoolKey(gpu.name, override.gpus_per_node, link, override.region, kind)
        for kind in sorted(kinds)
    ]


def _elastic_price(override: PoolOverride, key: PoolKey) -> float | NoPrice:
    if key.kind in override.node_usd_per_hour:
        return override.node_usd_per_hour[key.kind]
    price = node_price(key.gpu, key.gpus_per_node, key.region, key.kind)
    return price if isinstance(price, NoPrice) else price.usd_per_hour


def _settings(override: PoolOverride | None, default_start_time_s: float) -> _Settings:
    if override is None:
        return _Settings(PoolScaling.FIXED, 0, default_start_time_s, 1.0)
    start_time_s = override.start_time_s
    return _Settings(
        override.scaling,
        override.max_nodes if override.scaling is PoolScaling.ELASTIC else 0,
        default_start_time_s if start_time_s is None else start_time_s,
        override.site_factor,
    )


def _pool(
    key: PoolKey, usd_per_hour: float, nodes: tuple[PoolNode, ...], settings: _Settings
) -> GpuPool:
    is_elastic = settings.scaling is PoolScaling.ELASTIC
    return GpuPool(
        key=key,
        node_usd_per_hour=usd_per_hour,
        nodes=nodes,
        scaling=settings.scaling,
        # Nodes that exist beyond the ceiling stay usable.
        max_nodes=max(settings.max_nodes, len(nodes)) if is_elastic else 0,
        start_time_s=settings.start_time_s,
        site_factor=settings.site_factor,
    )
