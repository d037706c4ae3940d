"""Decide which children there should be, and which may not be touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coral_api.conditions import Reason
from coral_api.convert import spec_hash
from coral_api.multillmservice import OperatingMode
from coral_operator.children import labels
from coral_operator.children.build import ChildProblem, desired_children
from coral_operator.children.identity import ChildKey, child_key, is_ours, model_of
from coral_operator.planning.inputs import ServiceRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coral_operator.children.settings import ChildSettings
    from coral_operator.kube.client import Manifest
    from coral_operator.planning.inputs import ServiceInput
    from coral_operator.planning.records import PlanRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the plan in force asks of the cluster.

    Attributes
    ----------
    manifests
        Children that should exist, by identity.
    frozen
        Services whose children stay as they are, whatever they are: paused ones, broken ones, and
        ones that have changed since the plan was made and wait for the next.
    frozen_models
        Ids of models, of services that are not frozen, whose children stay as they are.
    problems
        Models whose children cannot be built.
    known
        Services that exist, those that are being deleted included.
    """

    manifests: Mapping[ChildKey, Manifest] = field(default_factory=dict)
    frozen: frozenset[ServiceRef] = frozenset()
    frozen_models: frozenset[str] = frozenset()
    problems: tuple[ChildProblem, ...] = ()
    known: frozenset[ServiceRef] = frozenset()


def wanted_children(
    services: Sequence[ServiceInput], record: PlanRecord | None, settings: ChildSettings
) -> Wanted:
    """Return the children that the plan in force asks for.

    Parameters
    ----------
    services
        Every service of the operator's scope.
    record
        The plan in force of the Active services.
    settings
        Settings of the operator.
    """
    manifests: dict[ChildKey, Manifest] = {}
    frozen: set[ServiceRef] = set()
    frozen_models: set[str] = set()
    problems: list[ChildProblem] = []
    for service in services:
        if service.is_deleting:
            continue
        if service.service is None or service.is_paused:
            frozen.add(service.ref)
        elif service.mode is OperatingMode.ACTIVE:
            if record is None or not _is_known(service, record):
                frozen.add(service.ref)
                continue
            children = desired_children(
                service.service,
                record.instances,
                models={model.id: model for model in service.models},
                settings=settings,
            )
            own = {child_key(manifest): manifest for manifest in children.manifests}
            found = [*children.problems, *_name_problems(own, manifests)]
            refused = {problem.model_id for problem in found}
            manifests |= {key: m for key, m in own.items() if model_of(m) not in refused}
            problems += found
            frozen_models |= refused
    return Wanted(
        manifests=manifests,
        frozen=frozenset(frozen),
        frozen_models=frozenset(frozen_models),
        problems=tuple(problems),
        known=frozenset(service.ref for service in services),
    )


def _name_problems(
    own: Mapping[ChildKey, Manifest], taken: Mapping[ChildKey, Manifest]
) -> list[ChildProblem]:
    """Return the models whose children have names that another service's children have.

    Service ``a`` with model ``b-c`` and service ``a-b`` with model ``c`` want the same Service.
    The first by name has it; which that is does not depend on anything that changes.
    """
    return [
        ChildProblem(
            model_of(own[key]) or "",
            Reason.APPLY_CONFLICT,
            f"{key.kind} {key.name} belongs to service {service_of(taken[key])}; rename the model",
        )
        for key in sorted(own.keys() & taken.keys())
    ]


def _is_known(service: ServiceInput, record: PlanRecord) -> bool:
    """Whether the plan was made from the service exactly as it is now."""
    planned = record.planned_service(service.ref)
    return (
        planned is not None
        and service.service is not None
        and planned.mode is OperatingMode.ACTIVE
        and (planned.uid, planned.hash) == (service.uid, spec_hash(service.service))
    )


def superfluous(
    live: Iterable[Manifest], wanted: Wanted, namespaces: frozenset[str] | None
) -> list[Manifest]:
    """Return the children that exist and should not.

    Parameters
    ----------
    live
        Deployments and Services as they are in the cluster; foreign ones are left out.
    wanted
        What the plan asks for.
    namespaces
        The operator's scope; None: every namespace.
    """
    found = []
    for child in live:
        metadata = child["metadata"]
        if not is_ours(child) or metadata.get("deletionTimestamp"):
            continue
        if namespaces is not None and metadata["namespace"] not in namespaces:
            continue
        ref = service_of(child)
        if (
            child_key(child) not in wanted.manifests
            and ref not in wanted.frozen
            and model_of(child) not in wanted.frozen_models
        ):
            found.append(child)
    return found


def service_of(child: Manifest) -> ServiceRef:
    """Return the service that a child of ours belongs to."""
    metadata = child["metadata"]
    return ServiceRef(metadata["namespace"], metadata["labels"][labels.SERVICE])
