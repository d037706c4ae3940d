"""From files, a kubeconfig or an inventory to a planning problem."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from coral_api.convert import policy_from, pool_override, served_models
from coral_api.discovery import discover
from coral_api.files import Manifests, load_manifests
from coral_api.inventory import read_inventory
from coral_api.planningpolicy import PlanningPolicySpec
from coral_api.profiles import read_profiles
from coral_cli.progress import say_on_stderr
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import PlanningProblem, ScarcityPolicy
from coral_solver.domain.profile import points_of_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coral_solver.domain.hardware import GpuPool, RefusedNode
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.workload import ServedModel

MOST_NOTES = 10
"""Notes of one kind that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProblem:
    """A problem, and what reading it had to leave out.

    Attributes
    ----------
    problem
        What can be planned.
    refused
        GPU nodes that cannot be used, with the reason.
    faulty_models
        Models that cannot be planned, in words.
    notes
        What was read and not used, and what is odd about nodes, in words.
    """

    problem: PlanningProblem
    refused: tuple[RefusedNode, ...]
    faulty_models: tuple[str, ...]
    notes: tuple[str, ...]


def read_problem(
    files: Sequence[Path],
    *,
    cluster: Path | None,
    inventory: Path | None,
    kubeconfig: Path | None,
    context: str | None,
) -> ReadProblem:
    """Read everything that a plan is made from.

    Parameters
    ----------
    files
        Manifests of services, and optionally of GPUPools, PerformanceProfiles, a PlanningPolicy,
        Nodes and Pods.
    cluster, inventory, kubeconfig
        Where the GPUs come from; at most one. None of them: Nodes must be among the files.
    context
        Context of the kubeconfig.

    Raises
    ------
    InvalidInputError
        With every problem of every file.
    """
    if sum(source is not None for source in (cluster, inventory, kubeconfig)) > 1:
        raise InvalidInputError(["give one of --cluster, --inventory and --kubeconfig"])
    if context is not None and kubeconfig is None:
        raise InvalidInputError(["--context is a context of a kubeconfig: give --kubeconfig too"])
    paths = [*files, cluster] if cluster else list(files)
    manifests = load_manifests(paths, stdin=sys.stdin)
    if not manifests.services:
        raise InvalidInputError(["no MultiLLMService among the files: name one with -f"])
    models, faulty = _models(manifests)
    points = measured_points(manifests)
    found = _cluster(manifests, inventory=inventory, kubeconfig=kubeconfig, context=context)
    policy = manifests.policy.spec if manifests.policy else PlanningPolicySpec()
    return ReadProblem(
        problem=PlanningProblem(
            models=models,
            pools=found.pools,
            policy=policy_from(policy),
            profiles=points,
        ),
        refused=found.refused,
        faulty_models=faulty,
        notes=(
            *_some("ignored", manifests.ignored),
            *_some("", found.notes),
            *_some("", _unused(points, models)),
            *_some("", _priorities_without_effect(models, policy)),
        ),
    )


def say_what_was_left_out(read: ReadProblem, more_notes: Sequence[str] = ()) -> None:
    """Say on standard error what could not be read or used, after the answer."""
    for note in (*read.notes, *more_notes):
        say_on_stderr("note", note)
    for fault in read.faulty_models:
        say_on_stderr("left out", fault)


def measured_points(manifests: Manifests) -> tuple[MeasuredPoint, ...]:
    """Return the points of all PerformanceProfiles.

    Raises
    ------
    InvalidInputError
        With every profile that cannot be used, and why.
    """
    read = read_profiles(manifests.profiles, may_read_files=True)
    if read.problems:
        raise InvalidInputError(
            [f"PerformanceProfile {name}: {p.message}" for name, p in sorted(read.problems.items())]
        )
    return read.all_points


def _unused(points: Sequence[MeasuredPoint], models: Sequence[ServedModel]) -> list[str]:
    """Say which measured deployments are of no model that is planned."""
    used = points_of_models(points, models)
    deployments = {str(point.deployment) for point in points if point not in used}
    return [f"measured, and no model of a service: {name}" for name in sorted(deployments)]


def _priorities_without_effect(
    models: Sequence[ServedModel], policy: PlanningPolicySpec
) -> list[str]:
    """Say where priorities differ and the scarcity policy does not look at them."""
    differ = len({model.priority for model in models}) > 1
    if policy.scarcity is ScarcityPolicy.PRIORITY or not differ:
        return []
    named = ", ".join(f"{model.id} ({model.priority})" for model in models if model.priority)
    return [
        f"the priorities of {named} have no effect: when GPUs are short, every model gets the same "
        f"share of its demand (scarcity: {policy.scarcity}); a PlanningPolicy with scarcity: "
        "Priority serves class by class"
    ]


def _models(manifests: Manifests) -> tuple[tuple[ServedModel, ...], tuple[str, ...]]:
    policy = manifests.policy.spec if manifests.policy else PlanningPolicySpec()
    models: list[ServedModel] = []
    faulty: list[str] = []
    for service in manifests.services:
        converted = served_models(service, policy, may_read_files=True)
        models.extend(converted.models)
        faulty.extend(
            f"{service.namespace}/{service.metadata.name}/{problem.model}: {problem.message}"
            for problem in converted.problems
        )
    if not models:
        raise InvalidInputError(faulty)
    return tuple(sorted(models, key=lambda model: model.id)), tuple(faulty)


class _Cluster(NamedTuple):
    """The GPUs on offer, and what is to be said about them."""

    pools: tuple[GpuPool, ...]
    refused: tuple[RefusedNode, ...]
    notes: tuple[str, ...]


def _cluster(
    manifests: Manifests, *, inventory: Path | None, kubeconfig: Path | None, context: str | None
) -> _Cluster:
    if inventory is not None:
        unused = [f"GPUPool {pool.metadata.name}" for pool in manifests.pools]
        unused += [f"nodes of the files, {len(manifests.nodes)} in all,"] if manifests.nodes else []
        unused_notes = [f"{what} not used: the GPUs are those of {inventory}" for what in unused]
        return _Cluster(read_inventory(inventory), (), tuple(unused_notes))
    if kubeconfig is not None:
        # Only a live cluster needs the Kubernetes client.
        from coral_cli.kubeconfig import nodes_and_pods

        nodes, pods = nodes_and_pods(kubeconfig, context)
    else:
        nodes, pods = list(manifests.nodes), list(manifests.pods)
    if not nodes and not manifests.pools:
        raise InvalidInputError(
            ["no GPUs: name a cluster with --cluster, --inventory or --kubeconfig"]
        )
    found = discover(
        nodes,
        pods,
        tuple(pool_override(pool) for pool in manifests.pools),
        ours=lambda _pod: False,
    )
    notes = tuple(f"{notice.subject}: {notice.message}" for notice in found.notices)
    return _Cluster(found.pools, found.refused, notes)


def _some(label: str, texts: Sequence[str]) -> list[str]:
    """Return the first of many texts, and how many more there are."""
    shown = [f"{label} {text}".lstrip() for text in texts[:MOST_NOTES]]
    more = len(texts) - len(shown)
    return [*shown, f"{label} {more} more".lstrip()] if more else shown


def only_models(read: ReadProblem, names: Sequence[str]) -> ReadProblem:
    """Keep the models whose id, or its last part, is one of ``names``; all without names.

    Raises
    ------
    InvalidInputError
        If a name fits no model.
    """
    if not names:
        return read
    chosen = [
        model
        for model in read.problem.models
        if model.id in names or model.id.rsplit("/", 1)[-1] in names
    ]
    known = {part for model in chosen for part in (model.id, model.id.rsplit("/", 1)[-1])}
    unknown = [name for name in names if name not in known]
    if unknown:
        ids = ", ".join(model.id for model in read.problem.models)
        raise InvalidInputError(
            [f"no model {name!r}; the files have {ids}" for name in unknown], reason="UnknownName"
        )
    return replace(read, problem=replace(read.problem, models=tuple(chosen)))
