"""When a pod has started, is alive, may serve, and may go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coral_operator.children.args import HTTP_PORT
from coral_operator.children.timing import ENDPOINT_REMOVAL_S, start_budget_s

if TYPE_CHECKING:
    from coral_operator.children.member import Member

PERIOD_S = 10
LIVENESS_FAILURES = 6

LEADER_FILE = "/tmp/coral-leader"  # noqa: S108 - inside the container, which is the pod's own
"""Where a worker keeps the address of its leader: the name may be gone when the pod is removed."""

CHECK_LEADER = """\
import http.client, pathlib, sys
host, port, file = sys.argv[1:4]
leader = http.client.HTTPConnection(host, int(port), timeout=8)
leader.request("GET", "/health")
address = leader.sock.getpeername()[0]
if leader.getresponse().status != 200:
    sys.exit("the leader is not healthy")
pathlib.Path(file).write_text(address)
"""
"""Succeeds when the leader's ``/health`` does; arguments: host, port, file for its address."""

WAIT_FOR_LEADER = """\
import http.client, pathlib, sys, time
file, port, pause_s = sys.argv[1:4]
while pathlib.Path(file).exists():
    leader = http.client.HTTPConnection(pathlib.Path(file).read_text(), int(port), timeout=30)
    try:
        leader.request("GET", "/health")
        leader.getresponse()
    except OSError:
        break
    time.sleep(float(pause_s))
"""
"""Ends when the leader has gone; arguments: file with its address, port, seconds between looks."""


def probes(member: Member) -> dict[str, Any]:
    """Return the probes of a container.

    The leader (stage 0) has vLLM's ``/health``. A worker has no port at all, so its probes ask
    the leader: a group starts as one, is ready as one, and a worker whose leader was restarted is
    restarted too, for vLLM's workers wait for ever and a new leader cannot use them.
    """
    if member.is_leader:
        check: dict[str, Any] = {"httpGet": {"path": "/health", "port": "http"}}
    else:
        arguments = [member.leader_host, str(HTTP_PORT), LEADER_FILE]
        check = {"exec": {"command": ["python3", "-c", CHECK_LEADER, *arguments]}}
    timed = {**check, "periodSeconds": PERIOD_S, "timeoutSeconds": PERIOD_S}
    failures = math.ceil(start_budget_s(member.model, member.stages) / PERIOD_S)
    result = {
        "startupProbe": {**timed, "failureThreshold": failures},
        "livenessProbe": {**timed, "failureThreshold": LIVENESS_FAILURES},
    }
    if member.is_leader:
        result["readinessProbe"] = {**timed, "periodSeconds": 5, "failureThreshold": 2}
    return result


def pre_stop(member: Member) -> dict[str, Any]:
    """Return what a container does before it is told to stop.

    A leader goes on serving until nobody sends it requests any more; then vLLM finishes those
    that run. A worker stays until its leader has gone: without it those requests would fail.
    """
    if member.is_leader:
        return {"sleep": {"seconds": ENDPOINT_REMOVAL_S}}
    arguments = [LEADER_FILE, str(HTTP_PORT), "2"]
    return {"exec": {"command": ["python3", "-c", WAIT_FOR_LEADER, *arguments]}}
