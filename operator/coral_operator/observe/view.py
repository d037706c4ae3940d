"""One consistent reading of everything that the watches have: what a step works on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_api.conditions import Reason
from coral_operator.children.identity import is_ours
from coral_operator.observe.cluster import view_cluster
from coral_operator.planning.inputs import (
    Problem,
    read_gpu_pools,
    read_performance_profiles,
    read_policy,
    read_services,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coral_api.gpupool import GPUPool
    from coral_api.planningpolicy import PlanningPolicySpec
    from coral_operator.kube.client import Manifest
    from coral_operator.observe.cluster import ClusterView
    from coral_operator.observe.store import Store
    from coral_operator.planning.inputs import ServiceInput
    from coral_solver.domain.profile import MeasuredPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the cluster holds, read.

    Attributes
    ----------
    services
        MultiLLMServices of the operator's scope, the broken ones too.
    policy, policy_problem
        How to plan, and what is wrong with the PlanningPolicy.
    gpu_pools, gpu_pool_manifests, gpu_pool_problems
        GPUPools: those that validate, all as they are, and what is wrong, by name.
    profiles, profile_manifests, profile_problems
        PerformanceProfiles: points of those that are used, all as they are, and what is wrong,
        by name.
    cluster
        The GPUs.
    nodes, pods
        As they are, trimmed; of the pods those that ask for GPUs.
    deployments, children
        Deployments of ours; Deployments and Services of ours.
    plans
        ServingPlans as they are.
    """

    services: tuple[ServiceInput, ...]
    policy: PlanningPolicySpec
    policy_problem: Problem | None
    gpu_pools: tuple[GPUPool, ...]
    gpu_pool_manifests: tuple[Manifest, ...]
    gpu_pool_problems: Mapping[str, Problem]
    profiles: Mapping[str, tuple[MeasuredPoint, ...]]
    profile_manifests: tuple[Manifest, ...]
    profile_problems: Mapping[str, Problem]
    cluster: ClusterView
    nodes: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]
    deployments: tuple[Manifest, ...]
    children: tuple[Manifest, ...]
    plans: tuple[Manifest, ...]

    @property
    def problem(self) -> Problem | None:
        """Why no plan can be made for anybody, or None."""
        if self.cluster.discovery.pools:
            return None
        refused = Counter(node.reason for node in self.cluster.discovery.refused)
        if not refused:
            text = "the cluster has no GPU node; add one, or a GPUPool with scaling Elastic"
        else:
            counts = ", ".join(f"{n} {reason}" for reason, n in sorted(refused.items()))
            text = f"no GPU node may be used ({counts}); the events of the nodes say what to change"
        return Problem(Reason.NO_GPU_NODES, text)


def read_view(
    store: Store,
    namespaces: frozenset[str] | None,
    with_status: Callable[[Manifest], Manifest],
) -> View:
    """Read everything.

    Parameters
    ----------
    store
        What the watches have.
    namespaces
        The operator's scope; None: every namespace.
    with_status
        Gives an object the status that was last written to it.
    """
    policy, policy_problem = read_policy(store.objects("planningpolicies_seen"))
    services = read_services(
        map(with_status, store.objects("multillmservices_seen")), policy, namespaces
    )
    pool_manifests = tuple(map(with_status, store.objects("gpupools_seen")))
    gpu_pools, problems = read_gpu_pools(pool_manifests)
    profile_manifests = tuple(map(with_status, store.objects("performanceprofiles_seen")))
    profiles, profile_problems = read_performance_profiles(profile_manifests)
    nodes, pods = store.objects("nodes_seen"), store.objects("pods_seen")
    cluster = view_cluster(nodes, pods, gpu_pools, services)
    deployments = tuple(filter(is_ours, store.objects("deployments_seen")))
    return View(
        services=services,
        policy=policy,
        policy_problem=policy_problem,
        gpu_pools=gpu_pools,
        gpu_pool_manifests=pool_manifests,
        gpu_pool_problems={**problems, **cluster.problems},
        profiles=profiles,
        profile_manifests=profile_manifests,
        profile_problems=profile_problems,
        cluster=cluster,
        nodes=nodes,
        pods=pods,
        deployments=deployments,
        children=(*deployments, *filter(is_ours, store.objects("services_seen"))),
        plans=tuple(map(with_status, store.objects("servingplans_seen"))),
    )
