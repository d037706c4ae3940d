"""Serving templates that are built when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from coral_solver.domain.template import ServingTemplate, StagePlacement
from coral_solver.templates.placements import NO_NODE, join_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import EngineSettings, Prediction
    from coral_solver.domain.workload import Phase
    from coral_solver.templates.placements import Placements

Describe = Callable[
    [tuple[StagePlacement, ...], float, int], "tuple[Prediction, EngineSettings | None]"
]
"""(stages, capacity in requests per second, operating point) -> prediction and engine settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTemplates:
    """Placements of one phase, with what turns a placement into a template."""

    phase: Phase
    placements: Placements
    describe: Describe


class TemplateList(Sequence[ServingTemplate]):
    """Templates of one model: arrays to search in, objects on demand.

    A plan uses a handful of templates out of up to hundreds of thousands; building every object
    would take longer than the search. Order: by phase as given, then as in the placements.

    Parameters
    ----------
    model_id
        ``ServedModel.id``.
    made_for
        ``ServedModel.targets_digest``.
    configs
        Node configurations that the placements refer to.
    parts
        Placements by phase.

    Attributes
    ----------
    configs
        Node configurations, C of them.
    phases
        Phases.
    phase_index
        Shape (T,): index into ``phases``.
    capacity_req_per_s
        Shape (T,).
    nodes
        Shape (T, N): index into ``configs`` of each node, ``NO_NODE`` beyond the last one.
    """

    def __init__(
        self,
        model_id: str,
        made_for: str,
        configs: Sequence[NodeConfig],
        parts: Sequence[PhaseTemplates],
    ) -> None:
        self._model_id = model_id
        self._made_for = made_for
        self._parts = tuple(parts)
        self._starts = np.cumsum([0] + [len(part.placements) for part in self._parts])
        self._built: dict[int, ServingTemplate] = {}
        self.configs = tuple(configs)
        self.phases: tuple[Phase, ...] = tuple(part.phase for part in self._parts)
        self.phase_index: NDArray[np.int8] = np.repeat(
            np.arange(len(self._parts), dtype=np.int8), np.diff(self._starts)
        )
        self.capacity_req_per_s: NDArray[np.float64] = np.concatenate(
            [np.zeros(0), *(part.placements.capacity_req_per_s for part in self._parts)]
        )
        nodes = [part.placements.nodes for part in self._parts]
        width = max((rows.shape[1] for rows in nodes), default=1)
        self.nodes: NDArray[np.uint8] = join_rows(nodes, width, np.uint8(NO_NODE))

    @cached_property
    def config_counts(self) -> NDArray[np.uint8]:
        """How many of each configuration a template takes, shape (T, C)."""
        return np.concatenate(
            [
                np.zeros((0, len(self.configs)), dtype=np.uint8),
                *(part.placements.config_counts(len(self.configs)) for part in self._parts),
            ]
        )

    def __len__(self) -> int:
        """Return T."""
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> ServingTemplate: ...
    @overload
    def __getitem__(self, index: slice) -> list[ServingTemplate]: ...
    def __getitem__(self, index: int | slice) -> ServingTemplate | list[ServingTemplate]:
        """Return one template, always the same object, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"template {index} of {len(self)}")
        if row not in self._built:
            self._built[row] = self._build(row)
        return self._built[row]

    def _build(self, row: int) -> ServingTemplate:
        number = int(self.phase_index[row])
        part = self._parts[number]
        placements, i = part.placements, row - int(self._starts[number])
        members: dict[int, list[NodeConfig]] = {}
        for node, stage in zip(
            placements.nodes[i].tolist(), placements.stages[i].tolist(), strict=True
        ):
            if node != NO_NODE:
                members.setdefault(stage, []).append(self.configs[node])
        layers = placements.layers[i].tolist()
        stages = tuple(
            StagePlacement(layers[stage], tuple(sorted(members[stage])))
            for stage in sorted(members)
        )
        capacity = float(placements.capacity_req_per_s[i])
        prediction, engine = part.describe(stages, capacity, int(placements.points[i]))
        return ServingTemplate(
            model_id=self._model_id,
            phase=part.phase,
            stages=stages,
            prediction=prediction,
            made_for=self._made_for,
            engine=engine,
        )
