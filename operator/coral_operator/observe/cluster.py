"""Read what GPUs there are: for Active services, for Shadow services, and who speaks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_api.conditions import Reason
from coral_api.convert import pool_override
from coral_api.discovery import TOLERATED_TAINT_KEYS, discover
from coral_api.pods import is_finished, node_of, requested_gpus
from coral_operator.children.identity import is_ours
from coral_operator.children.settings import PoolAccess
from coral_operator.planning.inputs import Problem
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import PoolScaling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_api.discovery import Discovery, PoolOverride
    from coral_api.gpupool import GPUPool
    from coral_operator.kube.client import Manifest
    from coral_operator.planning.inputs import ServiceInput
    from coral_solver.domain.hardware import GpuPool, PoolKey
    from coral_solver.domain.plan import ServingInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """The GPUs of the cluster.

    Attributes
    ----------
    discovery
        Pools as Active services see them: GPUs of Coral's own pods count as free.
    shadow_pools
        Pools as Shadow services see them: GPUs of pods that they would replace count as free too.
    overrides
        The GPUPools that could be understood.
    problems
        What is wrong with the others, by name.
    """

    discovery: Discovery
    shadow_pools: tuple[GpuPool, ...]
    overrides: tuple[PoolOverride, ...]
    problems: Mapping[str, Problem]


def view_cluster(
    nodes: Sequence[Manifest],
    pods: Sequence[Manifest],
    gpu_pools: Sequence[GPUPool],
    services: Sequence[ServiceInput],
) -> ClusterView:
    """Find the GPU pools.

    Parameters
    ----------
    nodes, pods
        As the watches have them, trimmed.
    gpu_pools
        The GPUPools that validate.
    services
        For the pods that they would replace.
    """
    overrides, problems = [], {}
    for override in map(pool_override, gpu_pools):
        try:
            # Alone: one GPUPool that cannot mean anything must not hide the cluster.
            discover((), (), (override,), ours=is_ours)
        except InvalidInputError as error:
            problems[override.name] = Problem(Reason.INVALID_POOL, str(error))
        else:
            overrides.append(override)
    discovery = discover(nodes, pods, overrides, ours=is_ours)
    replacing = [s for s in services if s.service is not None and s.service.spec.replaces]
    shadow_pools = discovery.pools
    if replacing:
        shadow_pools = discover(
            nodes,
            pods,
            overrides,
            ours=is_ours,
            free_for=lambda pod: any(replaces(service, pod) for service in replacing),
        ).pools
    return ClusterView(
        discovery=discovery,
        shadow_pools=shadow_pools,
        overrides=tuple(overrides),
        problems=problems,
    )


def replaces(service: ServiceInput, pod: Manifest) -> bool:
    """Return whether a pod is one that a service is to replace."""
    selector = service.service.spec.replaces if service.service is not None else None
    metadata = pod["metadata"]
    return (
        selector is not None
        and metadata["namespace"] == service.ref.namespace
        and not is_ours(pod)
        and selector.matches(metadata.get("labels") or {})
    )


def replaced_usd_per_hour(
    service: ServiceInput, pods: Iterable[Manifest], pools: Iterable[GpuPool]
) -> float | None:
    """Return what the pods that a service is to replace cost; None without ``replaces``.

    Each GPU costs its share of its node. Pods on nodes that are in no pool count nothing.
    """
    if service.service is None or service.service.spec.replaces is None:
        return None
    gpu_usd = {node.name: pool.gpu_usd_per_hour() for pool in pools for node in pool.nodes}
    return round(
        sum(
            requested_gpus(pod) * gpu_usd.get(node_of(pod) or "", 0.0)
            for pod in pods
            if not is_finished(pod) and replaces(service, pod)
        ),
        6,
    )


def pool_access(
    view: ClusterView, instances: Iterable[ServingInstance]
) -> dict[PoolKey, PoolAccess]:
    """Return how pods get onto the nodes of each pool that some instances lie in.

    Depends on nothing but the GPUPools that speak for those nodes, so that a change elsewhere
    does not change, and thereby restart, a pod.
    """
    by_name = {override.name: override for override in view.overrides}
    speaking: dict[PoolKey, dict[str, PoolOverride]] = {}
    for instance in instances:
        for piece in instance.slices:
            found = speaking.setdefault(piece.pool, {})
            if piece.node is None:
                found |= {o.name: o for o in view.overrides if _opens(o, piece.pool)}
            elif piece.node in view.discovery.overrides:
                name = view.discovery.overrides[piece.node]
                found[name] = by_name[name]
    return {
        key: PoolAccess(
            node_labels=min(found.items())[1].match_labels if found else {},
            tolerated_taint_keys=tuple(
                sorted(
                    TOLERATED_TAINT_KEYS.union(*(o.tolerated_taint_keys for o in found.values()))
                )
            ),
        )
        for key, found in speaking.items()
    }


def _opens(override: PoolOverride, key: PoolKey) -> bool:
    """Whether a GPUPool is the elastic one that a pool's nodes are opened from."""
    return (
        override.scaling is PoolScaling.ELASTIC
        and (override.gpu, override.gpus_per_node, override.region)
        == (key.gpu, key.gpus_per_node, key.region)
        and override.kind in (None, key.kind)
    )
