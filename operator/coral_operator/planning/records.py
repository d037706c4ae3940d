"""ServingPlans as the operator keeps them: two chains, numbered, with what each was made from."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from coral_api.base import GROUP
from coral_api.multillmservice import OperatingMode
from coral_api.plans import instances_from
from coral_api.servingplan import ServingPlan
from coral_operator.planning.inputs import ServiceRef
from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_api.servingplan import PlannedService
    from coral_operator.kube.client import Manifest
    from coral_solver.domain.plan import ServingInstance

log = logging.getLogger(__name__)

CHAIN_LABEL = f"{GROUP}/mode"
SEQUENCE_ANNOTATION = f"{GROUP}/sequence"
SPEC_HASH_ANNOTATION = f"{GROUP}/spec-hash"
INPUTS_HASH_ANNOTATION = f"{GROUP}/inputs-hash"


class Chain(StrEnum):
    """Active services are planned first and carried out; Shadow services on what they leave."""

    ACTIVE = "active"
    SHADOW = "shadow"

    @property
    def mode(self) -> OperatingMode:
        """Mode of the services that the chain plans."""
        return OperatingMode.ACTIVE if self is Chain.ACTIVE else OperatingMode.SHADOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """What a plan was made from, as digests.

    Attributes
    ----------
    spec
        Of what people wrote: services, policy, pools, profiles.
    inputs
        Of the whole planning problem but for the instances in force: also nodes and free GPUs.
    """

    spec: str
    inputs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """A ServingPlan with its place in its chain.

    Attributes
    ----------
    plan
        The object.
    chain, sequence
        Its place; the highest sequence of a chain is in force.
    hashes
        What it was made from.
    instances
        Its instances in the planner's terms.
    """

    plan: ServingPlan
    chain: Chain
    sequence: int
    hashes: Hashes
    instances: tuple[ServingInstance, ...]

    @property
    def name(self) -> str:
        """Name of the ServingPlan."""
        return self.plan.metadata.name

    def planned_service(self, ref: ServiceRef) -> PlannedService | None:
        """Return the service as the plan knew it, or None."""
        return next(
            (s for s in self.plan.spec.services if ServiceRef(s.namespace, s.name) == ref), None
        )


def plan_name(chain: Chain, sequence: int, hashes: Hashes) -> str:
    """Return the name of a ServingPlan: sorted by age, and unlike any other's."""
    digest = hashlib.sha256(f"{hashes.spec}{hashes.inputs}".encode()).hexdigest()[:8]
    return f"{chain}-{sequence:06d}-{digest}"


def labelled(plan: ServingPlan, chain: Chain, sequence: int, hashes: Hashes) -> Manifest:
    """Return a new ServingPlan as a manifest that ``read_plan`` understands."""
    manifest = plan.to_json()
    manifest.pop("status", None)
    manifest["metadata"] |= {
        "labels": {CHAIN_LABEL: chain.value},
        "annotations": {
            SEQUENCE_ANNOTATION: str(sequence),
            SPEC_HASH_ANNOTATION: hashes.spec,
            INPUTS_HASH_ANNOTATION: hashes.inputs,
        },
    }
    return manifest


def read_plan(manifest: Manifest) -> PlanRecord | None:
    """Read a ServingPlan; None if it is not one of ours, or was edited beyond understanding."""
    metadata = manifest["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    try:
        chain = Chain((metadata.get("labels") or {})[CHAIN_LABEL])
        sequence = int(annotations[SEQUENCE_ANNOTATION])
        plan = ServingPlan.from_manifest(manifest)
        return PlanRecord(
            plan=plan,
            chain=chain,
            sequence=sequence,
            hashes=Hashes(
                spec=annotations[SPEC_HASH_ANNOTATION], inputs=annotations[INPUTS_HASH_ANNOTATION]
            ),
            instances=instances_from(plan),
        )
    except (KeyError, ValueError, ValidationError, InvalidInputError) as error:
        log.warning("ServingPlan %s is left out: %s", metadata.get("name"), error)
        return None


def sequence_of(manifest: Manifest) -> int:
    """Return a ServingPlan's number; -1 where it has none."""
    annotations = manifest["metadata"].get("annotations") or {}
    text = annotations.get(SEQUENCE_ANNOTATION, "")
    return int(text) if text.isdecimal() else -1


def chain_of(manifest: Manifest) -> str:
    """Return the name of a ServingPlan's chain; empty where it has none."""
    return str((manifest["metadata"].get("labels") or {}).get(CHAIN_LABEL, ""))


def latest(manifests: Iterable[Manifest], chain: Chain) -> PlanRecord | None:
    """Return the plan in force of a chain: its highest number that can be read."""
    mine = [m for m in manifests if chain_of(m) == chain]
    for manifest in sorted(mine, key=sequence_of, reverse=True):
        record = read_plan(manifest)
        if record is not None:
            return record
    return None


def to_prune(manifests: Sequence[Manifest], keep: int, in_force: Iterable[str]) -> list[str]:
    """Return the names of the plans that the history has no room for.

    Parameters
    ----------
    manifests
        All ServingPlans; those that carry no chain are somebody else's and are left alone.
    keep
        Plans of each chain that stay.
    in_force
        Names that stay whatever their age.
    """
    stay = set(in_force)
    names = []
    for chain in Chain:
        mine = sorted((m for m in manifests if chain_of(m) == chain), key=sequence_of)
        names += [m["metadata"]["name"] for m in mine[: max(0, len(mine) - keep)]]
    return [name for name in names if name not in stay]
