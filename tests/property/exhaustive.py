"""Every plan of a tiny problem, with all features: what is in force, elastic pools, whole nodes."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.domain.hardware import PoolScaling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coral_solver.allocation.options import AllocationOptions
    from coral_solver.domain.hardware import GpuPool, NodeConfig, PoolKey
    from coral_solver.domain.plan import PlanningProblem, ServingInstance
    from coral_solver.domain.template import ServingTemplate


class Node(NamedTuple):
    """A node, one that exists or one that an elastic pool may open."""

    pool: GpuPool
    name: str | None
    free: int

    @property
    def is_paid_whole(self) -> bool:
        return self.pool.scaling is PoolScaling.ELASTIC and self.free == self.pool.key.gpus_per_node


Rates = tuple[tuple[tuple[str, str, str], float], ...]
State = tuple[tuple[int, ...], Rates]


def all_nodes(given: PlanningProblem) -> list[Node]:
    nodes = []
    for pool in given.pools:
        nodes += [Node(pool, node.name, node.free_gpus) for node in pool.nodes]
        if pool.scaling is PoolScaling.ELASTIC:
            to_open = max(0, pool.max_nodes - len(pool.nodes))
            nodes += [Node(pool, None, pool.key.gpus_per_node)] * to_open
    return nodes


class Exhaustive:
    """Tries every set of instances to keep, and every way to put new ones on nodes.

    Nothing is pruned but states that cost more than the same state did before. Models have no
    headroom and no replicas to ask for.
    """

    def __init__(
        self,
        given: PlanningProblem,
        templates: Sequence[ServingTemplate],
        options: AllocationOptions,
    ) -> None:
        self.given = given
        self.templates = templates
        self.options = options
        self.nodes = all_nodes(given)

    def best(self) -> tuple[list[float], float]:
        """Return the served shares of the best plan, ascending, and its cost in USD per hour."""
        best: tuple[list[float], float] | None = None
        for (free, rates), cost in self._states().items():
            shares = sorted(
                min(1.0, self._capacity(dict(rates), m.id) / m.demand_req_per_s)
                for m in self.given.models
                if m.demand_req_per_s > 0
            )
            found = [round(share, 6) for share in shares], round(cost + self._opened(free), 6)
            if best is None or (found[0], -found[1]) > (best[0], -best[1]):
                best = found
        assert best is not None
        return best

    def most_within(self, budget_usd_per_hour: float) -> float:
        """Return the most weighted demand that a budget serves, in req/s; starting is free."""
        return max(
            sum(
                (1 + m.priority) * min(m.demand_req_per_s, self._capacity(dict(rates), m.id))
                for m in self.given.models
            )
            for (free, rates), cost in self._states().items()
            if cost + self._opened(free) <= budget_usd_per_hour + 1e-9
        )

    def _opened(self, free: tuple[int, ...]) -> float:
        """Return the price of the nodes that are paid whole."""
        return sum(
            node.pool.node_usd_per_hour
            for node, left in zip(self.nodes, free, strict=True)
            if node.is_paid_whole and left < node.free
        )

    def _states(self) -> dict[State, float]:
        states = dict(self._kept())
        for template in self.templates:
            if not any(
                m.id == template.model_id and template.phase in m.serving.phases
                for m in self.given.models
            ):
                continue
            for region in sorted({pool.key.region for pool in self.given.pools}):
                frontier = dict(states)
                while frontier:
                    found: dict[State, float] = {}
                    for state, cost in frontier.items():
                        for grown, more in self._started(state, template, region):
                            total = round(cost + more, 9)
                            known = min(states.get(grown, 1e9), found.get(grown, 1e9))
                            if total < known - 1e-9:
                                found[grown] = total
                    states |= found
                    frontier = found
        return states

    def _kept(self) -> Iterator[tuple[State, float]]:
        running = self.given.in_force
        for count in range(len(running) + 1):
            for stay in combinations(running, count):
                yield from self._staying(stay)

    def _staying(self, stay: Sequence[ServingInstance]) -> Iterator[tuple[State, float]]:
        """Yield the states where exactly these go on; what waits for a node gets any."""
        pieces = [
            (config, [i for i, node in enumerate(self.nodes) if self._is_its_node(node, *piece)])
            for instance in stay
            for config, piece in zip(instance.template.configs, instance.slices, strict=True)
        ]
        rates: dict[tuple[str, str, str], float] = {}
        pools = {pool.key: pool for pool in self.given.pools}
        for instance in stay:
            slowest = min(pools[key].site_factor for key, _ in instance.slices)
            self._add(rates, instance.template, instance.region, slowest)
        for chosen in product(*(places for _, places in pieces)):
            free = [node.free for node in self.nodes]
            cost = 0.0
            for i, (config, _) in zip(chosen, pieces, strict=True):
                free[i] -= config.gpu_count
                cost += self._rent(self.nodes[i], config)
            if min(free, default=0) >= 0:
                yield (tuple(free), tuple(sorted(rates.items()))), cost

    def _is_its_node(self, node: Node, key: PoolKey, name: str | None) -> bool:
        if node.pool.key != key:
            return False
        return node.is_paid_whole if name is None else node.name == name

    def _started(
        self, state: State, template: ServingTemplate, region: str
    ) -> Iterator[tuple[State, float]]:
        free, rates = state
        configs = template.configs
        places = [
            [i for i, node in enumerate(self.nodes) if self._may_hold(node, config, region)]
            for config in configs
        ]
        for chosen in product(*places):
            left = list(free)
            cost = 0.0
            for i, config in zip(chosen, configs, strict=True):
                left[i] -= config.gpu_count
                node = self.nodes[i]
                rent = config.gpu_count * node.pool.gpu_usd_per_hour()
                charge = node.pool.start_time_s / self.given.policy.payback_horizon_s
                cost += self._rent(node, config) + rent * charge
            if min(left) >= 0:
                now = dict(rates)
                slowest = min(self.nodes[i].pool.site_factor for i in chosen)
                self._add(now, template, region, slowest)
                yield (tuple(left), tuple(sorted(now.items()))), cost

    def _may_hold(self, node: Node, config: NodeConfig, region: str) -> bool:
        key = node.pool.key
        fits = (
            key.gpus_per_node == config.gpu_count
            if self.options.whole_nodes_only
            else key.gpus_per_node >= config.gpu_count
        )
        return fits and (key.region, key.gpu, key.link) == (region, config.gpu, config.link)

    def _rent(self, node: Node, config: NodeConfig) -> float:
        """Return what a slice costs by itself: nothing where its whole node is paid."""
        return 0.0 if node.is_paid_whole else config.gpu_count * node.pool.gpu_usd_per_hour()

    def _add(
        self,
        rates: dict[tuple[str, str, str], float],
        template: ServingTemplate,
        region: str,
        factor: float,
    ) -> None:
        where = "everywhere" if self.options.sum_regions else region
        key = (template.model_id, str(template.phase), where)
        # Capacity beyond the demand changes nothing: fewer states to go through.
        demand = next(m.demand_req_per_s for m in self.given.models if m.id == template.model_id)
        rate = rates.get(key, 0.0) + template.capacity_req_per_s * factor
        rates[key] = round(min(rate, demand), 9)

    def _capacity(self, rates: dict[tuple[str, str, str], float], model_id: str) -> float:
        mine = {(phase, where): x for (m, phase, where), x in rates.items() if m == model_id}
        return sum(x for (phase, _), x in mine.items() if phase == "WHOLE") + sum(
            min(mine.get(("PREFILL", where), 0.0), mine.get(("DECODE", where), 0.0))
            for where in {where for _, where in mine}
        )
