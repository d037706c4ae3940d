"""From a placement to what is expected of it: prediction and engine settings."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from coral_solver.domain.template import Prediction
from coral_solver.performance.tables import role_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import EngineSettings, StagePlacement
    from coral_solver.domain.workload import Phase, ServedModel
    from coral_solver.performance.tables import JointTables
    from coral_solver.templates.template_list import Describe


def describe_paper(model: ServedModel) -> Describe:
    """Return what describes ``paper`` placements of a model: a rate, and no latencies.

    The nodes of one stage run different batches; the rule only says that each stage stays within
    its share of the SLO.

    Parameters
    ----------
    model
        What is served.
    """

    def describe(
        stages: tuple[StagePlacement, ...],
        capacity_req_per_s: float,
        point: int,
    ) -> tuple[Prediction, EngineSettings | None]:
        from coral_solver.performance.anchors import template_evidence

        bar = template_evidence(model, stages)
        prediction = Prediction(
            capacity_req_per_s=capacity_req_per_s,
            ttft_s=0.0,
            tpot_s=0.0,
            batch_per_stage=0.0,
            source="physical model, paper rule: every stage within its share of the SLO; "
            f"{bar.rests_on}",
            error_share=bar.error_share,
        )
        return prediction, None

    return describe


def describe_vllm(
    model: ServedModel, phase: Phase, configs: Sequence[NodeConfig], max_stages: int
) -> Describe:
    """Return what describes ``vllm`` placements of one phase of a model.

    Parameters
    ----------
    model, phase
        What is served.
    configs, max_stages
        As the placements were searched with: the operating points are numbered by them.

    Returns
    -------
    Describe
        Builds the joint tables when it is first called; a loaded library needs them only for the
        templates that somebody looks at.
    """

    @cache
    def tables_of(gpu_count: int) -> JointTables:
        from coral_solver.performance.capacity import joint_tables

        same_size = [config for config in configs if config.gpu_count == gpu_count]
        return joint_tables(model, phase, same_size, max_stages)

    def describe(
        stages: tuple[StagePlacement, ...],
        capacity_req_per_s: float,
        point: int,
    ) -> tuple[Prediction, EngineSettings | None]:
        from coral_solver.performance.anchors import template_evidence
        from coral_solver.performance.capacity import engine_settings_at, prediction_at

        tables = tables_of(stages[0].configs[0].gpu_count)
        count = len(stages)
        tau_s = stretch = 0.0
        for number, stage in enumerate(stages):
            c = tables.configs.index(stage.configs[0])
            role = role_of(number, count)
            step_s = stage.layers * tables.layer_s[count - 1, point, c]
            step_s += tables.extra_s[count - 1, point, role, c]
            tau_s = max(tau_s, float(step_s))
            stretch = max(stretch, float(tables.stretch[count - 1, point, role, c]))
        layers_per_stage = [stage.layers for stage in stages]
        bar = template_evidence(model, stages)
        return (
            prediction_at(tables, point, count, tau_s, stretch, evidence=bar),
            engine_settings_at(model, phase, tables, point, layers_per_stage),
        )

    return describe
