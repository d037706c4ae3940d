"""The templates that peers without mixed replicas may use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coral_solver.allocation.template_table import homogeneous_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.allocation.source import TemplateSource
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class HomogeneousSource:
    """Another source's homogeneous templates.

    A template that the source leaves out because others need a part of its node configurations
    is no loss: a part of a homogeneous template is homogeneous.

    Parameters
    ----------
    source
        Where templates come from.
    """

    def __init__(self, source: TemplateSource) -> None:
        self._source = source

    @property
    def scope(self) -> str:
        """In words: which templates the bounds hold for."""
        return f"replicas of one kind of node configuration each, among {self._source.scope}"

    def templates(
        self, model: ServedModel, configs: Sequence[NodeConfig]
    ) -> Sequence[ServingTemplate]:
        """Return the homogeneous templates of a model."""
        return homogeneous_templates(self._source.templates(model, configs))


def homogeneous_problem(problem: PlanningProblem) -> PlanningProblem:
    """Return the problem without the instances in force that these peers could not have."""
    kept = tuple(i for i in problem.in_force if i.template.is_homogeneous)
    return replace(problem, in_force=kept)
