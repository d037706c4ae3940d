"""Instances in force that a plan may keep where they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.allocation.supply import can_cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.allocation.supply import Supply
    from coral_solver.domain.hardware import PoolKey
    from coral_solver.domain.plan import PlanningProblem, ServingInstance
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import Phase, ServedModel


class NodeUse(NamedTuple):
    """What an instance takes of one existing node.

    ``node`` is empty where the node is known to serve no other instance in force: such nodes
    are interchangeable if they agree in the other fields.
    """

    supply: int
    node: str
    free_gpus: int
    used_gpus: int


class AnonymousUse(NamedTuple):
    """A slice on a node that an elastic pool was asked to open, whose name is not known yet."""

    supply: int
    size: int


class Seat(NamedTuple):
    """One slice of an instance in force, found again on today's GPUs."""

    supply: int
    node: str | None
    size: int


class SeatedInstance(NamedTuple):
    """An instance in force that can stay, with its slices in order."""

    instance: ServingInstance
    seats: tuple[Seat, ...]


@dataclass(frozen=True, kw_only=True)
class KeepClass:
    """Instances in force that are interchangeable to the model.

    Attributes
    ----------
    model
        Index of the model in the problem.
    template
        What they run, with the prediction of the template source where it has one.
    region
        Where they run.
    capacity_req_per_s
        What each carries, site factor included.
    members
        The instances with their slices, sorted by name.
    nodes
        What each takes of existing nodes.
    anonymous
        What each takes of nodes being opened.
    fixed_usd_per_hour
        Rent of one instance's slices where slices are what is paid; without whole nodes.
    """

    model: int
    template: ServingTemplate
    region: str
    capacity_req_per_s: float
    members: tuple[SeatedInstance, ...]
    nodes: tuple[NodeUse, ...]
    anonymous: tuple[AnonymousUse, ...]
    fixed_usd_per_hour: float

    @property
    def phase(self) -> Phase:
        """Phase that they serve."""
        return self.template.phase


def find_keeps(
    problem: PlanningProblem,
    supplies: Sequence[Supply],
    fresh: Mapping[str, ServingTemplate],
    options: AllocationOptions,
) -> list[KeepClass]:
    """Group the instances in force that can stay.

    An instance can stay if its model is still there and still allows its phase, its layers and its
    GPU types, if its prediction can be trusted, and if each of its slices is still free for it on
    its node. The source's prediction counts where the source has the template; the old one only if
    it was made for what the model is today. Whether several can stay on the same node together is
    left to the integer program.

    Parameters
    ----------
    problem
        The problem, sorted.
    supplies
        GPUs on offer.
    fresh
        Templates of the source by id, those in force at least.
    options
        Rules for cutting slices.

    Returns
    -------
    list[KeepClass]
        Sorted by the name of the first instance.
    """
    models = {model.id: index for index, model in enumerate(problem.models)}
    digests = [model.targets_digest for model in problem.models]
    seated: list[SeatedInstance] = []
    for instance in problem.in_force:
        index = models.get(instance.template.model_id)
        if index is None or not _is_allowed(problem.models[index], instance.template):
            continue
        if instance.template.id not in fresh and instance.template.made_for != digests[index]:
            continue
        seats = _seats(instance, supplies, options)
        if seats is not None:
            seated.append(SeatedInstance(instance, seats))

    tenants = Counter(
        place for _, seats in seated for place in {(s.supply, s.node) for s in seats if s.node}
    )
    groups: dict[
        tuple[str, str, tuple[NodeUse, ...], tuple[AnonymousUse, ...]], list[SeatedInstance]
    ] = defaultdict(list)
    for item in seated:
        seats = item.seats
        used: Counter[tuple[int, str]] = Counter()
        for seat in seats:
            if seat.node is not None:
                used[seat.supply, seat.node] += seat.size
        nodes = tuple(
            sorted(
                NodeUse(
                    supply,
                    node if tenants[supply, node] > 1 else "",
                    supplies[supply].free_by_node[node],
                    size,
                )
                for (supply, node), size in used.items()
            )
        )
        anonymous = tuple(
            sorted(AnonymousUse(seat.supply, seat.size) for seat in seats if seat.node is None)
        )
        template = item.instance.template
        groups[template.model_id, template.id, nodes, anonymous].append(item)

    classes = []
    for (model_id, template_id, nodes, anonymous), members in groups.items():
        template = fresh.get(template_id, members[0].instance.template)
        used_supplies = {use.supply for use in nodes} | {use.supply for use in anonymous}
        factor = min(supplies[index].pool.site_factor for index in used_supplies)
        classes.append(
            KeepClass(
                model=models[model_id],
                template=template,
                region=members[0].instance.region,
                capacity_req_per_s=template.capacity_req_per_s * factor,
                members=tuple(sorted(members, key=lambda item: item.instance.name)),
                nodes=nodes,
                anonymous=anonymous,
                fixed_usd_per_hour=sum(
                    use.used_gpus * supplies[use.supply].gpu_usd_per_hour
                    for use in nodes
                    if not supplies[use.supply].elastic
                ),
            )
        )
    return sorted(classes, key=lambda group: group.members[0].instance.name)


def _is_allowed(model: ServedModel, template: ServingTemplate) -> bool:
    """Return whether the model, as it is today, may be served with a template."""
    return (
        template.phase in model.serving.phases
        and sum(stage.layers for stage in template.stages) == model.arch.layers
        and all(model.may_use(config.gpu) for config in template.configs)
    )


def _seats(
    instance: ServingInstance, supplies: Sequence[Supply], options: AllocationOptions
) -> tuple[Seat, ...] | None:
    """Find each slice of an instance again; None if one of them is gone."""
    configs = instance.template.configs
    if not configs or len(configs) != len(instance.slices):
        return None
    seats = []
    used: Counter[tuple[int, str | None]] = Counter()
    for config, (pool, node) in zip(configs, instance.slices, strict=True):
        if pool.region != instance.region or not can_cut(
            pool, config, whole_nodes_only=options.whole_nodes_only
        ):
            return None
        index = _supply_of(pool, node, supplies)
        if index is None:
            return None
        used[index, node] += config.gpu_count
        if node is not None and used[index, node] > supplies[index].free_by_node[node]:
            return None
        seats.append(Seat(index, node, config.gpu_count))
    return tuple(seats)


def _supply_of(pool: PoolKey, node: str | None, supplies: Sequence[Supply]) -> int | None:
    """Find the supply that has a node, or that can open one."""
    for index, supply in enumerate(supplies):
        if supply.pool.key == pool and (
            supply.elastic if node is None else node in supply.free_by_node
        ):
            return index
    return None
