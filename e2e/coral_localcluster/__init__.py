"""Real Kubernetes clusters on one machine, for tests, the demo and users.

>>> from coral_localcluster import LocalCluster, gpu_nodes
>>> with LocalCluster.ephemeral() as cluster:  # doctest: +SKIP
...     cluster.add_nodes(gpu_nodes(2, "H100", 8))
...     print(cluster.kubectl("get", "nodes"))
"""

from __future__ import annotations

from coral_localcluster.build import Toolset, cached_toolset, ensure_toolset
from coral_localcluster.components import (
    DELETE_DELAY_ANNOTATION,
    FROZEN_ANNOTATION,
    READY_DELAY_ANNOTATION,
)
from coral_localcluster.controlplane import ControlPlaneProvider, LocalCluster
from coral_localcluster.errors import (
    BuildError,
    ClusterApiError,
    ClusterStartError,
    ClusterStateError,
    GoToolchainError,
    InvalidNodeError,
    LocalClusterError,
    PortConflictError,
    WaitTimeoutError,
)
from coral_localcluster.gpus import GPU_PRODUCTS
from coral_localcluster.nodes import (
    GPU_TAINT,
    GpuNodeSpec,
    Taint,
    gpu_node,
    gpu_nodes,
    mixed_fleet,
    parse_fleet,
)
from coral_localcluster.provider import (
    Capabilities,
    Cluster,
    ClusterPhase,
    ClusterProvider,
    ClusterStatus,
    ComponentStatus,
    ReadyStatus,
)
from coral_localcluster.waiting import poll_until

__all__ = [
    "DELETE_DELAY_ANNOTATION",
    "FROZEN_ANNOTATION",
    "GPU_PRODUCTS",
    "GPU_TAINT",
    "READY_DELAY_ANNOTATION",
    "BuildError",
    "Capabilities",
    "Cluster",
    "ClusterApiError",
    "ClusterPhase",
    "ClusterProvider",
    "ClusterStartError",
    "ClusterStateError",
    "ClusterStatus",
    "ComponentStatus",
    "ControlPlaneProvider",
    "GoToolchainError",
    "GpuNodeSpec",
    "InvalidNodeError",
    "LocalCluster",
    "LocalClusterError",
    "PortConflictError",
    "ReadyStatus",
    "Taint",
    "Toolset",
    "WaitTimeoutError",
    "cached_toolset",
    "ensure_toolset",
    "gpu_node",
    "gpu_nodes",
    "mixed_fleet",
    "parse_fleet",
    "poll_until",
]
