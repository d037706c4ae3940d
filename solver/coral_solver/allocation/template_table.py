"""Templates as arrays: hundreds of thousands of objects would take longer than the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import Phase


@runtime_checkable
class ArrayTemplates(Protocol):
    """A sequence of templates that also has them as arrays, such as the library's lists.

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
    config_counts
        Shape (T, C): how many of each configuration a template takes.
    """

    configs: tuple[NodeConfig, ...]
    phases: tuple[Phase, ...]
    phase_index: NDArray[np.int8]
    capacity_req_per_s: NDArray[np.float64]
    config_counts: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class TemplateTable:
    """Templates of one model and phase.

    Attributes
    ----------
    templates
        All templates of the source; ``rows`` says which ones the table is about.
    rows
        Shape (N,): indices into ``templates``.
    capacity_req_per_s
        Shape (N,).
    counts
        Shape (N, C): how many of each configuration on offer each takes.
    """

    templates: Sequence[ServingTemplate]
    rows: NDArray[np.int64]
    capacity_req_per_s: NDArray[np.float64]
    counts: NDArray[np.int64]

    def template(self, position: int) -> ServingTemplate:
        """Return the template at a position of the arrays."""
        return self.templates[int(self.rows[position])]


def tables_by_phase(
    templates: Sequence[ServingTemplate], configs: Sequence[NodeConfig]
) -> dict[Phase, TemplateTable]:
    """Split templates by phase; those without capacity are left out.

    Parameters
    ----------
    templates
        What a source gave for one model.
    configs
        Node configurations on offer, C of them; every template is made of these.
    """
    number = {config: i for i, config in enumerate(configs)}
    counts = np.zeros((len(templates), len(configs)), dtype=np.int64)
    if isinstance(templates, ArrayTemplates):
        columns = [number[config] for config in templates.configs]
        counts[:, columns] = templates.config_counts
        capacity = templates.capacity_req_per_s
        phases = list(templates.phases)
        phase_index = templates.phase_index.astype(np.int64)
    else:
        capacity = np.array([t.capacity_req_per_s for t in templates], dtype=np.float64)
        phases = sorted({t.phase for t in templates})
        phase_index = np.array([phases.index(t.phase) for t in templates], dtype=np.int64)
        for row, template in enumerate(templates):
            for config in template.configs:
                counts[row, number[config]] += 1
    tables = {}
    for index, phase in enumerate(phases):
        rows = np.flatnonzero((phase_index == index) & (capacity > 0))
        if len(rows):
            tables[phase] = TemplateTable(
                templates=templates,
                rows=rows,
                capacity_req_per_s=capacity[rows],
                counts=counts[rows],
            )
    return dict(sorted(tables.items()))


def homogeneous_templates(templates: Sequence[ServingTemplate]) -> list[ServingTemplate]:
    """Return the templates that are made of one kind of node configuration."""
    if isinstance(templates, ArrayTemplates):
        kinds = np.count_nonzero(templates.config_counts, axis=1)
        return [templates[row] for row in np.flatnonzero(kinds == 1).tolist()]
    return [template for template in templates if template.is_homogeneous]
