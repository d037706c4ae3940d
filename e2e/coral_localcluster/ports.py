"""Choose a port for the API server that nothing else will take."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a free loopback port for another process, for as long as the block lasts.

    Asking for a free port and giving it back before it is used leaves a moment
    in which somebody else may be given it. Here the socket stays bound instead,
    without listening, and the API server binds beside it
    (``--permit-port-sharing``); the system gives a port that is bound to nobody
    who asks for any free one. Elsewhere than on Linux the port is given back at
    once, and the caller has to cope with losing it.

    Yields
    ------
    int
        The port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        shares = sys.platform == "linux"
        holder.bind((LOOPBACK, 0))
        if shares:
            # Set after binding: with it set before, the system might hand out a
            # port that another sharing socket has already.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port: int = holder.getsockname()[1]
        if not shares:
            holder.close()
        yield port
