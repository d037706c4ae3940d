"""Faults of a local cluster: one base class, each with a reason and its fields."""

from __future__ import annotations


class LocalClusterError(Exception):
    """Base of every fault that this package raises on purpose.

    Parameters
    ----------
    reason
        CamelCase word that names the fault; stable, so that callers may branch on it.
    message
        One or two sentences for a person: what happened and what to do about it.
    **fields
        Values that the message is about, kept for programs.
    """

    def __init__(self, reason: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        """Return reason and message."""
        return f"{self.reason}: {self.message}"


class GoToolchainError(LocalClusterError):
    """Go is needed to build the cluster's programs, and is missing or too old."""


class BuildError(LocalClusterError):
    """``go build`` of the cluster's programs failed."""


class ClusterStartError(LocalClusterError):
    """A component died, or was not ready in time, while a cluster started."""


class PortConflictError(ClusterStartError):
    """A port that was free when it was chosen was taken before it was used."""


class ClusterStateError(LocalClusterError):
    """The state folder cannot be used: not ours, unreadable, or no such cluster."""


class InvalidNodeError(LocalClusterError):
    """A node was described in a way that no cluster would accept."""


class ClusterApiError(LocalClusterError):
    """The API server, or ``kubectl``, refused a request."""


class WaitTimeoutError(LocalClusterError):
    """Something that was waited for did not happen in time."""
