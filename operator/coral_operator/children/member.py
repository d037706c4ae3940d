"""One pipeline stage of one serving instance, with all that its pod is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_operator.children.names import instance_label, leader_service_name
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from coral_api.multillmservice import ModelSpec, MultiLLMService
    from coral_operator.children.settings import ChildSettings
    from coral_solver.domain.hardware import GpuType, NodeConfig
    from coral_solver.domain.plan import NodeSlice, ServingInstance
    from coral_solver.domain.template import EngineSettings
    from coral_solver.domain.workload import ServedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One stage of an instance: one pod. ``engine`` is that of the instance's template.

    Build members with ``members_of``, which refuses templates that vLLM cannot run.
    """

    service: MultiLLMService
    spec: ModelSpec
    model: ServedModel
    instance: ServingInstance
    engine: EngineSettings
    stage: int
    settings: ChildSettings

    @property
    def stages(self) -> int:
        """Number of pipeline stages of the instance."""
        return len(self.instance.template.stages)

    @property
    def is_leader(self) -> bool:
        """Whether the pod has the HTTP server: stage 0."""
        return self.stage == 0

    @property
    def phase(self) -> Phase:
        """Phase that the instance serves."""
        return self.instance.template.phase

    @property
    def config(self) -> NodeConfig:
        """The GPUs of the stage."""
        return self.instance.template.stages[self.stage].configs[0]

    @property
    def slice(self) -> NodeSlice:
        """Where the stage runs."""
        return self.instance.slices[self.stage]

    @property
    def gpu(self) -> GpuType:
        """GPU type of the stage."""
        return self.settings.gpu_types[self.config.gpu]

    @property
    def label(self) -> str:
        """Label value of the instance."""
        return instance_label(self.instance.name)

    @property
    def leader_host(self) -> str:
        """DNS name of stage 0; only pipelines of several stages have it."""
        return f"{leader_service_name(self.instance.name)}.{self.service.namespace}.svc"


def members_of(
    service: MultiLLMService,
    spec: ModelSpec,
    model: ServedModel,
    instance: ServingInstance,
    settings: ChildSettings,
) -> tuple[tuple[Member, ...], list[str]]:
    """Return the stages of an instance, or what keeps vLLM from running its template.

    Returns
    -------
    tuple of Member
        One per stage, first to last; empty where there are problems.
    list of str
        One sentence per problem.
    """
    engine = instance.template.engine
    stages = instance.template.stages
    if engine is None:
        return (), [f"instance {instance.name}: its template has no engine settings"]
    problems = []
    if engine.pipeline_parallel != len(stages) or len(instance.slices) != len(stages):
        problems.append(
            f"{len(stages)} stages, {len(instance.slices)} slices and pipeline parallelism"
            f" {engine.pipeline_parallel} must be the same number"
        )
    for number, stage in enumerate(stages):
        sizes = [config.gpu_count for config in stage.configs]
        if sizes != [engine.tensor_parallel]:
            problems.append(
                f"stage {number} needs one node configuration of {engine.tensor_parallel} GPUs,"
                f" the tensor parallelism; it has {sizes}"
            )
        problems.extend(
            f"GPU type {config.gpu} is not in the catalogue"
            for config in stage.configs
            if config.gpu not in settings.gpu_types
        )
    layers = tuple(stage.layers for stage in stages)
    if layers != engine.layers_per_stage or sum(layers) != model.arch.layers or min(layers) < 1:
        problems.append(
            f"layers {layers} of the stages and {engine.layers_per_stage} of the engine must be"
            f" equal, positive and add up to the model's {model.arch.layers}"
        )
    if instance.template.phase is Phase.DECODE and len(stages) > 1:
        problems.append("vLLM does not pipeline the decode side of a disaggregated model")
    if problems:
        return (), [f"instance {instance.name}: {problem}" for problem in problems]
    return (
        tuple(
            Member(
                service=service,
                spec=spec,
                model=model,
                instance=instance,
                engine=engine,
                stage=stage,
                settings=settings,
            )
            for stage in range(len(stages))
        ),
        [],
    )
