"""The independent checker: recomputes a plan from raw inputs, and knows nothing of its making.

It shares no code with the model, the assignment or the report, except for the options.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from coral_solver.allocation.check_levels import TOLERANCE, Recount, close, objective_violations
from coral_solver.allocation.options import SHARE_TOLERANCE, AllocationOptions
from coral_solver.domain.errors import PlanCheckError
from coral_solver.domain.hardware import PoolScaling
from coral_solver.domain.plan import with_measurements
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coral_solver.domain.hardware import GpuPool, NodeConfig, PoolKey
    from coral_solver.domain.plan import (
        AllocationPlan,
        ModelOutcome,
        PlanningProblem,
        ServingInstance,
    )
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel

_MAX_NAME_LENGTH = 40
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check_plan(
    problem: PlanningProblem, plan: AllocationPlan, *, options: AllocationOptions | None = None
) -> None:
    """Check that a plan keeps every constraint and says the truth about itself.

    Parameters
    ----------
    problem
        What the plan was made for.
    plan
        The plan.
    options
        Rules that it was made under; the defaults if None.

    Raises
    ------
    PlanCheckError
        With everything that is wrong in ``violations``.
    """
    violations = tuple(_Checker(problem, plan, options or AllocationOptions()).violations())
    if violations:
        raise PlanCheckError(violations)


class _Checker:
    def __init__(
        self, problem: PlanningProblem, plan: AllocationPlan, options: AllocationOptions
    ) -> None:
        self.problem = problem
        self.plan = plan
        self.options = options
        self.models = {model.id: model for model in problem.models}
        # A prediction is made for a model with the measurements that concern it, or without.
        self.digests = {
            model.id: {model.targets_digest, measured.targets_digest}
            for model, measured in zip(
                problem.models, with_measurements(problem).models, strict=True
            )
        }
        self.pools = {pool.key: pool for pool in problem.pools}
        self.free = {
            pool.key: {node.name: node.free_gpus for node in pool.nodes} for pool in problem.pools
        }
        self.in_force = {instance.name: instance for instance in problem.in_force}
        # GPUs that the plan takes: on nodes with a name, and on nodes yet to be opened.
        self.used: dict[PoolKey, Counter[str]] = defaultdict(Counter)
        self.waiting: dict[PoolKey, list[int]] = defaultdict(list)
        self.rent_usd_per_hour = 0.0
        self.charge_usd_per_hour = 0.0

    def violations(self) -> Iterator[str]:
        """Yield all that is wrong."""
        placed = True
        for instance in self.plan.instances:
            found = [*self._template_violations(instance), *self._slice_violations(instance)]
            placed = placed and not found
            yield from (f"instance {instance.name}: {text}" for text in found)
        yield from self._name_violations()
        if not placed:
            return  # nothing below can be computed from instances that make no sense
        for instance in self.plan.instances:
            self._count(instance)
        for key, pool in self.pools.items():
            yield from self._node_violations(key, pool)
        yield from self._cost_violations()
        yield from self._outcome_violations()
        yield from self._objective_violations()

    def _template_violations(self, instance: ServingInstance) -> Iterator[str]:
        template = instance.template
        model = self.models.get(template.model_id)
        if model is None:
            yield f"model {template.model_id} is not in the problem"
            return
        if template.phase not in model.serving.phases:
            yield f"phase {template.phase} is not allowed by serving mode {model.serving}"
        if template.made_for not in self.digests[model.id]:
            yield f"its prediction was made for other targets than those of {model.id}"
        for gpu in sorted({config.gpu for config in _configs(template)}):
            if not model.may_use(gpu):
                yield f"GPU type {gpu} is not allowed for {model.id}"
        layers = [stage.layers for stage in template.stages]
        if sum(layers) != model.arch.layers or min(layers, default=0) < 1:
            yield f"stages hold {layers} layers, the model has {model.arch.layers}"
        if any(not stage.configs for stage in template.stages):
            yield "a stage has no GPUs"
        if not (math.isfinite(template.capacity_req_per_s) and template.capacity_req_per_s >= 0):
            yield f"capacity {template.capacity_req_per_s} is not a rate"
        engine = template.engine
        if engine is not None:
            if engine.layers_per_stage != tuple(layers):
                yield f"the engine splits layers {engine.layers_per_stage}, the stages {layers}"
            if engine.pipeline_parallel != len(layers):
                yield f"the engine has {engine.pipeline_parallel} stages of {len(layers)}"
            sizes = [tuple(config.gpu_count for config in s.configs) for s in template.stages]
            if any(size != (engine.tensor_parallel,) for size in sizes):
                yield f"the engine's tensor parallelism {engine.tensor_parallel} is not {sizes}"

    def _slice_violations(self, instance: ServingInstance) -> Iterator[str]:
        configs = _configs(instance.template)
        if len(configs) != len(instance.slices):
            yield f"{len(instance.slices)} slices for {len(configs)} node configurations"
            return
        rent = 0.0
        for config, (key, node) in zip(configs, instance.slices, strict=True):
            pool = self.pools.get(key)
            if pool is None:
                yield f"pool {key} is not in the problem"
                continue
            if key.region != instance.region:
                yield f"a slice in {key.region} belongs to an instance in {instance.region}"
            if (key.gpu, key.link) != (config.gpu, config.link):
                yield f"{config} ({config.link}) cannot be cut from pool {key}"
            too_small = key.gpus_per_node < config.gpu_count
            partial = self.options.whole_nodes_only and key.gpus_per_node != config.gpu_count
            if too_small or partial:
                yield f"{config} does not match nodes of {key.gpus_per_node} GPUs"
            if node is None and pool.scaling is PoolScaling.FIXED:
                yield f"fixed pool {key} cannot open a node"
            if node is not None and node not in self.free[key]:
                yield f"node {node} is not in pool {key}"
            rent += config.gpu_count * pool.node_usd_per_hour / key.gpus_per_node
        if not close(instance.usd_per_hour, rent):
            yield f"rent is {instance.usd_per_hour} USD per hour, its slices cost {rent}"

    def _name_violations(self) -> Iterator[str]:
        names = [instance.name for instance in self.plan.instances]
        if names != sorted(names):
            yield "instances are not sorted by name"
        for name, count in sorted(Counter(names).items()):
            if count > 1:
                yield f"instance name {name} is given {count} times"
            # A name in force is what it is; somebody gave it and children carry it.
            is_label = _DNS_LABEL.fullmatch(name) and len(name) <= _MAX_NAME_LENGTH
            if name not in self.in_force and not is_label:
                yield f"instance name {name!r} is no short DNS label"
        for instance in self.plan.instances:
            if instance.name in self.in_force and not self._is_kept(instance):
                yield f"instance name {instance.name} is in force for something else"

    def _is_kept(self, instance: ServingInstance) -> bool:
        """Return whether an instance goes on as it is: what it runs, and on which nodes."""
        old = self.in_force.get(instance.name)
        return (
            old is not None
            and old.template.id == instance.template.id
            and old.slices == instance.slices
        )

    def _pays_whole_nodes(self, pool: GpuPool, node: str) -> bool:
        """Return whether a node is paid whole: in an elastic pool, unless others hold part."""
        is_elastic = pool.scaling is PoolScaling.ELASTIC
        return is_elastic and self.free[pool.key][node] == pool.key.gpus_per_node

    def _count(self, instance: ServingInstance) -> None:
        kept = self._is_kept(instance)
        for config, (key, node) in zip(_configs(instance.template), instance.slices, strict=True):
            pool = self.pools[key]
            usd_per_hour = config.gpu_count * pool.node_usd_per_hour / key.gpus_per_node
            if node is None:
                self.waiting[key].append(config.gpu_count)
            else:
                self.used[key][node] += config.gpu_count
                if not self._pays_whole_nodes(pool, node):
                    self.rent_usd_per_hour += usd_per_hour
            if not kept:
                horizon_s = self.problem.policy.payback_horizon_s
                self.charge_usd_per_hour += usd_per_hour * pool.start_time_s / horizon_s

    def _node_violations(self, key: PoolKey, pool: GpuPool) -> Iterator[str]:
        free = self.free[key]
        for node, gpus in sorted(self.used[key].items()):
            if gpus > free[node]:
                yield f"node {node} has {free[node]} free GPUs, the plan takes {gpus}"
        opened = self._opened(key, pool)
        self.rent_usd_per_hour += opened * pool.node_usd_per_hour
        held = sum(not self._pays_whole_nodes(pool, node) for node in free)
        if opened and opened + held > pool.max_nodes:
            yield f"pool {key} opens {opened} nodes beside {held} of at most {pool.max_nodes}"
        if self.plan.opened_nodes.get(pool.name, 0) != opened:
            stated = self.plan.opened_nodes.get(pool.name, 0)
            yield f"pool {key} needs {opened} opened nodes, the plan says {stated}"

    def _opened(self, key: PoolKey, pool: GpuPool) -> int:
        """Return the nodes that are paid whole: those with a name, and as few more as needed."""
        if pool.scaling is PoolScaling.FIXED:
            return 0
        left = sorted(
            pool.key.gpus_per_node - gpus
            for node, gpus in self.used[key].items()
            if self._pays_whole_nodes(pool, node)
        )
        opened = len(left)
        # Largest first onto the fullest node that has room: exact for powers of two.
        for size in sorted(self.waiting[key], reverse=True):
            for index, gpus in enumerate(left):
                if gpus >= size:
                    left[index] -= size
                    break
            else:
                left.append(pool.key.gpus_per_node - size)
                opened += 1
            left.sort()
        return opened

    def _cost_violations(self) -> Iterator[str]:
        unknown = self.plan.opened_nodes.keys() - {pool.name for pool in self.problem.pools}
        if unknown:
            yield f"nodes are opened in pools that are not in the problem: {sorted(unknown)}"
        for what, stated, true in (
            ("rent", self.plan.rent_usd_per_hour, self.rent_usd_per_hour),
            ("switching charge", self.plan.switching_usd_per_hour, self.charge_usd_per_hour),
        ):
            if not close(stated, true):
                yield f"the {what} is {true} USD per hour, the plan says {stated}"
        budget = self.problem.policy.budget_usd_per_hour
        if budget is not None and self.rent_usd_per_hour > budget + TOLERANCE * (1.0 + budget):
            yield f"the rent {self.rent_usd_per_hour} USD per hour is over the budget of {budget}"

    def _capacity(self, model: ServedModel) -> float:
        rates: list[tuple[Phase, str, float]] = []
        for instance in self.plan.instances:
            if instance.template.model_id == model.id:
                factor = min(self.pools[key].site_factor for key, _ in instance.slices)
                rate = instance.template.capacity_req_per_s * factor
                rates.append((instance.template.phase, instance.region, rate))
        return self._pair(rates)

    def _replicas(self, model: ServedModel) -> float:
        return self._pair(
            [
                (instance.template.phase, instance.region, 1.0)
                for instance in self.plan.instances
                if instance.template.model_id == model.id
            ]
        )

    def _pair(self, amounts: list[tuple[Phase, str, float]]) -> float:
        regions = {"everywhere"} if self.options.sum_regions else {r for _, r, _ in amounts}
        total = math.fsum(amount for phase, _, amount in amounts if phase is Phase.WHOLE)
        for region in sorted(regions):
            total += min(
                math.fsum(
                    amount
                    for phase, where, amount in amounts
                    if phase is wanted and (self.options.sum_regions or where == region)
                )
                for wanted in (Phase.PREFILL, Phase.DECODE)
            )
        return total

    def _outcome_violations(self) -> Iterator[str]:
        ids = [outcome.model_id for outcome in self.plan.outcomes]
        if ids != sorted(self.models):
            yield f"outcomes are for {ids}, not for each model once in order"
        for outcome in self.plan.outcomes:
            model = self.models.get(outcome.model_id)
            if model is not None:
                for text in self._one_outcome_violations(model, outcome):
                    yield f"outcome of {model.id}: {text}"

    def _one_outcome_violations(self, model: ServedModel, outcome: ModelOutcome) -> Iterator[str]:
        capacity = self._capacity(model)
        demand = model.demand_req_per_s
        unmet = demand - capacity
        if unmet <= SHARE_TOLERANCE * demand:
            unmet = 0.0
        instances = [i for i in self.plan.instances if i.template.model_id == model.id]
        for what, stated, true in (
            ("demand", outcome.demand_req_per_s, demand),
            ("capacity", outcome.capacity_req_per_s, capacity),
            ("unmet demand", outcome.unmet_req_per_s, unmet),
            ("rent", outcome.usd_per_hour, math.fsum(i.usd_per_hour for i in instances)),
        ):
            if not close(stated, true):
                yield f"{what} is {true}, the plan says {stated}"
        if demand <= 0:
            allowed = {"NoDemand"}
        elif unmet <= 0:
            allowed = {"Served"}
        else:
            allowed = {"CapacityShort"} if instances else {"CapacityShort", "NoTemplate"}
        if outcome.reason not in allowed:
            yield f"reason {outcome.reason} is none of {sorted(allowed)}"
        if not outcome.message:
            yield "there is no message"

    def _objective_violations(self) -> Iterator[str]:
        recount = Recount(
            capacity_req_per_s={model.id: self._capacity(model) for model in self.problem.models},
            replicas={model.id: self._replicas(model) for model in self.problem.models},
            cost_usd_per_hour=self.rent_usd_per_hour + self.charge_usd_per_hour,
        )
        return objective_violations(
            self.problem, self.plan, recount, relative_gap=self.options.relative_gap
        )


def _configs(template: ServingTemplate) -> list[NodeConfig]:
    return [config for stage in template.stages for config in stage.configs]
