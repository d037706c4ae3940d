"""Reserved ports stay ours until the API server has them."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import ExitStack

import pytest

from coral_localcluster.ports import LOOPBACK, reserved_port


def test_reserved_ports_differ() -> None:
    """Clusters that start at once get ports of their own."""
    with ExitStack() as stack:
        ports = [stack.enter_context(reserved_port()) for _ in range(50)]
    assert len(set(ports)) == 50


@pytest.mark.skipif(sys.platform != "linux", reason="ports are only held on Linux")
def test_reserved_port_is_refused_to_others() -> None:
    """A program that does not share ports cannot take a reserved one."""
    with reserved_port() as port, socket.socket() as other:
        with pytest.raises(OSError, match="in use") as caught:
            other.bind((LOOPBACK, port))
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.skipif(sys.platform != "linux", reason="ports are only held on Linux")
def test_sharing_program_takes_the_reserved_port() -> None:
    """A listener that shares ports gets every connection, since the holder does not listen."""
    with reserved_port() as port, socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((LOOPBACK, port))
        server.listen()
        client.connect((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()


def test_port_is_free_afterwards() -> None:
    """Nothing stays bound."""
    with reserved_port() as port:
        pass
    with socket.socket() as other:
        other.bind((LOOPBACK, port))
