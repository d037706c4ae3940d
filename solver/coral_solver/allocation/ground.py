"""What a plan can be made of, before any template is chosen: GPUs, pricers, what is in force."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coral_solver.allocation.keeps import find_keeps
from coral_solver.allocation.source import PricedSource
from coral_solver.allocation.supply import build_supplies
from coral_solver.allocation.table_pricer import TablePricer
from coral_solver.allocation.template_table import tables_by_phase
from coral_solver.domain.errors import SolverError
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.pricing import Allowance, Room
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coral_solver.allocation.keeps import KeepClass
    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.source import TemplatePricer, TemplateSource
    from coral_solver.allocation.supply import Supply
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel

Pricers = dict[Phase, "TemplatePricer"]
"""What finds templates of one model, by phase."""

_MOST_FRESH = 4096
"""Sub-multisets of a template in force that are looked at to find it again."""


class Draw(NamedTuple):
    """Slices of one configuration that instances of one column kind take from one supply.

    Only supplies whose site factor is at least ``site_factor`` may be drawn from.
    """

    region: str
    site_factor: float
    config: NodeConfig
    supply: int


class Offer(NamedTuple):
    """What the nodes of one region with at least some site factor can give.

    Attributes
    ----------
    region, site_factor
        Which nodes.
    supplies
        By configuration: the supplies that can give slices of it.
    room
        What the empty nodes hold.
    """

    region: str
    site_factor: float
    supplies: dict[NodeConfig, tuple[int, ...]]
    room: Room


@dataclass(frozen=True)
class KnownTemplates:
    """What the template source has for one model, whatever is free at the moment.

    Attributes
    ----------
    pricers
        By phase.
    """

    pricers: Pricers = field(default_factory=dict)

    @property
    def can_serve(self) -> bool:
        """Whether there are templates of every phase that serving the model needs."""
        phases = self.pricers.keys()
        return Phase.WHOLE in phases or {Phase.PREFILL, Phase.DECODE} <= phases

    @cached_property
    def gpus(self) -> frozenset[str]:
        """GPU types of the templates that use as much of one type as possible."""
        found: set[str] = set()
        for pricer in self.pricers.values():
            for gpu in {config.gpu for config in pricer.configs}:
                prices = [float(config.gpu != gpu) for config in pricer.configs]
                with suppress(SolverError):  # a pricer that cannot tell: nothing is said of it
                    counts, _ = _cheapest(pricer, np.array(prices))
                    found |= {pricer.configs[i].gpu for i in np.flatnonzero(counts).tolist()}
        return frozenset(found)

    @cached_property
    def least(self) -> str:
        """The fewest GPUs that can serve it, and what they are for example; for people."""
        smallest: dict[Phase, tuple[float, str]] = {}
        for phase, pricer in self.pricers.items():
            sizes = np.array([float(config.gpu_count) for config in pricer.configs])
            with suppress(SolverError):
                counts, gpus = _cheapest(pricer, sizes)
                smallest[phase] = gpus, _in_words(counts, pricer.configs)
        ways = []
        if Phase.WHOLE in smallest:
            ways.append(smallest[Phase.WHOLE])
        if {Phase.PREFILL, Phase.DECODE} <= smallest.keys():
            prefill, decode = smallest[Phase.PREFILL], smallest[Phase.DECODE]
            words = f"{prefill[1]} for prefill and {decode[1]} for decode"
            ways.append((prefill[0] + decode[0], words))
        if not ways:
            return "some GPUs"
        fewest, example = min(ways)
        return f"{fewest:.0f} GPU{'s' if fewest > 1 else ''}, for example {example}"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """All that a plan can be made of but the columns.

    Attributes
    ----------
    problem
        The problem, with models, pools and instances in force sorted.
    options
        Rules and limits.
    configs
        Node configurations on offer, C of them.
    supplies
        GPUs on offer.
    offers
        By region and least site factor, the best factor of a region first.
    known
        By model: what the template source has for it.
    rooms
        By model and offer: what the model may use of it.
    places
        By model and phase: the offers in which something can run, prefill and decode only where
        the other one can run too.
    keeps
        What can stay.
    scope
        What the bounds of a plan hold for.
    """

    problem: PlanningProblem
    options: AllocationOptions
    configs: tuple[NodeConfig, ...]
    supplies: tuple[Supply, ...]
    offers: tuple[Offer, ...]
    known: tuple[KnownTemplates, ...]
    rooms: tuple[tuple[Room, ...], ...]
    places: dict[tuple[int, Phase], tuple[int, ...]]
    keeps: tuple[KeepClass, ...]
    scope: str

    @cached_property
    def draws(self) -> tuple[Draw, ...]:
        """Every way to take a slice for a new instance, sorted."""
        return tuple(
            sorted(
                Draw(offer.region, offer.site_factor, config, supply)
                for offer in self.offers
                for config, supplies in offer.supplies.items()
                for supply in supplies
            )
        )


def build_ground(
    problem: PlanningProblem, source: TemplateSource, options: AllocationOptions
) -> Ground:
    """Collect GPUs, pricers and what can stay.

    Parameters
    ----------
    problem
        The problem, sorted.
    source
        Where templates come from.
    options
        Rules for cutting slices and for pairing phases.
    """
    configs = configs_on_offer(problem.pools, whole_nodes_only=options.whole_nodes_only)
    supplies = build_supplies(problem.pools)
    known = tuple(_known(model, source, configs) for model in problem.models)
    fresh: dict[str, ServingTemplate] = {}
    for model, templates in zip(problem.models, known, strict=True):
        fresh |= _fresh_templates(problem, model, templates.pricers)
    offers = build_offers(supplies, configs, options)
    rooms = tuple(
        tuple(_room_of(model, offer, configs) for offer in offers) for model in problem.models
    )
    places, keeps = _with_partner_phase(
        _places(offers, known, rooms),
        find_keeps(problem, supplies, fresh, options),
        [offer.region for offer in offers],
        sum_regions=options.sum_regions,
    )
    return Ground(
        problem=problem,
        options=options,
        configs=configs,
        supplies=tuple(supplies),
        offers=offers,
        known=known,
        rooms=rooms,
        places=places,
        keeps=tuple(keeps),
        scope=source.scope,
    )


def build_offers(
    supplies: Sequence[Supply], configs: Sequence[NodeConfig], options: AllocationOptions
) -> tuple[Offer, ...]:
    """Return what is on offer by region and least site factor, sorted, best factor first."""
    units = _units(configs, whole_nodes_only=options.whole_nodes_only)
    offers = []
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
        room = Room(units=units, slots=np.array(slots, dtype=np.int64))
        offers.append(Offer(region, factor, giving, room))
    return tuple(offers)


def _known(
    model: ServedModel, source: TemplateSource, configs: tuple[NodeConfig, ...]
) -> KnownTemplates:
    """Return the pricers of a model that wants anything."""
    if model.demand_req_per_s <= 0 and model.min_replicas <= 0:
        return KnownTemplates()
    allowed = {config for config in configs if model.may_use(config.gpu)}
    found: Mapping[Phase, TemplatePricer | None]
    if isinstance(source, PricedSource):
        found = {phase: source.pricer(model, phase, configs) for phase in model.serving.phases}
    else:
        tables = tables_by_phase(source.templates(model, configs), configs)
        found = {phase: TablePricer(configs, table) for phase, table in tables.items()}
    return KnownTemplates(
        {
            phase: pricer
            for phase, pricer in found.items()
            if pricer is not None and phase in model.serving.phases and allowed
        }
    )


def _room_of(model: ServedModel, offer: Offer, configs: Sequence[NodeConfig]) -> Room:
    """Return what an offer has for a model: nothing of the GPU types that it may not use."""
    may_use = [model.may_use(config.gpu) for config in configs]
    return offer.room._replace(slots=np.where(may_use, offer.room.slots, 0))


def _places(
    offers: Sequence[Offer],
    known: Sequence[KnownTemplates],
    rooms: Sequence[Sequence[Room]],
) -> dict[tuple[int, Phase], tuple[int, ...]]:
    """Return by model and phase the offers in which some template fits."""
    found = {}
    for model, templates in enumerate(known):
        for phase, pricer in templates.pricers.items():
            prices = np.ones(len(pricer.configs))
            found[model, phase] = tuple(
                index
                for index in range(len(offers))
                if _may_fit(pricer, prices, rooms[model][index])
            )
    return found


def _may_fit(pricer: TemplatePricer, prices: NDArray[np.float64], room: Room) -> bool:
    """Return whether some template fits; true too where the pricer cannot tell."""
    try:
        return len(pricer.staircase(prices, room, 0.0).cost) > 0
    except SolverError:
        return True


def _with_partner_phase(
    places: Mapping[tuple[int, Phase], tuple[int, ...]],
    keeps: Sequence[KeepClass],
    regions: Sequence[str],
    *,
    sum_regions: bool,
) -> tuple[dict[tuple[int, Phase], tuple[int, ...]], list[KeepClass]]:
    """Leave out prefill where nothing decodes, and decode where nothing prefills."""

    def pairing(region: str) -> str:
        return "" if sum_regions else region

    found = {
        (model, pairing(regions[i]), phase)
        for (model, phase), where in places.items()
        for i in where
    } | {(keep.model, pairing(keep.region), keep.phase) for keep in keeps}

    def is_paired(model: int, region: str, phase: Phase) -> bool:
        return phase is Phase.WHOLE or all(
            (model, pairing(region), half) in found for half in (Phase.PREFILL, Phase.DECODE)
        )

    paired = {
        (model, phase): tuple(i for i in where if is_paired(model, regions[i], phase))
        for (model, phase), where in places.items()
    }
    return (
        {key: where for key, where in paired.items() if where},
        [keep for keep in keeps if is_paired(keep.model, keep.region, keep.phase)],
    )


def _cheapest(
    pricer: TemplatePricer, prices: NDArray[np.float64]
) -> tuple[NDArray[np.int64], float]:
    """Return what the cheapest template takes, on any number of nodes, and its cost."""
    size = len(pricer.configs)
    room = Room(units=np.eye(size, dtype=np.int64), slots=np.full(size, 1 << 30))
    found = pricer.staircase(prices, room, 0.0)
    # Not the cost that is found: a pricer that gave up knows only that it is no less.
    return found.counts[0], float(prices @ found.counts[0])


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
    problem: PlanningProblem, model: ServedModel, pricers: Pricers
) -> dict[str, ServingTemplate]:
    """Return the source's templates that are in force too, by id."""
    fresh = {}
    for template in {i.template.id: i.template for i in problem.in_force}.values():
        pricer = pricers.get(template.phase)
        if template.model_id != model.id or pricer is None:
            continue
        counts = np.array([template.config_counts[config] for config in pricer.configs])
        if counts.sum() != template.config_counts.total():
            continue
        # On its own nodes everything is free of charge, and nothing else fits.
        room = Room(units=np.eye(len(counts), dtype=np.int64), slots=counts)
        free = Allowance(np.array([np.inf]), np.array([0.0]))
        found = pricer.within(np.zeros(len(counts)), room, free, _MOST_FRESH)
        if found is not None:
            for row in np.flatnonzero((found.counts == counts).all(axis=1)).tolist():
                candidate = pricer.template(int(found.handles[row]))
                if candidate.id == template.id:
                    fresh[template.id] = candidate
    return fresh


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
