"""The columns of the integer program: which template can start in which region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.dominance import undominated
from coral_solver.allocation.keeps import find_keeps
from coral_solver.allocation.supply import build_supplies
from coral_solver.allocation.template_table import tables_by_phase
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.keeps import KeepClass
    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplateSource
    from coral_solver.allocation.supply import Supply
    from coral_solver.allocation.template_table import TemplateTable
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class Draw(NamedTuple):
    """Slices of one configuration that instances of one column kind take from one supply.

    Only supplies whose site factor is at least ``site_factor`` may be drawn from.
    """

    region: str
    site_factor: float
    config: NodeConfig
    supply: int


class Column(NamedTuple):
    """New instances of a template in a region, on nodes of at least some site factor.

    ``capacity_req_per_s`` has the site factor in it. ``configs`` are the template's node
    configurations with their numbers. The template itself is position ``position`` of ``table``;
    it is looked up only for what a plan starts.
    """

    model: int
    phase: Phase
    region: str
    site_factor: float
    capacity_req_per_s: float
    configs: tuple[tuple[NodeConfig, int], ...]
    table: TemplateTable
    position: int

    @property
    def template(self) -> ServingTemplate:
        """The template."""
        return self.table.template(self.position)


class KnownTemplates(NamedTuple):
    """What the template source has for one model.

    ``can_serve``: there are templates of every phase that serving it needs. ``gpus``: GPU types
    that they use. ``least``: the fewest GPUs that can serve it, and an example of what they are,
    for people; empty where nothing can.
    """

    can_serve: bool
    gpus: frozenset[str]
    least: str


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


def build_space(
    problem: PlanningProblem, source: TemplateSource, options: AllocationOptions
) -> SearchSpace:
    """Collect columns and keeps, without those that no optimal plan needs.

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
    configs = configs_on_offer(problem.pools, whole_nodes_only=options.whole_nodes_only)
    supplies = build_supplies(problem.pools)
    offers = _offers(supplies, configs, options)
    units = _units(configs, whole_nodes_only=options.whole_nodes_only)

    columns: list[Column] = []
    fresh: dict[str, ServingTemplate] = {}
    known = []
    for index, model in enumerate(problem.models):
        if model.demand_req_per_s <= 0 and model.min_replicas <= 0:
            known.append(KnownTemplates(can_serve=False, gpus=frozenset(), least=""))
            continue
        tables = {
            phase: table
            for phase, table in tables_by_phase(source.templates(model, configs), configs).items()
            if phase in model.serving.phases
        }
        known.append(_known_templates(tables, configs))
        for phase, table in tables.items():
            columns += _columns_of(index, model, phase, table, configs, offers, units)
        fresh |= _fresh_templates(problem, model, tables, configs)

    keeps = find_keeps(problem, supplies, fresh, options)
    columns, keeps = _with_partner_phase(columns, keeps, sum_regions=options.sum_regions)
    draws = {
        Draw(column.region, column.site_factor, config, supply)
        for column in columns
        for config, _ in column.configs
        for supply in offers[column.region, column.site_factor].supplies[config]
    }
    runnable: list[Column | KeepClass] = [*columns, *keeps]
    return SearchSpace(
        problem=problem,
        options=options,
        supplies=tuple(supplies),
        columns=tuple(columns),
        keeps=tuple(keeps),
        draws=tuple(sorted(draws)),
        known=tuple(known),
        placeable=frozenset(item.model for item in runnable),
        scope=source.scope,
    )


def target_req_per_s(model: ServedModel) -> float:
    """Return the rate to plan for: raw demand plus headroom."""
    return model.demand_req_per_s * (1.0 + model.headroom)


class _Offer(NamedTuple):
    """What the nodes of one region with at least some site factor can give.

    ``slots[c]`` is how many slices of configuration number ``c`` they hold when empty.
    """

    supplies: dict[NodeConfig, tuple[int, ...]]
    slots: NDArray[np.int64]


def _known_templates(
    tables: Mapping[Phase, TemplateTable], configs: Sequence[NodeConfig]
) -> KnownTemplates:
    gpus: set[str] = set()
    smallest: dict[Phase, tuple[int, str]] = {}
    sizes = np.array([config.gpu_count for config in configs], dtype=np.int64)
    for phase, table in tables.items():
        gpus |= {configs[i].gpu for i in np.flatnonzero(table.counts.any(axis=0)).tolist()}
        gpu_counts = table.counts @ sizes
        position = int(np.argmin(gpu_counts))
        smallest[phase] = int(gpu_counts[position]), _in_words(table.counts[position], configs)
    ways = []
    if Phase.WHOLE in smallest:
        ways.append(smallest[Phase.WHOLE])
    if {Phase.PREFILL, Phase.DECODE} <= smallest.keys():
        prefill, decode = smallest[Phase.PREFILL], smallest[Phase.DECODE]
        words = f"{prefill[1]} for prefill and {decode[1]} for decode"
        ways.append((prefill[0] + decode[0], words))
    least = ""
    if ways:
        fewest, example = min(ways)
        least = f"{fewest} GPU{'s' if fewest > 1 else ''}, for example {example}"
    return KnownTemplates(can_serve=bool(ways), gpus=frozenset(gpus), least=least)


def _in_words(counts: NDArray[np.int64], configs: Sequence[NodeConfig]) -> str:
    """Say what a template takes, such as ``2 L4 of one node and 1 A10G``."""
    parts = []
    for i in np.flatnonzero(counts).tolist():
        gpu, size, _ = configs[i]
        slices = int(counts[i])
        if size == 1:
            parts.append(f"{slices} {gpu}")
        else:
            times = f"{slices} times " if slices > 1 else ""
            parts.append(f"{times}{size} {gpu} of one node")
    return " and ".join(parts)


def _fresh_templates(
    problem: PlanningProblem,
    model: ServedModel,
    tables: Mapping[Phase, TemplateTable],
    configs: Sequence[NodeConfig],
) -> dict[str, ServingTemplate]:
    """Return the source's templates that are in force too, by id.

    Only templates on the same configurations are looked at: the digest in an id costs time.
    """
    fresh = {}
    for template in {i.template.id: i.template for i in problem.in_force}.values():
        table = tables.get(template.phase)
        if template.model_id != model.id or table is None:
            continue
        counts = [template.config_counts[config] for config in configs]
        if sum(counts) == template.config_counts.total():
            for position in np.flatnonzero((table.counts == counts).all(axis=1)).tolist():
                candidate = table.template(position)
                if candidate.id == template.id:
                    fresh[template.id] = candidate
    return fresh


def _offers(
    supplies: Sequence[Supply], configs: Sequence[NodeConfig], options: AllocationOptions
) -> dict[tuple[str, float], _Offer]:
    """Return what is on offer by region and least site factor, sorted, best factor first."""
    offers = {}
    kinds = {(supply.region, supply.pool.site_factor) for supply in supplies}
    for region, factor in sorted(kinds, key=lambda kind: (kind[0], -kind[1])):
        giving = {
            config: tuple(
                index
                for index, supply in enumerate(supplies)
                if supply.region == region
                and supply.pool.site_factor >= factor
                and supply.offers(config, whole_nodes_only=options.whole_nodes_only)
            )
            for config in configs
        }
        slots = [
            sum(supplies[index].slots(config.gpu_count) for index in giving[config])
            for config in configs
        ]
        offers[region, factor] = _Offer(giving, np.array(slots, dtype=np.int64))
    return offers


def _columns_of(
    index: int,
    model: ServedModel,
    phase: Phase,
    table: TemplateTable,
    configs: Sequence[NodeConfig],
    offers: Mapping[tuple[str, float], _Offer],
    units: NDArray[np.int64],
) -> list[Column]:
    """Return the columns of one model and phase."""
    need = table.counts @ units
    fits = {kind: np.all(need <= offer.slots, axis=1) for kind, offer in offers.items()}
    forbidden = [i for i, config in enumerate(configs) if not model.may_use(config.gpu)]
    candidates = np.flatnonzero(
        np.any(np.array(list(fits.values()), dtype=bool), axis=0)
        & ~np.any(table.counts[:, forbidden], axis=1)
    )
    # What a template carries beyond the target is worth nothing. The cap is taken before the
    # site factor is applied, so it is that of the slowest site.
    cap = target_req_per_s(model) / min((factor for _, factor in offers), default=1.0)
    capacity = np.minimum(table.capacity_req_per_s[candidates], cap)
    kept = candidates[undominated(table.counts[candidates], capacity)]

    columns = []
    for position in kept.tolist():
        counts = table.counts[position]
        taken = tuple((configs[i], int(counts[i])) for i in np.flatnonzero(counts).tolist())
        capacity_req_per_s = float(table.capacity_req_per_s[position])
        seen: tuple[str, tuple[tuple[int, ...], ...]] | None = None
        for (region, factor), offer in offers.items():
            drawn = (region, tuple(offer.supplies[config] for config, _ in taken))
            # A lower site factor is a choice of its own only if it opens more supplies.
            if fits[region, factor][position] and drawn != seen:
                seen = drawn
                rate = capacity_req_per_s * factor
                columns.append(Column(index, phase, region, factor, rate, taken, table, position))
    return columns


def _units(configs: Sequence[NodeConfig], *, whole_nodes_only: bool) -> NDArray[np.int64]:
    """Return how many slices of configuration ``[., c]`` one of ``[c', .]`` takes the room of.

    Slices of 2^k GPUs and more, counted in units of 2^k: the left side of the capacity rows.
    """
    units = np.eye(len(configs), dtype=np.int64)
    if not whole_nodes_only:
        for i, big in enumerate(configs):
            for j, small in enumerate(configs):
                if (big.gpu, big.link) == (small.gpu, small.link):
                    units[i, j] = big.gpu_count // small.gpu_count
    return units


def _with_partner_phase(
    columns: list[Column], keeps: list[KeepClass], *, sum_regions: bool
) -> tuple[list[Column], list[KeepClass]]:
    """Leave out prefill where nothing decodes, and decode where nothing prefills."""
    runnable: list[Column | KeepClass] = [*columns, *keeps]
    found = {(item.model, "" if sum_regions else item.region, item.phase) for item in runnable}

    def is_paired(item: Column | KeepClass) -> bool:
        place = "" if sum_regions else item.region
        return item.phase is Phase.WHOLE or all(
            (item.model, place, phase) in found for phase in (Phase.PREFILL, Phase.DECODE)
        )

    return [c for c in columns if is_paired(c)], [k for k in keeps if is_paired(k)]
