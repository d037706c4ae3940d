"""Command lines of the components, and the files that they read."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

from coral_localcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coral_localcluster.build import Toolset
    from coral_localcluster.layout import Layout

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"
WATCHDOG = "watchdog"

STOP_ORDER: tuple[tuple[str, ...], ...] = (
    (WATCHDOG,),
    (KWOK, SCHEDULER, CONTROLLER_MANAGER),
    # Without etcd the API server lingers for a minute, so it goes first.
    (APISERVER,),
    (ETCD,),
)
"""Components in the order in which a cluster is ended, group by group."""

FAKE_NODE_ANNOTATION = "kwok.x-k8s.io/node"
FAKE_NODE_VALUE = "fake"
FROZEN_ANNOTATION = "localcluster.coral.dev/frozen"
"""On a node: "true" keeps KWOK from touching its conditions."""
READY_DELAY_ANNOTATION = "localcluster.coral.dev/ready-delay"
"""On a pod: how long it stays Pending on its node, such as "3s"."""
DELETE_DELAY_ANNOTATION = "localcluster.coral.dev/delete-delay"
"""On a pod: how long it stays Terminating, such as "3s"."""

# A path relative to the folder that the components run in: the path of a Unix
# socket may have 107 characters at most, and a state folder's may be longer.
_ETCD_SOCKET = "etcd.sock"
_ETCD_PEER_SOCKET = "etcd-peer.sock"

# Documentation and benchmark addresses (RFC 2544): the pods exist nowhere, and a
# mistaken connection to one must not reach a machine of the network around.
_FAKE_POD_CIDR = "198.18.0.0/16"

# The default limits (20 requests per second) would make 1,000 new nodes take a minute.
_CLIENT_LIMITS = ("--kube-api-qps=1000", "--kube-api-burst=2000")


def credentials_command(toolset: Toolset, layout: Layout) -> list[str]:
    """Return the command that makes the certificates and keys; it ends by itself."""
    return [str(toolset.controlplane), "credentials", str(layout.pki_dir)]


def etcd_command(toolset: Toolset, layout: Layout) -> list[str]:
    """Return the command of etcd, which listens on Unix sockets and takes no port."""
    # A lone member never calls its peers, yet insists on having their address.
    nobody = f"http://{LOOPBACK}:1"
    return [
        str(toolset.controlplane),
        ETCD,
        "--name=default",
        f"--data-dir={layout.etcd_dir}",
        f"--listen-client-urls=unix://{_ETCD_SOCKET}",
        f"--advertise-client-urls={nobody}",
        f"--listen-peer-urls=unix://{_ETCD_PEER_SOCKET}",
        f"--initial-advertise-peer-urls={nobody}",
        f"--initial-cluster=default={nobody}",
        # The data ends with the cluster; there is no point in waiting for the disk.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_command(toolset: Toolset, layout: Layout, *, port: int) -> list[str]:
    """Return the command of the API server, on loopback only."""
    pki = layout.pki_dir
    return [
        str(toolset.controlplane),
        APISERVER,
        f"--etcd-servers=unix:{_ETCD_SOCKET}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        # Loopback is no valid endpoint address; nothing here reads those endpoints.
        f"--advertise-address={LOOPBACK}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={layout.token_file}",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def controller_manager_command(toolset: Toolset, layout: Layout) -> list[str]:
    """Return the command of the controller manager, which serves nothing and takes no port."""
    return [
        str(toolset.controlplane),
        CONTROLLER_MANAGER,
        f"--kubeconfig={layout.kubeconfig}",
        f"--service-account-private-key-file={layout.pki_dir}/sa.key",
        f"--root-ca-file={layout.pki_dir}/ca.crt",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # How often node conditions become taints; the default is 5 s.
        "--node-monitor-period=1s",
        # How many nodes per second may be tainted for that; the default is one in
        # ten seconds, and would let each test of a failing node wait for the last.
        "--node-eviction-rate=1000",
        "--secondary-node-eviction-rate=1000",
        "--secure-port=0",
        *_CLIENT_LIMITS,
    ]


def scheduler_command(toolset: Toolset, layout: Layout) -> list[str]:
    """Return the command of the scheduler, which serves nothing and takes no port."""
    return [
        str(toolset.controlplane),
        SCHEDULER,
        f"--kubeconfig={layout.kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        *_CLIENT_LIMITS,
    ]


def kwok_command(toolset: Toolset, layout: Layout) -> list[str]:
    """Return the command of KWOK, for the nodes that carry its annotation."""
    return [
        str(toolset.kwok),
        f"--kubeconfig={layout.kubeconfig}",
        f"--config={layout.stages_file}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={FAKE_NODE_ANNOTATION}={FAKE_NODE_VALUE}",
        "--node-lease-duration-seconds=40",
        f"--node-ip={LOOPBACK}",
        f"--cidr={_FAKE_POD_CIDR}",
    ]


def kubeconfig_text(*, name: str, port: int, token: str, ca_pem: bytes) -> str:
    """Return a kubeconfig that holds all it needs, so that it may be copied elsewhere."""
    context = f"coral-{name}"
    cluster = {
        "server": f"https://{LOOPBACK}:{port}",
        "certificate-authority-data": base64.b64encode(ca_pem).decode("ascii"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def kwok_config_text(stage_files: Sequence[Path]) -> str:
    """Return KWOK's configuration: its own stages, with the handles that tests need.

    The stages decide how nodes become Ready and pods Running. Added to them:
    nodes with `FROZEN_ANNOTATION` are left as they are (KWOK would make a
    NotReady node Ready again within the second), and pods may ask for a delay
    with `READY_DELAY_ANNOTATION` and `DELETE_DELAY_ANNOTATION`.
    """
    documents: list[object] = [
        {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokConfiguration",
            "options": {
                "nodePlayStageParallelism": 16,
                "podPlayStageParallelism": 16,
                "nodeLeaseParallelism": 16,
            },
        }
    ]
    delays = {"pod-ready": READY_DELAY_ANNOTATION, "pod-delete": DELETE_DELAY_ANNOTATION}
    for path in sorted(stage_files):
        stage = yaml.safe_load(path.read_text(encoding="utf-8"))
        name, spec = stage["metadata"]["name"], stage["spec"]
        if spec["resourceRef"]["kind"] == "Node":
            spec["selector"]["matchExpressions"].append(
                {
                    "key": f'.metadata.annotations["{FROZEN_ANNOTATION}"]',
                    "operator": "NotIn",
                    "values": ["true"],
                }
            )
        if name in delays:
            source = {"expressionFrom": f'.metadata.annotations["{delays[name]}"]'}
            spec["delay"] = {"durationMilliseconds": 0, "durationFrom": source}
        documents.append(stage)
    return yaml.safe_dump_all(documents, sort_keys=False)
