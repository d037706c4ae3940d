"""Runs the operator as users do, as a process of its own against a real API server.

It logs in as a service account that has the chart's ClusterRole and nothing else.
"""

from __future__ import annotations

import itertools
import json
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from coral_api.crds import RESOURCES, write_crds
from coral_demo.operator_process import OperatorProcess
from coral_localcluster import (
    GpuNodeSpec,
    LocalCluster,
    LocalClusterError,
    gpu_nodes,
    poll_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "coral" / "files" / "cluster-role-rules.yaml"
ACCOUNT = "coral-operator-under-test"
PATIENCE_S = 60.0
"""Bound of every wait; a machine with two busy cores is slow, and a failed wait is a failure."""


def install(cluster: LocalCluster, folder: Path) -> Path:
    """Install the CRDs and the operator's account; return a kubeconfig for the account."""
    crds = folder / "crds"
    crds.mkdir()
    write_crds(crds)
    cluster.kubectl("apply", "--server-side", "-f", str(crds))
    names = [f"crd/{resource.crd.plural}.serving.coral.dev" for resource in RESOURCES]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    rbac = "rbac.authorization.k8s.io"
    apply(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": "default"},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": ACCOUNT},
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
        },
    )
    token = cluster.kubectl("create", "token", ACCOUNT, "--duration=24h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


_numbers = itertools.count()


def fresh_nodes(count: int, gpu: str, gpus_per_node: int) -> list[GpuNodeSpec]:
    """Return nodes under names that no test has used.

    KWOK does not always play a node that comes back under the name of one that went.
    """
    return gpu_nodes(count, gpu, gpus_per_node, name_prefix=f"{gpu}-{next(_numbers)}".lower())


def apply(cluster: LocalCluster, *manifests: dict) -> None:
    """Create or change objects as a user does."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    cluster.kubectl("apply", "-f", "-", stdin=text)


class Operator(OperatorProcess):
    """An operator whose log, metrics and health a test reads, and that it may end as it likes."""

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send it a signal, kind or not, and wait; return its exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=PATIENCE_S)

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_file.read_text(encoding="utf-8")

    def metrics(self) -> dict[str, float]:
        """Return the samples that it serves, by name with labels."""
        text = self._read(self.metrics_port, "metrics")
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def metrics_or_none(self) -> dict[str, float]:
        """Return the samples; nothing while it does not serve them yet."""
        try:
            return self.metrics()
        except OSError:
            return {}

    def worker_pid(self) -> int:
        """Return the process id of its planning process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = map(int, children.read_text(encoding="ascii").split())
        return pid

    def health(self) -> str:
        """Return what its liveness probe says; raises where it is not alive."""
        return self._read(self.liveness_port, "healthz")

    def _read(self, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())


class Bench:
    """The cluster as a test sees it."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster

    def apply(self, *manifests: dict) -> None:
        """Create or change objects as a user does."""
        apply(self.cluster, *manifests)

    def patch_service(self, name: str, *operations: dict, namespace: str = "default") -> None:
        """Change a service by JSON patch operations."""
        self.cluster.kubectl(
            "patch", "mls", name, "-n", namespace, "--type=json", "-p", json.dumps(operations)
        )

    def items(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Return all objects of a kind, over all namespaces."""
        text = self.cluster.kubectl("get", kind, "-A", "-o", "json", *arguments)
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def service(self, name: str, namespace: str = "default") -> dict[str, Any]:
        """Return a service."""
        text = self.cluster.kubectl("get", "mls", name, "-n", namespace, "-o", "json")
        found: dict[str, Any] = json.loads(text)
        return found

    def conditions(self, name: str, namespace: str = "default") -> dict[str, tuple[str, str]]:
        """Return status and reason of a service's conditions that speak of its present spec."""
        found = self.service(name, namespace)
        return {
            c["type"]: (c["status"], c["reason"])
            for c in found.get("status", {}).get("conditions", ())
            if c.get("observedGeneration") == found["metadata"]["generation"]
        }

    def message(self, name: str, condition: str) -> str:
        """Return the message of a service's condition."""
        conditions = self.service(name)["status"]["conditions"]
        return next(str(c["message"]) for c in conditions if c["type"] == condition)

    def wait_for(self, name: str, **wanted: str) -> None:
        """Wait until conditions have these reasons, for example ``Ready="AllReady"``."""
        poll_until(
            lambda: {k: v[1] for k, v in self.conditions(name).items()}.items() >= wanted.items(),
            what=f"{name} to be {wanted}",
            detail=lambda: json.dumps(self.service(name).get("status", {}), indent=1),
            timeout_s=PATIENCE_S,
            interval_s=0.2,
        )

    def wait_until(
        self, is_so: Callable[[], object], what: str, detail: Callable[[], str] | None = None
    ) -> None:
        """Wait until something holds; ``detail`` says more where it does not."""
        poll_until(
            lambda: bool(is_so()), what=what, detail=detail, timeout_s=PATIENCE_S, interval_s=0.2
        )

    def children(self, kind: str = "deployments") -> dict[str, dict[str, Any]]:
        """Return the operator's Deployments or Services by name."""
        found = self.items(kind, "-l", "app.kubernetes.io/managed-by=coral")
        return {item["metadata"]["name"]: item for item in found}

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return the operator's pods that are not going, by their Deployment's name."""
        found = self.items("pods", "-l", "app.kubernetes.io/managed-by=coral")
        return {
            item["metadata"]["name"].rsplit("-", 2)[0]: item
            for item in found
            if "deletionTimestamp" not in item["metadata"]
        }

    def plans(self, chain: str = "active") -> list[dict[str, Any]]:
        """Return the ServingPlans of a chain, oldest first."""
        found = [p for p in self.items("servingplans") if p["metadata"]["name"].startswith(chain)]
        return sorted(found, key=lambda p: str(p["metadata"]["name"]))

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Return events of a reason."""
        return self.items("events", f"--field-selector=reason={reason}")

    def clean(self) -> None:
        """Remove all that tests leave, with the operator running or not."""
        for item in self.items("mls"):
            metadata = item["metadata"]
            where = (metadata["name"], "-n", metadata["namespace"])
            if metadata.get("finalizers"):
                patch = '{"metadata":{"finalizers":null}}'
                self.cluster.kubectl("patch", "mls", *where, "--type=merge", "-p", patch)
            self.cluster.kubectl("delete", "mls", *where, "--ignore-not-found", "--wait=false")
        for kind in ("planningpolicies", "gpupools", "performanceprofiles"):
            self.cluster.kubectl("delete", kind, "--all")
        self.wait_until(lambda: not self.items("mls"), "no services")
        for kind in ("deployments", "services"):
            self.cluster.kubectl(
                "delete", kind, "-A", "-l", "app.kubernetes.io/managed-by=coral", "--wait=false"
            )
        self.wait_until(lambda: not self.pods(), "no pods")


def model(name: str, hub: str = "microsoft/phi-4", *, demand: float = 1.0, **extra: Any) -> dict:
    """Return a model of a service; its targets are easy for an L40S or better."""
    return {
        "name": name,
        "source": {"huggingFace": hub},
        "slo": {"ttftMilliseconds": 1500, "tpotMilliseconds": 100},
        "workload": {"inputTokens": {"mean": 800}, "outputTokens": {"mean": 150}},
        "demand": {"requestsPerSecond": demand},
        **extra,
    }


def service(
    name: str, *models: dict, namespace: str = "default", mode: str = "Active", **spec: Any
) -> dict:
    """Return a MultiLLMService."""
    return {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "MultiLLMService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"mode": mode, "models": list(models) or [model("phi-4")], **spec},
    }


def demand_of(requests_per_second: float, number: int = 0) -> dict:
    """Return the patch that changes the demand of a service's model."""
    path = f"/spec/models/{number}/demand/requestsPerSecond"
    return {"op": "replace", "path": path, "value": requests_per_second}


def running(
    cluster: LocalCluster, folder: Path, *arguments: str
) -> Iterator[tuple[Bench, Operator]]:
    """Install everything, run an operator, and leave nothing behind."""
    kubeconfig = install(cluster, folder)
    bench = Bench(cluster)
    operator = Operator(kubeconfig, folder, arguments)
    try:
        yield bench, operator
    finally:
        try:
            bench.clean()
        except LocalClusterError:
            print(operator.log())
            raise
        finally:
            status = operator.end()
            cluster.remove_nodes()
            cluster.kubectl("delete", "servingplans", "--all")
            cluster.kubectl("delete", "lease", "coral-operator", "--ignore-not-found")
    assert status == 0, operator.log()
    assert "Traceback" not in operator.log(), operator.log()
    # Its role allows all that it does; only a namespace that is ending forbids too.
    refused = [line for line in operator.log().splitlines() if "forbidden" in line.lower()]
    assert all("because it is being terminated" in line for line in refused), operator.log()
