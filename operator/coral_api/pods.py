"""How many GPUs a pod holds on its node."""

from __future__ import annotations

from typing import Any

from coral_api.gpu_labels import GPU_RESOURCES

Manifest = dict[str, Any]
"""A Kubernetes object as JSON gives it."""


def section(manifest: Manifest, name: str) -> Manifest:
    """Return a part of a manifest; empty where it is absent or null."""
    part = manifest.get(name)
    return part if isinstance(part, dict) else {}


def is_finished(pod: Manifest) -> bool:
    """Return whether the pod's containers have ended, so that it holds nothing any more.

    A pod that is being deleted holds its GPUs until its phase says that it has ended.
    """
    return section(pod, "status").get("phase") in ("Succeeded", "Failed")


def node_of(pod: Manifest) -> str | None:
    """Return the node that the pod is bound to, or None."""
    return section(pod, "spec").get("nodeName") or None


def requested_gpus(pod: Manifest, resource: str | None = None) -> int:
    """Return the GPUs that a pod takes from its node.

    Parameters
    ----------
    pod
        The pod; ``spec.containers``, ``spec.initContainers`` and ``spec.overhead`` are read.
    resource
        Resource to count; None: the sum over all of ``GPU_RESOURCES``.

    Returns
    -------
    int
        What the scheduler reserves: containers and sidecars together, or an init container with
        the sidecars that were started before it, whichever is more.

    Raises
    ------
    ValueError
        If a quantity is not a whole number.

    Notes
    -----
    Rule: Kubernetes documentation, "Sidecar containers", resource sharing within containers.
    """
    if resource is None:
        return sum(requested_gpus(pod, name) for name in GPU_RESOURCES)
    spec = section(pod, "spec")
    sidecars = 0
    largest_init = 0
    for container in spec.get("initContainers") or ():
        gpus = _container_gpus(container, resource)
        if container.get("restartPolicy") == "Always":
            sidecars += gpus
            largest_init = max(largest_init, sidecars)
        else:
            largest_init = max(largest_init, sidecars + gpus)
    running = sidecars + sum(_container_gpus(c, resource) for c in spec.get("containers") or ())
    overhead = whole_number(section(spec, "overhead").get(resource, 0))
    return max(running, largest_init) + overhead


def _container_gpus(container: Manifest, resource: str) -> int:
    resources = section(container, "resources")
    limits = section(resources, "limits")
    # The API server copies a missing request of an extended resource from its limit.
    return whole_number(section(resources, "requests").get(resource, limits.get(resource, 0)))


def whole_number(quantity: object) -> int:
    """Return a quantity of a device resource.

    Raises
    ------
    ValueError
        If it is not a whole number of at least 0; the API server allows no other.
    """
    text = str(quantity).strip()
    if isinstance(quantity, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{quantity!r} is not a whole number of GPUs")
    return int(text)
