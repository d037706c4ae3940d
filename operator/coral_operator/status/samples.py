"""Turn what a step found into the values of the gauges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coral_api.convert import ModelRef
from coral_operator.status import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from coral_api.multillmservice import MultiLLMServiceStatus
    from coral_operator.observe.cluster import ClusterView
    from coral_operator.planning.inputs import ServiceInput
    from coral_operator.planning.records import Chain, PlanRecord
    from coral_operator.status.metrics import Metric, Samples


def cluster_samples(view: ClusterView, active: PlanRecord | None) -> Samples:
    """Return the values that are about GPUs."""
    samples: Samples = {
        metrics.REFUSED: {},
        metrics.POOL_NODES: {},
        metrics.POOL_FREE: {},
        metrics.POOL_USED: {},
        metrics.POOL_PRICE: {},
    }
    for node in view.discovery.refused:
        _add(samples, metrics.REFUSED, (node.reason,), 1.0)
    for pool in view.discovery.pools:
        samples[metrics.POOL_NODES][pool.name,] = len(pool.nodes)
        samples[metrics.POOL_FREE][pool.name,] = pool.free_gpus
        samples[metrics.POOL_PRICE][pool.name,] = pool.node_usd_per_hour
        samples[metrics.POOL_USED][pool.name,] = 0.0
    for instance in active.instances if active is not None else ():
        configs = [c for stage in instance.template.stages for c in stage.configs]
        for piece, config in zip(instance.slices, configs, strict=True):
            _add(samples, metrics.POOL_USED, (str(piece.pool),), config.gpu_count)
    return samples


def plan_samples(records: Mapping[Chain, PlanRecord | None], *, now: datetime) -> Samples:
    """Return the values that are about the plans in force."""
    samples: Samples = {}
    for chain, record in records.items():
        if record is None:
            continue
        mode, spec = chain.mode.value, record.plan.spec
        _add(samples, metrics.PLAN_COST, (mode,), spec.rent_usd_per_hour)
        _add(samples, metrics.PLAN_SWITCHING, (mode,), spec.switching_usd_per_hour)
        _add(samples, metrics.PLAN_SOLVE, (mode,), spec.solve_seconds)
        created = record.plan.metadata.creation_timestamp
        if created is not None:
            _add(samples, metrics.PLAN_AGE, (mode,), max(0.0, (now - created).total_seconds()))
        for level in spec.objective:
            _add(samples, metrics.PLAN_VALUE, (mode, level.level), level.value)
            if level.bound is not None and level.gap is not None:
                _add(samples, metrics.PLAN_BOUND, (mode, level.level), level.bound)
                _add(samples, metrics.PLAN_GAP, (mode, level.level), level.gap)
        for name, peer in spec.baselines.items():
            _add(samples, metrics.BASELINE_COST, (mode, name), peer.rent_usd_per_hour)
            _add(samples, metrics.BASELINE_UNMET, (mode, name), peer.unmet_requests_per_second)
    return samples


def service_samples(
    statuses: Iterable[tuple[ServiceInput, MultiLLMServiceStatus]],
) -> Samples:
    """Return the values that are about services and their models."""
    samples: Samples = {}
    for service, status in statuses:
        if status.replaced_usd_per_hour is not None:
            _add(samples, metrics.REPLACED_COST, service.ref, status.replaced_usd_per_hour)
        for model in status.models:
            labels = (*ModelRef(*service.ref, model.name), service.mode.value)
            for metric, value in (
                (metrics.DEMAND, model.demand_requests_per_second),
                (metrics.PLANNED, model.planned_requests_per_second),
                (metrics.READY, model.ready_requests_per_second),
                (metrics.UNMET, model.unmet_requests_per_second),
                (metrics.MODEL_INSTANCES, model.instances),
                (metrics.MODEL_READY_INSTANCES, model.ready_instances),
                (metrics.MODEL_COST, model.usd_per_hour),
            ):
                _add(samples, metric, labels, value)
    return samples


def _add(samples: Samples, metric: Metric, labels: tuple[str, ...], value: float) -> None:
    values = samples.setdefault(metric, {})
    values[tuple(labels)] = values.get(tuple(labels), 0.0) + value
