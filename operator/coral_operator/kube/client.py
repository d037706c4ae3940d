"""A few typed requests over the official client; every failure becomes one of our faults."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio import client as kube_client
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient

from coral_operator.children.labels import FIELD_MANAGER
from coral_operator.kube.errors import (
    ConflictError,
    KubeError,
    KubeUnavailableError,
    LeaseLostError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coral_operator.kube.kinds import Kind

Manifest = dict[str, Any]
"""An object as the API server sends and takes it."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
"""Media type that asks the API server for the metadata of objects alone."""

PAGE_SIZE = 500
"""Objects of one page of a list; bounds the memory that a list of all pods takes."""

REQUEST_TIMEOUT_S = 15.0
"""Bound of one request. The Lease's renewal must fit several times into its duration."""

RETRIES = 3
"""Further attempts after a failure that is worth another try."""

FIRST_BACKOFF_S = 0.2
"""Wait before the first further attempt; doubles each time."""


class KubeClient:
    """The requests that the operator makes, and no others.

    Paths are spelled out rather than discovered: the kinds are fixed, and discovery costs a
    start-up round trip per group.

    Parameters
    ----------
    api
        Configured client of the official package; closed by its owner.
    may_write
        Asked before everything but reading, so that an operator that was frozen in the middle of a
        step writes nothing more once it has lost the Lease.
    """

    def __init__(
        self, api: kube_client.ApiClient, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._may_write = may_write
        self._dynamic = DynamicClient(api)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest:
        """Read one object.

        Raises
        ------
        NotFoundError
            If it does not exist.
        KubeError
            On any other failure; also in every other method.
        """
        return await self._request("get", kind.path(namespace, name))

    async def list_uids(self, kind: Kind) -> set[str]:
        """Read the uids of all objects of a kind, over all namespaces, page by page."""
        uids: set[str] = set()
        position: str | None = None
        while True:
            answer = await self._request(
                "get",
                kind.path(),
                header_params={"Accept": METADATA_ONLY},
                limit=PAGE_SIZE,
                _continue=position,
            )
            uids |= {item["metadata"]["uid"] for item in answer["items"] or ()}
            position = answer["metadata"].get("continue")
            if not position:
                return uids

    async def create(self, kind: Kind, body: Manifest) -> Manifest:
        """Create an object.

        Raises
        ------
        ConflictError
            If one of that name exists.
        """
        namespace = body["metadata"].get("namespace")
        return await self._request(
            "post", kind.path(namespace), body=body, field_manager=FIELD_MANAGER
        )

    async def replace(self, kind: Kind, body: Manifest) -> Manifest:
        """Write a whole object; its ``resourceVersion`` guards against lost updates.

        Raises
        ------
        ConflictError
            If it was changed since it was read.
        """
        metadata = body["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self._request("put", path, body=body, field_manager=FIELD_MANAGER)

    async def apply(self, kind: Kind, body: Manifest, *, force: bool) -> Manifest:
        """Create or change an object by server-side apply.

        Parameters
        ----------
        force
            Take over fields that somebody else has set to another value: right for an object that
            is ours.

        Raises
        ------
        ConflictError
            Without ``force``, if there are such fields.
        """
        metadata = body["metadata"]
        return await self._request(
            "patch",
            kind.path(metadata.get("namespace"), metadata["name"]),
            body=body,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=force,
        )

    async def json_patch(
        self, kind: Kind, name: str, operations: Sequence[Manifest], namespace: str | None = None
    ) -> Manifest:
        """Apply JSON patch operations; a failing ``test`` operation raises ``KubeError`` 422."""
        return await self._request(
            "patch",
            kind.path(namespace, name),
            body=list(operations),
            content_type="application/json-patch+json",
            field_manager=FIELD_MANAGER,
        )

    async def write_status(
        self, kind: Kind, name: str, status: Manifest, namespace: str | None = None
    ) -> Manifest:
        """Replace the whole ``status`` of an object."""
        return await self._request(
            "patch",
            kind.path(namespace, name) + "/status",
            # A merge patch would keep keys that the new status no longer has.
            body=[{"op": "add", "path": "/status", "value": status}],
            content_type="application/json-patch+json",
            field_manager=FIELD_MANAGER,
        )

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, uid: str | None = None
    ) -> None:
        """Delete an object and, in the background, what it owns. Absent is fine.

        Parameters
        ----------
        uid
            Delete only this incarnation: an object of the same name that somebody made since is
            left alone.
        """
        body: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("delete", kind.path(namespace, name), body=body)
        except NotFoundError:
            return
        except ConflictError:
            # The precondition failed: what carries the name now is not what we meant.
            return

    async def _request(self, method: str, path: str, **params: object) -> Manifest:
        backoff_s = FIRST_BACKOFF_S
        for attempt in range(RETRIES + 1):
            if method != "get" and not self._may_write():
                raise LeaseLostError(f"{method.upper()} {path} was not sent: the Lease is not held")
            try:
                return await self._request_once(method, path, **params)
            except KubeUnavailableError:
                if attempt == RETRIES or method == "post":
                    # A POST may have happened although its answer was lost; the loop's next
                    # step sees what is there.
                    raise
            await asyncio.sleep(backoff_s)
            backoff_s *= 2
        raise AssertionError("unreachable")

    async def _request_once(self, method: str, path: str, **params: object) -> Manifest:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        try:
            response = await self._dynamic.request(
                method, path, serialize=False, _request_timeout=timeout, **params
            )
            answer: Manifest = await response.json()
        except ApiException as error:
            raise _fault(method, path, error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeUnavailableError(
                f"{method.upper()} {path}: the API server does not answer ({error!r})", status=0
            ) from error
        return answer


def _fault(method: str, path: str, error: ApiException) -> KubeError:
    status = int(error.status or 0)
    message = f"{method.upper()} {path}: {status} {_server_message(error)}"
    if status == 404:
        return NotFoundError(message, status=status)
    if status == 409:
        return ConflictError(message, status=status)
    if status in (0, 408, 429) or status >= 500:
        return KubeUnavailableError(message, status=status)
    return KubeError(message, status=status)


def _server_message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


async def load_client_configuration(kubeconfig: str | None) -> kube_client.Configuration:
    """Find the cluster: a named kubeconfig, else the pod's service account.

    Raises
    ------
    KubeError
        If neither is there.
    """
    configuration = kube_client.Configuration()
    try:
        if kubeconfig is not None:
            await kube_config.load_kube_config(
                config_file=kubeconfig, client_configuration=configuration
            )
        else:
            kube_config.load_incluster_config(client_configuration=configuration)
    except kube_config.ConfigException as error:
        raise KubeError(
            f"no cluster to talk to ({error}): run in a pod with a service account, or name a "
            "kubeconfig with --kubeconfig or KUBECONFIG",
            status=0,
        ) from error
    return configuration
