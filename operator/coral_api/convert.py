"""Between the manifests and the solver's domain."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coral_api.conditions import Reason
from coral_api.planningpolicy import PlanningPolicySpec
from coral_api.pool_override import PoolOverride
from coral_solver.catalog import gpu_type, model_arch
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import CapacityKind, Precision
from coral_solver.domain.plan import Policy
from coral_solver.domain.workload import LengthDistribution, ModelArch, ServedModel, Slo, Workload

if TYPE_CHECKING:
    from coral_api.gpupool import GPUPool
    from coral_api.multillmservice import LengthSpec, ModelSpec, MultiLLMService

SERVABLE = {
    Precision.BF16: (Precision.BF16, Precision.FP16, Precision.FP8),
    Precision.FP16: (Precision.FP16, Precision.BF16, Precision.FP8),
    Precision.FP8: (Precision.FP8,),
    Precision.MXFP4: (Precision.MXFP4,),
}
"""Precisions that vLLM 0.32 serves a checkpoint in, by the one that it was published in.

It quantises bf16 and fp16 weights to fp8 while loading; it does not go back from fp8 or mxfp4, and
its own mxfp4 also quantises the dense layers, which is another model than the published one.
"""

_DEFAULT_POLICY = PlanningPolicySpec()


class ModelRef(NamedTuple):
    """A model of a service; its text form is the id that the planner uses."""

    namespace: str
    service: str
    model: str

    def __str__(self) -> str:
        """Return ``namespace/service/model``."""
        return "/".join(self)

    @classmethod
    def parse(cls, model_id: str) -> ModelRef:
        """Return the reference that an id stands for.

        Raises
        ------
        ValueError
            If the id does not have three parts.
        """
        namespace, service, model = model_id.split("/")
        return cls(namespace, service, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProblem:
    """Why a model cannot be planned; the service's other models can.

    Attributes
    ----------
    model
        Name of the model in its service.
    reason
        The reason that the model's status reports.
    message
        What to change.
    """

    model: str
    reason: Reason
    message: str


class ConvertedModels(NamedTuple):
    """The models of a service: those that can be planned, and why the others cannot."""

    models: tuple[ServedModel, ...]
    problems: tuple[ModelProblem, ...]


def served_models(
    service: MultiLLMService,
    policy: PlanningPolicySpec = _DEFAULT_POLICY,
    *,
    may_read_files: bool = False,
) -> ConvertedModels:
    """Return the models of a service in the planner's terms.

    Parameters
    ----------
    service
        A valid service.
    policy
        Sets the ceilings on priorities.
    may_read_files
        Whether ``catalogModel`` may be the path of a ``config.json``. True for a person's own
        files; False in the operator, which must not open files for whoever may write a service.

    Returns
    -------
    ConvertedModels
        Models sorted by id. A model whose names the catalogues do not know becomes a problem and
        does not keep the others from being planned.
    """
    models, problems = [], []
    for spec in sorted(service.spec.models, key=lambda model: model.name):
        arch = _architecture(spec, may_read_files=may_read_files)
        found = _problems(spec, arch)
        if isinstance(arch, ModelArch) and not found:
            models.append(_served_model(spec, arch, service, policy))
        problems += found
    return ConvertedModels(tuple(models), tuple(problems))


def _architecture(spec: ModelSpec, *, may_read_files: bool) -> ModelArch | ModelProblem:
    # A service without both is not valid.
    name = spec.catalog_model or spec.source.hugging_face or ""
    if name.endswith(".json") and not may_read_files:
        message = f"{name!r} is a path; name a model of the catalogue here"
        return ModelProblem(model=spec.name, reason=Reason.UNKNOWN_MODEL, message=message)
    try:
        return model_arch(name)
    except CatalogError as error:
        hint = "" if spec.catalog_model else " Set catalogModel to a model of the same shape."
        return ModelProblem(model=spec.name, reason=Reason.UNKNOWN_MODEL, message=f"{error}{hint}")


def _problems(spec: ModelSpec, arch: ModelArch | ModelProblem) -> list[ModelProblem]:
    problems = []
    for field, names in (("allow", spec.gpu_types.allow or ()), ("deny", spec.gpu_types.deny)):
        for name in names:
            try:
                gpu_type(name)
            except CatalogError as error:
                problems.append(
                    ModelProblem(
                        model=spec.name,
                        reason=Reason.UNKNOWN_GPU_TYPE,
                        message=f"gpuTypes.{field}: {error}",
                    )
                )
    if isinstance(arch, ModelProblem):
        return [*problems, arch]
    if spec.precision not in (None, *SERVABLE[arch.native_precision]):
        choices = " or ".join(SERVABLE[arch.native_precision])
        problems.append(
            ModelProblem(
                model=spec.name,
                reason=Reason.UNSUPPORTED_PRECISION,
                message=f"the engine cannot serve {arch.name}, published in"
                f" {arch.native_precision}, in {spec.precision}; set precision to {choices}",
            )
        )
    mean_tokens = sum(
        _lengths(lengths).mean_tokens
        for lengths in (spec.workload.input_tokens, spec.workload.output_tokens)
    )
    for tokens, what in (
        (spec.max_model_len_tokens or 0, "maxModelLenTokens is"),
        (mean_tokens, "the mean request has"),
    ):
        if tokens > arch.max_context_tokens:
            problems.append(
                ModelProblem(
                    model=spec.name,
                    reason=Reason.CONTEXT_TOO_LONG,
                    message=f"{what} {tokens:g} tokens, and {arch.name} takes"
                    f" {arch.max_context_tokens} at most",
                )
            )
    return problems


def _served_model(
    spec: ModelSpec, arch: ModelArch, service: MultiLLMService, policy: PlanningPolicySpec
) -> ServedModel:
    allow, deny = spec.gpu_types.allow, spec.gpu_types.deny
    return ServedModel(
        id=str(ModelRef(service.namespace, service.metadata.name, spec.name)),
        arch=arch,
        precision=spec.precision or arch.native_precision,
        slo=Slo(
            ttft_s=spec.slo.ttft_milliseconds / 1000,
            tpot_s=spec.slo.tpot_milliseconds / 1000,
            attainment=spec.slo.attainment,
        ),
        workload=Workload(
            input_tokens=_lengths(spec.workload.input_tokens),
            output_tokens=_lengths(spec.workload.output_tokens),
            burstiness=spec.workload.burstiness,
        ),
        demand_req_per_s=spec.demand.requests_per_second,
        headroom=spec.demand.headroom,
        priority=policy.priority_of(service.namespace, spec.priority),
        min_replicas=spec.min_replicas,
        serving=spec.serving,
        allowed_gpus=None if allow is None else frozenset(gpu_type(n).name for n in allow),
        denied_gpus=frozenset(gpu_type(name).name for name in deny),
        max_model_len_tokens=spec.max_model_len_tokens,
    )


def _lengths(spec: LengthSpec) -> LengthDistribution:
    if spec.mean is not None:
        return LengthDistribution.from_mean(spec.mean)
    return LengthDistribution.from_quantiles(
        {point.q: point.tokens for point in spec.quantiles or ()}
    )


def policy_from(spec: PlanningPolicySpec) -> Policy:
    """Return the part of the policy that the planner reads.

    Parameters
    ----------
    spec
        The policy of the cluster.
    """
    return Policy(
        scarcity=spec.scarcity,
        payback_horizon_s=spec.payback_horizon_seconds,
        robustness=spec.robustness,
        budget_usd_per_hour=spec.budget_usd_per_hour,
    )


def pool_override(pool: GPUPool) -> PoolOverride:
    """Return what a GPUPool says about its nodes, for finding the pools.

    Parameters
    ----------
    pool
        A valid GPUPool; whether the catalogue knows its GPU type is checked with the nodes.
    """
    spec = pool.spec
    prices = {kind: spec.pricing.of(kind) for kind in CapacityKind}
    return PoolOverride(
        name=pool.metadata.name,
        match_labels=spec.node_selector.match_labels,
        gpu=spec.gpu_type,
        gpus_per_node=spec.gpus_per_node,
        link=spec.link,
        region=spec.region,
        kind=spec.capacity_kind,
        node_usd_per_hour={kind: usd for kind, usd in prices.items() if usd is not None},
        scaling=spec.scaling.type,
        max_nodes=spec.scaling.max_nodes or 0,
        start_time_s=spec.start_time_seconds,
        site_factor=spec.site_factor,
        tolerated_taint_keys=frozenset(spec.tolerated_taint_keys),
    )


def spec_hash(service: MultiLLMService) -> str:
    """Return a digest of a service's spec that does not depend on the order of its fields."""
    text = json.dumps(service.spec.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
