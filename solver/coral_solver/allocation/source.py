"""Where the templates of stage 2 come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class TemplateSource(Protocol):
    """Gives stage 2 its templates: a library today, exact pricing without a library later."""

    @property
    def scope(self) -> str:
        """In words: which templates the bounds of a plan made from this source hold for."""
        ...

    def templates(
        self, model: ServedModel, configs: Sequence[NodeConfig]
    ) -> Sequence[ServingTemplate]:
        """Return every useful template of a model that can be built from some configurations.

        Parameters
        ----------
        model
            The model, with its SLO and its traffic; phases and GPU types it does not allow are
            left out.
        configs
            Node configurations on offer, sorted.

        Returns
        -------
        Sequence[ServingTemplate]
            In a fixed order that depends on the inputs only. A template within ``scope`` may be
            left out only if one or several others of the same phase together need a sub-multiset
            of its configurations and together carry at least as much: stage 2 loses nothing then.
        """
        ...
