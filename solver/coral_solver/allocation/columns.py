"""The columns of the integer program: which template can start in which region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from coral_solver.allocation.dominance import undominated
from coral_solver.allocation.ground import Draw, build_ground
from coral_solver.allocation.template_table import tables_by_phase
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from coral_solver.allocation.ground import Ground, KnownTemplates
    from coral_solver.allocation.keeps import KeepClass
    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.allocation.supply import Supply
    from coral_solver.allocation.template_table import TemplateTable
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class Column(NamedTuple):
    """New instances of a template in a region, on nodes of at least some site factor.

    ``capacity_req_per_s`` has the site factor in it. ``configs`` are the template's node
    configurations with their numbers. The template itself is ``handle`` of ``lookup``; it is
    looked up only for what a plan starts.
    """

    model: int
    phase: Phase
    region: str
    site_factor: float
    capacity_req_per_s: float
    configs: tuple[tuple[NodeConfig, int], ...]
    lookup: TemplateLookup
    handle: int

    @property
    def template(self) -> ServingTemplate:
        """The template."""
        return self.lookup.template(self.handle)


class TemplateLookup(Protocol):
    """What has the template that a column is about."""

    def template(self, handle: int, /) -> ServingTemplate:
        """Return the template of a handle."""
        ...


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All that a plan can be made of.

    Attributes
    ----------
    problem
        The problem, with models, pools and instances in force sorted.
    options
        Rules and limits.
    supplies
        GPUs on offer.
    columns
        What can be started.
    keeps
        What can stay.
    draws
        Every way to take a slice for a new instance, sorted.
    known
        By model: what the template source has for it, whatever is free at the moment.
    placeable
        Indices of the models that something can run for on the GPUs that are free.
    scope
        What the bounds of a plan made from this space hold for.
    """

    problem: PlanningProblem
    options: AllocationOptions
    supplies: tuple[Supply, ...]
    columns: tuple[Column, ...]
    keeps: tuple[KeepClass, ...]
    draws: tuple[Draw, ...]
    known: tuple[KnownTemplates, ...]
    placeable: frozenset[int]
    scope: str


def space_of(ground: Ground, columns: Iterable[Column]) -> SearchSpace:
    """Return the search space with some columns.

    Parameters
    ----------
    ground
        What there is beside the columns.
    columns
        In an order that does not depend on the order of anything in the input.
    """
    columns = tuple(columns)
    supplies = {(offer.region, offer.site_factor): offer.supplies for offer in ground.offers}
    draws = {
        Draw(column.region, column.site_factor, config, supply)
        for column in columns
        for config, _ in column.configs
        for supply in supplies[column.region, column.site_factor][config]
    }
    placeable = {model for model, _ in ground.places} | {keep.model for keep in ground.keeps}
    return SearchSpace(
        problem=ground.problem,
        options=ground.options,
        supplies=ground.supplies,
        columns=columns,
        keeps=ground.keeps,
        draws=tuple(sorted(draws)),
        known=ground.known,
        placeable=frozenset(placeable),
        scope=ground.scope,
    )


def build_space(
    problem: PlanningProblem, source: TemplateSource, options: AllocationOptions
) -> SearchSpace:
    """Collect all columns of a source, without those that no optimal plan needs.

    ``allocate`` finds the few columns that matter by their price instead; this is the oracle.

    Parameters
    ----------
    problem
        The problem, sorted.
    source
        Where templates come from.
    options
        Rules for cutting slices and for pairing phases.

    Returns
    -------
    SearchSpace
        With sorted contents: it does not depend on the order of anything in the input.
    """
    ground = build_ground(problem, source, options)
    columns: list[Column] = []
    for index, model in enumerate(problem.models):
        if any((index, phase) in ground.places for phase in Phase):
            tables = tables_by_phase(source.templates(model, ground.configs), ground.configs)
            for phase, table in tables.items():
                columns += _columns_of(ground, index, phase, table)
    return space_of(ground, columns)


def target_req_per_s(model: ServedModel) -> float:
    """Return the rate to plan for: raw demand plus headroom."""
    return model.demand_req_per_s * (1.0 + model.headroom)


def column_of(
    ground: Ground,
    model: int,
    phase: Phase,
    offer: int,
    counts: NDArray[np.int64],
    capacity_req_per_s: float,
    lookup: TemplateLookup,
    handle: int,
) -> Column:
    """Return the column of a template in an offer.

    Parameters
    ----------
    ground
        What there is beside the columns.
    model, phase
        What the template serves.
    offer
        Index of the offer.
    counts
        Shape (C,): node configurations that the template takes.
    capacity_req_per_s
        Of the template, without the site factor.
    lookup, handle
        Where the template is.
    """
    place = ground.offers[offer]
    return Column(
        model,
        phase,
        place.region,
        place.site_factor,
        capacity_req_per_s * place.site_factor,
        tuple((ground.configs[i], int(counts[i])) for i in np.flatnonzero(counts).tolist()),
        lookup,
        handle,
    )


def _columns_of(ground: Ground, index: int, phase: Phase, table: TemplateTable) -> list[Column]:
    """Return the columns of one model and phase."""
    model = ground.problem.models[index]
    rooms = ground.rooms[index]
    places = ground.places.get((index, phase), ())
    fits = {
        place: np.all(table.counts @ rooms[place].units <= rooms[place].slots, axis=1)
        for place in places
    }
    if not fits:
        return []
    candidates = np.flatnonzero(np.any(np.array(list(fits.values()), dtype=bool), axis=0))
    # What a template carries beyond the target is worth nothing. The cap is taken before the
    # site factor is applied, so it is that of the slowest site.
    cap = target_req_per_s(model) / min(offer.site_factor for offer in ground.offers)
    capacity = np.minimum(table.capacity_req_per_s[candidates], cap)
    kept = candidates[undominated(table.counts[candidates], capacity)]

    columns = []
    for position in kept.tolist():
        counts = table.counts[position]
        rate = float(table.capacity_req_per_s[position])
        seen: tuple[str, tuple[tuple[int, ...], ...]] | None = None
        for place in places:
            offer = ground.offers[place]
            taken = [ground.configs[i] for i in np.flatnonzero(counts).tolist()]
            drawn = (offer.region, tuple(offer.supplies[config] for config in taken))
            # A lower site factor is a choice of its own only if it opens more supplies.
            if fits[place][position] and drawn != seen:
                seen = drawn
                columns.append(
                    column_of(ground, index, phase, place, counts, rate, table, position)
                )
    return columns
