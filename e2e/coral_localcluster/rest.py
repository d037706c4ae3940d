"""A small client of the Kubernetes API on loopback, for plain JSON.

The official client turns every answer into its own objects, which for a
thousand nodes takes longer than creating them, and it takes the environment's
proxy for loopback too. `LocalCluster.api_client` hands it to those who want it.
"""

from __future__ import annotations

import http.client
import json
import queue
import ssl
from typing import TYPE_CHECKING, Any, Self

from coral_localcluster.errors import ClusterApiError
from coral_localcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from types import TracebackType

    from coral_localcluster.layout import Layout

Document = dict[str, Any]
"""A Kubernetes object as JSON; its shape is the API's, not ours."""

_REQUEST_TIMEOUT_S = 30.0
_NOT_FOUND = 404
_NUM_ATTEMPTS = 2


class RestClient:
    """Requests to one API server, over connections that are kept; any thread may use it.

    Parameters
    ----------
    layout
        Files of the cluster; its authority's certificate and its token exist.
    port
        Port of its API server.
    timeout_s
        Longest wait for one answer, in seconds.
    """

    def __init__(self, layout: Layout, port: int, *, timeout_s: float = _REQUEST_TIMEOUT_S) -> None:
        self._port = port
        self._timeout_s = timeout_s
        token = layout.token_file.read_text(encoding="utf-8").partition(",")[0]
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._tls = ssl.create_default_context(cafile=str(layout.pki_dir / "ca.crt"))
        self._idle: queue.SimpleQueue[http.client.HTTPSConnection] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Return the client itself; its connections are closed at the end of the block."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def is_ready(self) -> bool:
        """Return whether the server is this cluster's, and says that it is ready."""
        try:
            status, _ = self._exchange("GET", "/readyz", None, {})
        except (OSError, http.client.HTTPException):
            return False
        return status == http.client.OK

    def find(self, path: str) -> Document | None:
        """Return the object at a path; ``None`` where there is none.

        Raises
        ------
        ClusterApiError
            If the server refuses or cannot be reached.
        """
        try:
            return self.request("GET", path)
        except ClusterApiError as error:
            if error.fields.get("http_status") == _NOT_FOUND:
                return None
            raise

    def request(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        content_type: str = "application/json",
    ) -> Document:
        """Send one request and return the object that is the answer.

        Raises
        ------
        ClusterApiError
            If the server refuses (``reason="RequestRefused"``, field
            ``http_status``) or cannot be reached (``reason="ServerUnreachable"``).
        """
        payload = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            status, content = self._exchange(method, path, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            raise ClusterApiError(
                "ServerUnreachable", f"{method} {path} failed: {error!r}", path=path
            ) from error
        if status >= http.client.BAD_REQUEST:
            raise ClusterApiError(
                "RequestRefused",
                f"{method} {path} was refused with {status}: {_message_in(content)}",
                path=path,
                http_status=status,
            )
        document: Document = json.loads(content)
        return document

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        for attempt in range(1, _NUM_ATTEMPTS + 1):
            connection, is_reused = self._connection()
            try:
                connection.request(method, path, payload, {**self._headers, **headers})
                response = connection.getresponse()
                answer = response.status, response.read()
            except http.client.RemoteDisconnected:
                connection.close()
                # The server had closed a kept connection before the request came.
                if is_reused and attempt < _NUM_ATTEMPTS:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)
            return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        try:
            return self._idle.get_nowait(), True
        except queue.Empty:
            fresh = http.client.HTTPSConnection(
                LOOPBACK, self._port, context=self._tls, timeout=self._timeout_s
            )
            return fresh, False


def _message_in(content: bytes) -> str:
    """Return the message of the API's error object, or the start of whatever it is."""
    text = content.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
