"""Carry out what is wanted: remove what is superfluous, then create and correct the rest."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import Reason
from coral_operator.children.identity import ChildKey, child_key, is_ours
from coral_operator.kube.errors import ConflictError, KubeError, NotFoundError
from coral_operator.kube.kinds import CHILD_KINDS, MULTI_LLM_SERVICES
from coral_operator.rollout.wanted import service_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from coral_operator.kube.client import KubeClient, Manifest
    from coral_operator.planning.inputs import ServiceRef
    from coral_solver.domain.clock import Clock

log = logging.getLogger(__name__)

PARALLEL_REQUESTS = 8
"""Requests to the API server at a time; its default fairness gives one client about ten seats."""

VISIBLE_WITHIN_S = 10.0
"""Time that the watch gets to bring a child that was just made, before it is made again."""

_KINDS = {kind.kind: kind for kind in CHILD_KINDS}


class ApplyProblem(NamedTuple):
    """Why a child is not as it should be.

    Attributes
    ----------
    service
        The service that it belongs to.
    reason, message
        As its condition reports it.
    """

    service: ServiceRef
    reason: Reason
    message: str


class ApplyReport(NamedTuple):
    """What one pass did.

    Attributes
    ----------
    applied, deleted
        Children that were written, and removed.
    problems
        What was refused.
    """

    applied: tuple[ChildKey, ...] = ()
    deleted: tuple[ChildKey, ...] = ()
    problems: tuple[ApplyProblem, ...] = ()


class _Written(NamedTuple):
    """A child as this process wrote it last."""

    digest: str
    generation: int
    at_s: float


class Applier:
    """Writes children, and remembers what it wrote so that a pass without changes is free.

    After a restart nothing is remembered: everything is written once more, which changes nothing
    where nothing has changed.

    Parameters
    ----------
    kube, clock
        Requests, and durations.
    """

    def __init__(self, kube: KubeClient, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._written: dict[ChildKey, _Written] = {}
        self._seen: set[ChildKey] = set()
        self._seats = asyncio.Semaphore(PARALLEL_REQUESTS)

    async def run(
        self,
        wanted: Mapping[ChildKey, Manifest],
        live: Iterable[Manifest],
        superfluous: Iterable[Manifest],
        known: frozenset[ServiceRef],
    ) -> ApplyReport:
        """Bring the children to what is wanted, once.

        Parameters
        ----------
        wanted
            Children that should exist.
        live
            Children of ours that exist, as the watches have them.
        superfluous
            Those of them to remove.
        known
            Services that exist. Children of any other are removed only after the API server has
            said that their service is gone.

        Returns
        -------
        ApplyReport
            Each service's problems stand for themselves: one refused child keeps no other back.
        """
        problems: list[ApplyProblem] = []
        doomed = await self._confirmed(list(superfluous), known, problems)
        deleted = await self._each(doomed, self._delete, problems)
        # Deployments of the same pass may need the GPUs of what was just removed: their pods wait.
        by_key = {child_key(child): child for child in live}
        self._seen |= by_key.keys() & self._written.keys()
        due = [m for key, m in wanted.items() if self._is_due(key, m, by_key.get(key))]
        applied = await self._each(
            due, lambda manifest: self._apply(manifest, by_key.get(child_key(manifest))), problems
        )
        for key in deleted:
            self._written.pop(key, None)
            self._seen.discard(key)
        return ApplyReport(tuple(applied), tuple(deleted), tuple(problems))

    def _is_due(self, key: ChildKey, manifest: Manifest, live: Manifest | None) -> bool:
        written = self._written.get(key)
        if written is None or written.digest != _digest(manifest):
            return True
        if live is None:
            # The watch had it and has it no more; or had not the time to bring it yet.
            is_late = self._clock.monotonic_s() - written.at_s > VISIBLE_WITHIN_S
            return key in self._seen or is_late
        # The generation rises when somebody changes the spec; ours was the last one known.
        return int(live["metadata"].get("generation", 0)) > written.generation

    async def _apply(self, manifest: Manifest, live: Manifest | None) -> None:
        kind = _KINDS[manifest["kind"]]
        metadata = manifest["metadata"]
        was_seen = live is not None
        if live is None:
            # Not among ours: it must not exist at all. Without force, a foreign object that comes
            # between the reading and the writing is refused by the server.
            try:
                found = await self._kube.get(kind, metadata["name"], metadata["namespace"])
            except NotFoundError:
                pass
            else:
                if not is_ours(found):
                    raise ConflictError(
                        f"{kind.kind} {metadata['namespace']}/{metadata['name']} exists and was "
                        "not made by Coral; it is left alone: rename or remove it, or rename the "
                        "model",
                        status=409,
                    )
                live = found
        answer = await self._kube.apply(kind, manifest, force=live is not None)
        if not was_seen:
            self._seen.discard(child_key(manifest))
        self._written[child_key(manifest)] = _Written(
            _digest(manifest),
            int(answer["metadata"].get("generation", 0)),
            self._clock.monotonic_s(),
        )

    async def _delete(self, child: Manifest) -> None:
        metadata = child["metadata"]
        kind = _KINDS[child["kind"]]
        await self._kube.delete(
            kind, metadata["name"], metadata["namespace"], uid=metadata.get("uid")
        )

    async def _confirmed(
        self,
        children: list[Manifest],
        known: frozenset[ServiceRef],
        problems: list[ApplyProblem],
    ) -> list[Manifest]:
        """Leave out children whose service is not in the index although it exists."""
        orphaned = {service_of(child) for child in children} - known
        alive = set()
        for ref in sorted(orphaned):
            try:
                await self._kube.get(MULTI_LLM_SERVICES, ref.name, ref.namespace)
            except NotFoundError:
                continue
            except KubeError as error:
                problems.append(ApplyProblem(ref, Reason.APPLY_FAILED, str(error)))
            alive.add(ref)
        return [child for child in children if service_of(child) not in alive]

    async def _each(
        self,
        manifests: list[Manifest],
        work: Callable[[Manifest], Awaitable[None]],
        problems: list[ApplyProblem],
    ) -> list[ChildKey]:
        done: list[ChildKey] = []

        async def one(manifest: Manifest) -> None:
            async with self._seats:
                try:
                    await work(manifest)
                except KubeError as error:
                    is_conflict = isinstance(error, ConflictError)
                    reason = Reason.APPLY_CONFLICT if is_conflict else Reason.APPLY_FAILED
                    problems.append(ApplyProblem(service_of(manifest), reason, str(error)))
                    log.warning("%s: %s", reason, error)
                else:
                    done.append(child_key(manifest))

        await asyncio.gather(*(one(manifest) for manifest in manifests))
        return sorted(done)


def _digest(manifest: Manifest) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
