"""The kinds of objects that the operator reads or writes, as URL paths."""

from __future__ import annotations

from typing import NamedTuple

from coral_api.base import GROUP, VERSION


class Kind(NamedTuple):
    """One kind of object: where it lives in the API.

    ``group`` is empty for the core group.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of the kind's manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the URL path of one object, of a namespace's objects, or of all objects."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


NODES = Kind("", "v1", "nodes", "Node", False)
PODS = Kind("", "v1", "pods", "Pod", True)
SERVICES = Kind("", "v1", "services", "Service", True)
EVENTS = Kind("", "v1", "events", "Event", True)
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment", True)
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease", True)
MULTI_LLM_SERVICES = Kind(GROUP, VERSION, "multillmservices", "MultiLLMService", True)
PLANNING_POLICIES = Kind(GROUP, VERSION, "planningpolicies", "PlanningPolicy", False)
GPU_POOLS = Kind(GROUP, VERSION, "gpupools", "GPUPool", False)
PERFORMANCE_PROFILES = Kind(GROUP, VERSION, "performanceprofiles", "PerformanceProfile", False)
SERVING_PLANS = Kind(GROUP, VERSION, "servingplans", "ServingPlan", False)

CHILD_KINDS = (DEPLOYMENTS, SERVICES)
"""What an Active service is made of; nothing else is created or pruned for it."""

OWN_KINDS = (MULTI_LLM_SERVICES, PLANNING_POLICIES, GPU_POOLS, PERFORMANCE_PROFILES, SERVING_PLANS)
"""The kinds whose CRDs must be installed before the operator can work."""
