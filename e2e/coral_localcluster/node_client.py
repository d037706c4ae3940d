"""Create, change and delete many nodes quickly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from coral_localcluster.components import FROZEN_ANNOTATION
from coral_localcluster.errors import ClusterApiError
from coral_localcluster.nodes import MANAGED_LABEL
from coral_localcluster.waiting import poll_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from coral_localcluster.nodes import GpuNodeSpec
    from coral_localcluster.provider import ReadyStatus
    from coral_localcluster.rest import Document, RestClient

ItemT = TypeVar("ItemT")

_NODES = "/api/v1/nodes"
_MERGE_PATCH = "application/strategic-merge-patch+json"
_NUM_WORKERS = 16
_POLL_INTERVAL_S = 0.2
_STATUS_TIMEOUT_S = 15.0
_CONFLICT, _NOT_FOUND = 409, 404
_NOT_READY_TAINT = "node.kubernetes.io/not-ready"
_REASON_BY_STATUS = {
    "True": "KubeletReady",
    "False": "KubeletNotReady",
    "Unknown": "NodeStatusUnknown",
}


class NodeClient:
    """Operations on the nodes of one cluster.

    Parameters
    ----------
    rest
        Client of the cluster's API.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def apply(self, nodes: Iterable[GpuNodeSpec], *, timeout_s: float) -> None:
        """Create nodes or bring them to their description; wait until all are Ready."""
        specs = list(nodes)
        if not specs:
            return
        _for_each(self._apply_one, specs)
        self._wait_ready({spec.name for spec in specs}, timeout_s=timeout_s)

    def remove(self, names: Sequence[str] | None, *, timeout_s: float) -> None:
        """Delete nodes by name, or all that `apply` made; wait until they are gone."""
        doomed = set(names) if names is not None else {_name_of(node) for node in self._list()}
        _for_each(self._delete_one, sorted(doomed))
        poll_until(
            lambda: doomed.isdisjoint(_name_of(node) for node in self._list()),
            timeout_s=timeout_s,
            interval_s=_POLL_INTERVAL_S,
            what=f"{len(doomed)} nodes to be gone",
        )

    def set_ready(self, name: str, status: ReadyStatus) -> None:
        """Set a node's Ready condition; anything but "True" also stops KWOK from mending it."""
        # First the annotation, then the status: KWOK sees them in this order.
        frozen = None if status == "True" else "true"
        self._patch(name, {"metadata": {"annotations": {FROZEN_ANNOTATION: frozen}}})
        condition = {
            "type": "Ready",
            "status": status,
            "reason": _REASON_BY_STATUS[status],
            "message": "set by the local cluster",
        }
        self._patch(name, {"status": {"conditions": [condition]}}, subresource="/status")
        poll_until(
            lambda: _ready_status(self._rest.request("GET", f"{_NODES}/{name}")) == status,
            timeout_s=_STATUS_TIMEOUT_S,
            what=f"node {name} to be Ready={status}",
        )

    def set_unschedulable(self, name: str, *, is_unschedulable: bool) -> None:
        """Cordon or uncordon a node."""
        self._patch(name, {"spec": {"unschedulable": is_unschedulable}})

    def _apply_one(self, spec: GpuNodeSpec) -> None:
        manifest = spec.manifest()
        try:
            self._rest.request("POST", _NODES, manifest)
        except ClusterApiError as error:
            if error.fields.get("http_status") != _CONFLICT:
                raise
            self._patch(spec.name, {key: manifest[key] for key in ("metadata", "spec")})
            self._patch(spec.name, {"status": manifest["status"]}, subresource="/status")

    def _delete_one(self, name: str) -> None:
        try:
            self._rest.request("DELETE", f"{_NODES}/{name}")
        except ClusterApiError as error:
            if error.fields.get("http_status") != _NOT_FOUND:
                raise

    def _patch(self, name: str, body: Document, *, subresource: str = "") -> None:
        path = f"{_NODES}/{name}{subresource}"
        self._rest.request("PATCH", path, body, content_type=_MERGE_PATCH)

    def _list(self) -> list[Document]:
        answer = self._rest.request("GET", f"{_NODES}?labelSelector={MANAGED_LABEL}%3Dtrue")
        nodes: list[Document] = answer["items"]
        return nodes

    def _wait_ready(self, names: set[str], *, timeout_s: float) -> None:
        late = set(names)

        def all_ready() -> bool:
            nonlocal late
            late = names - {_name_of(node) for node in self._list() if _accepts_pods(node)}
            return not late

        poll_until(
            all_ready,
            timeout_s=timeout_s,
            # A list of a thousand nodes is 4 MB and costs the API server as much
            # as what is being waited for.
            interval_s=max(_POLL_INTERVAL_S, len(names) / 500),
            what=f"{len(names)} nodes to be Ready",
            detail=lambda: f"{len(late)} are not, such as {min(late)}",
        )


def _for_each(action: Callable[[ItemT], None], items: Sequence[ItemT]) -> None:
    with ThreadPoolExecutor(_NUM_WORKERS) as pool:
        # list() lets the first failure out.
        list(pool.map(action, items))


def _name_of(node: Document) -> str:
    name: str = node["metadata"]["name"]
    return name


def _ready_status(node: Document) -> str | None:
    for condition in node["status"].get("conditions", ()):
        if condition["type"] == "Ready":
            status: str = condition["status"]
            return status
    return None


def _accepts_pods(node: Document) -> bool:
    # A new node carries this taint until the controller manager has seen it Ready.
    taints = node["spec"].get("taints", ())
    return _ready_status(node) == "True" and all(
        taint["key"] != _NOT_READY_TAINT for taint in taints
    )
