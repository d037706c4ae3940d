"""The process that plans: problems in on stdin, plans out on stdout, one at a time.

Started by ``coral_operator.planning.process`` as ``python -m coral_operator.planning.worker``. It
is a process of its own because building a problem holds the interpreter's lock for longer than
probes and the Lease can wait, and because a crash of native code must not end the operator. It
imports neither kopf nor the Kubernetes client, which keeps it small.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from coral_operator.planning.messages import (
    LENGTH_BYTES,
    PlanningAnswer,
    PlanningFault,
    PlanningRequest,
)
from coral_solver.domain.errors import CoralError
from coral_solver.domain.plan import PeerOutcome, PlanMargin
from coral_solver.domain.template import PlacementSpace
from coral_solver.planning.planner import Planner, PlanningOptions

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


def write_message(stream: BinaryIO, message: object) -> None:
    """Write one message to a stream."""
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    stream.flush()


def read_message(stream: BinaryIO) -> object:
    """Read one message from a stream.

    Raises
    ------
    EOFError
        If the stream has ended: the operator is gone.
    """
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        raise EOFError
    return pickle.loads(stream.read(int.from_bytes(head, "big")))  # noqa: S301 - our own parent


def serve(
    source: BinaryIO,
    sink: BinaryIO,
    make_planner: Callable[[PlanningOptions], Planner] = Planner,
) -> None:
    """Answer requests until the stream ends.

    Parameters
    ----------
    source, sink
        Streams of messages. A request is a ``PlanningRequest``; its answer a ``PlanningAnswer`` or
        a ``PlanningFault``.
    make_planner
        The planner is kept, with its templates, as long as the options stay the same.
    """
    planner: Planner | None = None
    while True:
        try:
            request = read_message(source)
        except EOFError:
            return
        if not isinstance(request, PlanningRequest):
            raise TypeError(f"not a request: {request!r}")
        options = PlanningOptions(
            space=PlacementSpace.VLLM,
            time_limit_s=request.time_limit_s,
            cache_dir=None if request.cache_dir is None else Path(request.cache_dir),
        )
        if planner is None or planner.options != options:
            planner = make_planner(options)
        write_message(sink, _answer(planner, request))


def _answer(planner: Planner, request: PlanningRequest) -> PlanningAnswer | PlanningFault:
    try:
        result = planner.plan(request.problem)
    except CoralError as error:
        return PlanningFault(error.reason, str(error))
    except Exception as error:
        # A bug that one problem brings out must not cost the warm templates of the others.
        log.exception("planning failed")
        return PlanningFault(CoralError.reason, f"{type(error).__name__}: {error}")
    for text in result.unused_points:
        log.warning("%s", text)
    margin = None
    if result.without_margin is not None:
        margin = PlanMargin(
            request.problem.policy.robustness, PeerOutcome.of(result.without_margin)
        )
    return PlanningAnswer(
        plan=result.plan,
        baselines={name: PeerOutcome.of(peer) for name, peer in result.baselines.items()},
        margin=margin,
        templates_s=result.templates_s,
        allocation_s=result.allocation_s,
        baselines_s=result.baselines_s,
    )


def main() -> None:
    """Serve stdin and stdout; what libraries print goes to stderr."""
    logging.basicConfig(level=logging.WARNING)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
