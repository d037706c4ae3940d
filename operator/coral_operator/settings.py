"""The operator's settings: what its command line and its environment decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process; what concerns the planning is in the PlanningPolicy.

    Attributes
    ----------
    kubeconfig
        File to find the cluster with; None: the pod's service account.
    namespaces
        Scope: services of other namespaces, and their children, are not looked at. None: every
        namespace. Nodes and other pods are always read cluster-wide: GPUs know no namespace.
    lease_namespace, lease_name
        The Lease that operators compete for.
    identity
        Name of this process in the Lease; unique.
    liveness_port, metrics_port
        Ports of ``/healthz`` and ``/metrics``; 0 turns one off.
    cache_dir
        Folder where template libraries are kept between plans; None: in memory only.
    engine_image
        Image of vLLM for models that name none; None: the version that Coral was made for.
    resync_s
        Longest time between two looks at the whole cluster.
    stale_after_s
        Without a sign of life from the watches for so long, nothing is planned or changed.
    plan_history
        ServingPlans that are kept of each chain.
    drain_limit_s
        Longest time that a deleted service waits for its children to go.
    """

    kubeconfig: str | None = None
    namespaces: frozenset[str] | None = None
    lease_namespace: str = "default"
    lease_name: str = "coral-operator"
    identity: str = "coral-operator"
    liveness_port: int = 8080
    metrics_port: int = 9090
    cache_dir: str | None = None
    engine_image: str | None = None
    resync_s: float = 60.0
    stale_after_s: float = 30.0
    plan_history: int = 10
    drain_limit_s: float = 120.0
