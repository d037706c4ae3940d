"""Put the operator together and run it until it is told to stop, or must."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import kopf
from kubernetes.aio import client as kube_client

from coral_operator.children.labels import SELECTOR
from coral_operator.context import Context
from coral_operator.handlers import build_registry, build_settings
from coral_operator.heart import Heart
from coral_operator.kube.client import KubeClient, load_client_configuration
from coral_operator.kube.errors import NotFoundError
from coral_operator.kube.kinds import OWN_KINDS
from coral_operator.kube.lease import Lease, LeaseOptions
from coral_operator.loop import Loop
from coral_operator.nudge import Nudge
from coral_operator.observe.audit import Audit
from coral_operator.observe.store import Store
from coral_operator.planning.planner import ChainPlanner
from coral_operator.planning.process import PlanningProcess
from coral_operator.rollout.apply import Applier
from coral_operator.status.events import EventWriter
from coral_operator.status.metrics import Metrics
from coral_operator.status.writer import StatusWriter
from coral_operator.step import Step
from coral_solver.domain.clock import WallClock
from coral_solver.domain.errors import CoralError

if TYPE_CHECKING:
    from coral_operator.settings import Settings

log = logging.getLogger(__name__)

HEART_LIMIT_S = 180.0
"""The loop beats at least every resync; a step's writes are bounded by their requests' timeouts."""


class CrdsMissingError(CoralError):
    """The cluster does not know Coral's kinds."""

    reason = "CrdsMissing"


async def operate(settings: Settings) -> None:
    """Run one operator until SIGTERM or SIGINT.

    Raises
    ------
    CoralError
        If the operator cannot start, or has to end: no cluster, no CRDs, the Lease lost.
    """
    configuration = await load_client_configuration(settings.kubeconfig)
    async with kube_client.ApiClient(configuration) as api, contextlib.AsyncExitStack() as stack:
        await check_crds(KubeClient(api))
        clock = WallClock()
        nudge = Nudge(clock)
        store = Store(clock, nudge)
        heart = Heart(clock, HEART_LIMIT_S)
        lease = Lease(
            KubeClient(api),
            LeaseOptions(
                namespace=settings.lease_namespace,
                name=settings.lease_name,
                identity=settings.identity,
            ),
            clock,
            nudge,
        )
        kube = KubeClient(api, lambda: lease.is_held)
        process = PlanningProcess()
        counters = Metrics()
        statuses = StatusWriter(kube)
        step = Step(
            kube=kube,
            clock=clock,
            settings=settings,
            store=store,
            planner=ChainPlanner(
                kube=kube,
                clock=clock,
                settings=settings,
                process=process,
                counters=counters,
                beat=heart.beat,
            ),
            applier=Applier(kube, clock),
            statuses=statuses,
            events=EventWriter(kube, clock, settings.identity),
            counters=counters,
        )
        loop = Loop(
            clock=clock,
            settings=settings,
            store=store,
            audit=Audit(store, kube),
            lease=lease,
            step=step,
            statuses=statuses,
            nudge=nudge,
            heart=heart,
            counters=counters,
        )
        if settings.metrics_port:
            counters.serve(settings.metrics_port)
        await process.start()
        stack.push_async_callback(process.stop)
        stack.push_async_callback(lease.release)
        await _run_together(settings, Context(store=store, heart=heart), loop, lease)


async def _run_together(settings: Settings, context: Context, loop: Loop, lease: Lease) -> None:
    """Run the watches, the Lease and the loop; when one ends, all end."""
    endpoint = f"http://0.0.0.0:{settings.liveness_port}/healthz"
    watches = kopf.operator(
        registry=build_registry(settings.kubeconfig),
        settings=build_settings(settings.lease_name, SELECTOR),
        memo=context,
        clusterwide=True,
        standalone=True,
        liveness_endpoint=endpoint if settings.liveness_port else None,
    )
    # kopf ends every task that it finds younger than itself: it comes last.
    tasks = [
        asyncio.create_task(lease.keep(), name="lease"),
        asyncio.create_task(loop.run(), name="loop"),
        asyncio.create_task(watches, name="watches"),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in reversed(list(pending)):
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        log.info("the %s ended first", task.get_name())
        # Raises what ended the task; the watches end without a fault on SIGTERM and SIGINT.
        await task


async def check_crds(kube: KubeClient) -> None:
    """Make sure that the cluster knows Coral's kinds.

    Raises
    ------
    CrdsMissingError
        If it does not.
    """
    missing = []
    for kind in OWN_KINDS:
        try:
            await kube.list_uids(kind)
        except NotFoundError:
            missing.append(kind.kind)
    if missing:
        raise CrdsMissingError(
            f"the cluster does not know {', '.join(missing)}; install the CRDs: "
            "kubectl apply --server-side -f crds/"
        )
