"""Leadership by a Lease: of all operators on a cluster, one acts.

The rules are those of the usual Kubernetes leader election: a holder renews well within the lease
duration; a waiting operator takes over only after it has itself seen no renewal for a whole
duration, measured on its own clock, so that clocks need not agree; a holder that could not renew
for most of a duration stops acting before anybody else may start.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_operator.kube.errors import ConflictError, KubeError, LeaseLostError, NotFoundError
from coral_operator.kube.kinds import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from coral_operator.kube.client import KubeClient, Manifest
    from coral_solver.domain.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOptions:
    """Which Lease, and its times.

    Attributes
    ----------
    namespace, name
        The Lease object.
    identity
        Name of this operator in it; unique among all that compete.
    duration_s
        How long a holder that went silent keeps others out. Whole seconds.
    renew_interval_s
        How often the holder renews and the others look.
    """

    namespace: str
    name: str
    identity: str
    duration_s: int = 15
    renew_interval_s: float = 4.0

    @property
    def renew_deadline_s(self) -> float:
        """How long after its last renewal a holder may still act: shorter than the duration."""
        return self.duration_s * 2 / 3


class Lease:
    """The hold that this operator has on the Lease.

    Parameters
    ----------
    kube
        Requests.
    options
        Which Lease, and its times.
    clock
        Durations and stamps.
    on_change
        Called whenever the operator gains the Lease.
    """

    def __init__(
        self,
        kube: KubeClient,
        options: LeaseOptions,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._options = options
        self._clock = clock
        self._on_change = on_change
        self._held_until_s: float | None = None
        self._seen: tuple[object, ...] | None = None
        self._seen_at_s = 0.0
        self._told_to_wait_for: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether this operator may act now."""
        return self._held_until_s is not None and self._clock.monotonic_s() < self._held_until_s

    @property
    def holder(self) -> str | None:
        """Who holds the Lease as far as this operator knows; None before the first look."""
        return self._options.identity if self.is_held else self._told_to_wait_for

    async def keep(self) -> None:
        """Acquire the Lease, then renew it until it is lost.

        Raises
        ------
        LeaseLostError
            When a Lease that was held is not held any more. The operator then ends: what it
            remembers may be out of date by the time it could lead again.
        """
        while True:
            was_leader = self._held_until_s is not None
            await self.look()
            if was_leader and not self.is_held:
                raise LeaseLostError(
                    f"the Lease {self._options.namespace}/{self._options.name} could not be "
                    "renewed in time, or another operator took it; this operator ends"
                )
            await asyncio.sleep(self._options.renew_interval_s)

    async def look(self) -> None:
        """Read the Lease once; take or renew it where that is allowed."""
        asked_at_s = self._clock.monotonic_s()
        try:
            # One look must not outlast the time in which a renewal is due.
            async with asyncio.timeout(self._options.renew_interval_s):
                is_ours = await self._try()
            if is_ours:
                gained = self._held_until_s is None
                self._held_until_s = asked_at_s + self._options.renew_deadline_s
                if gained:
                    log.info("holding the Lease as %s", self._options.identity)
                    self._on_change()
        except ConflictError:
            # Somebody else wrote first; the next look sees who.
            return
        except (KubeError, TimeoutError) as error:
            # A holder goes on until its renewal deadline; is_held turns false by itself.
            log.warning("the Lease cannot be renewed: %s", error or "no answer")

    async def release(self) -> None:
        """Give the Lease up, so that a successor need not wait for it to run out."""
        if not self.is_held:
            return
        self._held_until_s = None
        try:
            lease = await self._kube.get(LEASES, self._options.name, self._options.namespace)
            if lease["spec"].get("holderIdentity") == self._options.identity:
                lease["spec"]["holderIdentity"] = ""
                lease["spec"]["leaseDurationSeconds"] = 1
                await self._kube.replace(LEASES, lease)
        except KubeError as error:
            log.warning("the Lease was not released (it runs out by itself): %s", error)

    async def _try(self) -> bool:
        """Take or renew the Lease; False if another holds it."""
        try:
            lease = await self._kube.get(LEASES, self._options.name, self._options.namespace)
        except NotFoundError:
            await self._kube.create(LEASES, self._new())
            return True
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._options.identity) and not self._ran_out(spec, holder):
            return False
        if holder != self._options.identity:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
            spec["acquireTime"] = _micro_time(self._clock.now())
        spec["holderIdentity"] = self._options.identity
        spec["leaseDurationSeconds"] = self._options.duration_s
        spec["renewTime"] = _micro_time(self._clock.now())
        await self._kube.replace(LEASES, lease)
        return True

    def _ran_out(self, spec: Manifest, holder: str) -> bool:
        """Whether the other holder has been silent for a whole duration on our own clock."""
        seen = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        now_s = self._clock.monotonic_s()
        if seen != self._seen:
            self._seen, self._seen_at_s = seen, now_s
        if holder != self._told_to_wait_for:
            self._told_to_wait_for = holder
            log.warning(
                "another operator (%s) holds the Lease %s/%s; this one waits and changes nothing",
                holder,
                self._options.namespace,
                self._options.name,
            )
        duration_s = float(spec.get("leaseDurationSeconds") or self._options.duration_s)
        return now_s - self._seen_at_s >= duration_s

    def _new(self) -> Manifest:
        now = _micro_time(self._clock.now())
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._options.namespace, "name": self._options.name},
            "spec": {
                "holderIdentity": self._options.identity,
                "leaseDurationSeconds": self._options.duration_s,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }


def _micro_time(moment: datetime) -> str:
    """Return the text form of Kubernetes' MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
