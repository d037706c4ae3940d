"""Read the nodes and pods of a live cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

REQUEST_TIMEOUT_S = 60

_ODD_SHAPES = (AttributeError, KeyError, TypeError, ValueError)
"""What the client library raises for a file with unexpected contents: it does not check them."""


def nodes_and_pods(
    kubeconfig: Path, context: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """List all nodes and pods of a cluster as plain manifests.

    Parameters
    ----------
    kubeconfig
        File with the cluster's address and credentials.
    context
        Context to use; the file's current one if None.

    Raises
    ------
    InvalidInputError
        If the file or the context does not work, or the cluster does not answer.
    """
    try:
        api = config.new_client_from_config(config_file=str(kubeconfig), context=context)
    except (ConfigException, OSError, YAMLError, *_ODD_SHAPES) as fault:
        raise InvalidInputError(
            [f"{kubeconfig} is not a kubeconfig that can be used: {fault}"],
            reason="ClusterUnreachable",
        ) from fault
    try:
        with api:
            core = client.CoreV1Api(api)
            nodes = core.list_node(_request_timeout=REQUEST_TIMEOUT_S)
            pods = core.list_pod_for_all_namespaces(_request_timeout=REQUEST_TIMEOUT_S)
            return (
                [api.sanitize_for_serialization(node) for node in nodes.items],
                [api.sanitize_for_serialization(pod) for pod in pods.items],
            )
    except (OSError, HTTPError) as fault:
        raise InvalidInputError(
            [f"cannot read the cluster of {kubeconfig}: {fault}"], reason="ClusterUnreachable"
        ) from fault
    except ApiException as fault:
        raise InvalidInputError(
            [f"the cluster of {kubeconfig} refuses to list nodes and pods: {fault.reason}"],
            reason="ClusterRefused",
        ) from fault
