"""Read a snapshot: which services, models, policy and pools it has, and what is wrong with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from coral_api.conditions import Reason
from coral_api.convert import ModelProblem, ModelRef, served_models
from coral_api.gpupool import GPUPool
from coral_api.multillmservice import MultiLLMService, OperatingMode
from coral_api.performanceprofile import PerformanceProfile
from coral_api.planningpolicy import PlanningPolicy, PlanningPolicySpec
from coral_api.problems import problem_text
from coral_api.profiles import read_profiles
from coral_operator.children.user_engine import engine_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coral_operator.kube.client import Manifest
    from coral_solver.domain.profile import MeasuredPoint
    from coral_solver.domain.workload import ServedModel


class ServiceRef(NamedTuple):
    """Namespace and name of a MultiLLMService."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``namespace/name``, the beginning of the ids of the service's models."""
        return f"{self.namespace}/{self.name}"


def known_reason(text: str) -> Reason | None:
    """Return the reason that a word stands for, or None."""
    return next((reason for reason in Reason if reason.value == text), None)


class Problem(NamedTuple):
    """What is wrong with an input, as a condition reports it."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInput:
    """One MultiLLMService as it was read.

    Attributes
    ----------
    ref, manifest
        The object.
    service
        Its typed form; None where it does not validate, or while it is being deleted.
    problem
        Why ``service`` is None, or which of its models cannot be planned.
    models
        The models that can be planned.
    model_problems
        Why the others cannot.
    """

    ref: ServiceRef
    manifest: Manifest
    service: MultiLLMService | None = None
    problem: Problem | None = None
    models: tuple[ServedModel, ...] = ()
    model_problems: tuple[ModelProblem, ...] = ()

    @property
    def uid(self) -> str:
        """Identity of the object."""
        return str(self.manifest["metadata"].get("uid", ""))

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        return int(self.manifest["metadata"].get("generation", 0))

    @property
    def is_deleting(self) -> bool:
        """Whether its deletion was asked for."""
        return bool(self.manifest["metadata"].get("deletionTimestamp"))

    @property
    def is_paused(self) -> bool:
        """Whether nothing may be changed for it."""
        return self.service is not None and self.service.spec.paused

    @property
    def mode(self) -> OperatingMode:
        """What its spec asks for; of a spec that does not validate, the harmless one."""
        return self.service.spec.mode if self.service is not None else OperatingMode.SHADOW


def read_services(
    manifests: Iterable[Manifest],
    policy: PlanningPolicySpec,
    namespaces: frozenset[str] | None = None,
) -> tuple[ServiceInput, ...]:
    """Read services, the broken ones too.

    Parameters
    ----------
    manifests
        MultiLLMServices as the API server has them.
    policy
        Sets the ceilings on priorities.
    namespaces
        The operator's scope; None: every namespace.
    """
    read = []
    for manifest in manifests:
        metadata = manifest["metadata"]
        ref = ServiceRef(metadata["namespace"], metadata["name"])
        if namespaces is None or ref.namespace in namespaces:
            read.append(_read_service(ref, manifest, policy))
    return tuple(sorted(read, key=lambda s: s.ref))


def _read_service(ref: ServiceRef, manifest: Manifest, policy: PlanningPolicySpec) -> ServiceInput:
    if manifest["metadata"].get("deletionTimestamp"):
        return ServiceInput(ref=ref, manifest=manifest)
    try:
        service = MultiLLMService.from_manifest(manifest)
    except ValidationError as error:
        problem = Problem(Reason.INVALID_SPEC, problem_text(error, MultiLLMService))
        return ServiceInput(ref=ref, manifest=manifest, problem=problem)
    converted, problems = served_models(service, policy)
    for spec in service.spec.models:
        # What the pods cannot be started with must not be given GPUs.
        faults = engine_problems(spec)
        if faults:
            text = "; ".join(faults)
            problems += (ModelProblem(model=spec.name, reason=Reason.INVALID_INPUT, message=text),)
    broken = {str(ModelRef(*ref, problem.model)) for problem in problems}
    models = tuple(model for model in converted if model.id not in broken)
    problem_of_some = None
    if problems:
        text = "; ".join(f"{p.model}: {p.message}" for p in problems)
        # A single reason is more telling than "some models".
        reasons = {p.reason for p in problems}
        reason = reasons.pop() if len(reasons) == 1 and not models else Reason.SOME_MODELS_INVALID
        problem_of_some = Problem(reason, text)
    return ServiceInput(
        ref=ref,
        manifest=manifest,
        service=service,
        problem=problem_of_some,
        models=models,
        model_problems=problems,
    )


def read_policy(manifests: Iterable[Manifest]) -> tuple[PlanningPolicySpec, Problem | None]:
    """Read the PlanningPolicy; a missing or broken one gives the defaults."""
    for manifest in manifests:
        try:
            return PlanningPolicy.from_manifest(manifest).spec, None
        except ValidationError as error:
            text = f"PlanningPolicy: {problem_text(error, PlanningPolicy)}; defaults are used"
            return PlanningPolicySpec(), Problem(Reason.INVALID_POLICY, text)
    return PlanningPolicySpec(), None


def read_gpu_pools(
    manifests: Iterable[Manifest],
) -> tuple[tuple[GPUPool, ...], Mapping[str, Problem]]:
    """Read the GPUPools; a broken one is left out, and told by its name."""
    pools, problems = [], {}
    for manifest in manifests:
        try:
            pools.append(GPUPool.from_manifest(manifest))
        except ValidationError as error:
            problems[manifest["metadata"]["name"]] = Problem(
                Reason.INVALID_POOL, problem_text(error, GPUPool)
            )
    return tuple(pools), problems


def read_performance_profiles(
    manifests: Iterable[Manifest],
) -> tuple[Mapping[str, tuple[MeasuredPoint, ...]], Mapping[str, Problem]]:
    """Read the PerformanceProfiles: points of those that are used, and what is wrong with others.

    Parameters
    ----------
    manifests
        PerformanceProfiles as the API server has them.

    Returns
    -------
    tuple of mappings
        Both by the name of the profile. A profile that is not used changes nothing else.
    """
    profiles, problems = [], {}
    for manifest in manifests:
        try:
            profiles.append(PerformanceProfile.from_manifest(manifest))
        except ValidationError as error:
            problems[manifest["metadata"]["name"]] = Problem(
                Reason.INVALID_PROFILE, problem_text(error, PerformanceProfile)
            )
    read = read_profiles(profiles)
    return read.points, {**problems, **{k: Problem(*v) for k, v in read.problems.items()}}
