"""The children that a service should have: a pure function of the plan and the service."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import Reason
from coral_operator.children.args import KV_ROLES, compute_dtype
from coral_operator.children.deployments import deployments, group_digest
from coral_operator.children.identity import child_key
from coral_operator.children.member import members_of
from coral_operator.children.scheduling import placement_problem
from coral_operator.children.services import leader_service, model_services
from coral_operator.children.user_engine import engine_problems
from coral_solver.domain.errors import InvalidInputError, PlanCheckError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coral_api.multillmservice import ModelSpec, MultiLLMService
    from coral_operator.children.deployments import Manifest
    from coral_operator.children.identity import ChildKey
    from coral_operator.children.member import Member
    from coral_operator.children.settings import ChildSettings
    from coral_solver.domain.plan import ServingInstance
    from coral_solver.domain.workload import ServedModel


class ChildProblem(NamedTuple):
    """Why the children of one model cannot be built.

    Attributes
    ----------
    model_id
        ``namespace/service/model``.
    reason
        Reason of the condition that reports it.
    message
        What to change; every problem of the model.
    """

    model_id: str
    reason: Reason
    message: str


class Children(NamedTuple):
    """What should be in the cluster for one service.

    Attributes
    ----------
    manifests
        Deployments and Services in a fixed order: model by model as the service lists them.
    problems
        Models without manifests. Their live children are to be left as they are.
    """

    manifests: tuple[Manifest, ...]
    problems: tuple[ChildProblem, ...]


def desired_children(
    service: MultiLLMService,
    instances: Iterable[ServingInstance],
    *,
    models: Mapping[str, ServedModel],
    settings: ChildSettings,
) -> Children:
    """Return the children of a service under a plan.

    Nothing in them changes from one plan to the next for an instance that stays, so that applying
    them again changes nothing.

    Parameters
    ----------
    service
        The service at the generation that the plan was made from. Its mode is not looked at.
    instances
        Serving instances of the plan; those of other services are left out.
    models
        Served models by id, at least those of the service that have instances.
    settings
        Settings of the operator.

    Returns
    -------
    Children
        Manifests, and the models that have none because something is wrong with them.
    """
    prefix = f"{service.namespace}/{service.metadata.name}/"
    by_model: dict[str, list[ServingInstance]] = {}
    for instance in sorted(instances, key=lambda instance: instance.name):
        if instance.template.model_id.startswith(prefix):
            by_model.setdefault(instance.template.model_id, []).append(instance)
    manifests: dict[ChildKey, Manifest] = {}
    problems: list[ChildProblem] = []
    for spec in service.spec.models:
        model_id = prefix + spec.name
        own = by_model.pop(model_id, [])
        try:
            built = _model_children(service, spec, own, models.get(model_id), settings)
            manifests |= _only_once(built, manifests)
        except InvalidInputError as error:
            problems.append(ChildProblem(model_id, Reason.INVALID_INPUT, str(error)))
        except PlanCheckError as error:
            problems.append(ChildProblem(model_id, Reason.PLAN_REJECTED, str(error)))
    problems.extend(
        ChildProblem(
            model_id,
            Reason.PLANNING,
            "the model was taken out of the service after the plan was made; a new plan removes"
            " its instances",
        )
        for model_id in sorted(by_model)
    )
    return Children(tuple(manifests.values()), tuple(problems))


def _model_children(
    service: MultiLLMService,
    spec: ModelSpec,
    instances: list[ServingInstance],
    model: ServedModel | None,
    settings: ChildSettings,
) -> list[Manifest]:
    """Return the children of one model.

    Raises
    ------
    InvalidInputError
        With every problem that a user can mend.
    PlanCheckError
        Where vLLM cannot run a template of the plan.
    """
    if problems := engine_problems(spec):
        raise InvalidInputError(problems)
    manifests = model_services(service, spec)
    if not instances:
        return manifests
    if model is None:
        raise InvalidInputError(["the model is refused as it is; its instances stay as they are"])
    groups: list[tuple[Member, ...]] = []
    violations: list[str] = []
    for instance in instances:
        members, faults = members_of(service, spec, model, instance, settings)
        violations.extend(faults)
        groups.append(members)
    if violations:
        raise PlanCheckError(tuple(violations))
    placement = (placement_problem(member) for members in groups for member in members)
    if wrong := [*filter(None, placement), *_transfer_problems(groups)]:
        raise InvalidInputError(wrong)
    for members in groups:
        manifests.extend(deployments(members))
        if len(members) > 1:
            manifests.append(leader_service(members[0], group_digest(members)))
    return manifests


def _transfer_problems(groups: list[tuple[Member, ...]]) -> list[str]:
    """Return why prefill and decode instances of a model cannot hand over their KV cache."""
    formats = {compute_dtype(group[0]) for group in groups if group[0].phase in KV_ROLES}
    if len(formats) < 2:
        return []
    return [
        "prefill and decode instances on GPUs with and without bf16 cannot hand over their KV"
        " cache; set models[].precision to fp16, or deny the older GPU types in gpuTypes"
    ]


def _only_once(
    built: list[Manifest], others: Mapping[ChildKey, Manifest]
) -> dict[ChildKey, Manifest]:
    """Return manifests by identity; refuse two that would overwrite each other."""
    counts = Counter(map(child_key, built))
    repeated = [key for key, count in counts.items() if count > 1 or key in others]
    if repeated:
        raise InvalidInputError(
            [
                f"two children would be called {key.kind} {key.name}; rename the model"
                for key in repeated
            ]
        )
    return {child_key(manifest): manifest for manifest in built}
