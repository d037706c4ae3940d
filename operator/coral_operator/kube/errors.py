"""What can go wrong between the operator and the API server, as typed faults."""

from __future__ import annotations

from coral_solver.domain.errors import CoralError


class KubeError(CoralError):
    """The API server refuses a request.

    Parameters
    ----------
    message
        What was asked and what the server said.
    status
        HTTP status code; 0 where no answer came.
    """

    reason = "ApplyFailed"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(KubeError):
    """The object, or its kind, does not exist (404)."""


class ConflictError(KubeError):
    """Somebody else changed or owns what the request touches (409)."""


class KubeUnavailableError(KubeError):
    """The server cannot be reached, is overloaded, or fails; worth another try."""

    reason = "ApiUnavailable"


class LeaseLostError(CoralError):
    """Another operator holds the Lease, or ours could not be renewed in time."""

    reason = "LeaseLost"
